"""RSA keys that are a pure function of a seed, so that an emulated TPM keeps its identity without a file.

The primes are those of FIPS 186-5 in size and distance, drawn from SHAKE-256 instead of a random source.
Such a key is as secret as its seed, which for emulation is not at all.
"""

import hashlib
import math
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import rsa

PUBLIC_EXPONENT = 65537
_ROUNDS = 24  # Miller-Rabin with bases from the stream: an error below 2^-48, far less for random numbers


def derive_rsa_key(seed: bytes, *, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same seed always gives the same key; about half a second."""
    stream = Stream(seed)
    half = bits // 2
    p = next_prime(stream, bits=half)
    q = next(
        candidate
        for candidate in iter(lambda: next_prime(stream, bits=half), 0)
        if abs(p - candidate) >> (half - 100)  # FIPS 186-5 A.1.3: the primes are not neighbours
    )
    p, q = max(p, q), min(p, q)
    d = pow(PUBLIC_EXPONENT, -1, math.lcm(p - 1, q - 1))
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q),
    ).private_key()


class Stream:
    """Deterministic bytes, as many as asked for."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0

    def take(self, count: int) -> bytes:
        self._counter += 1
        return hashlib.shake_256(self._counter.to_bytes(8) + self._seed).digest(count)

    def number(self, bits: int) -> int:
        return int.from_bytes(self.take((bits + 7) // 8)) >> (-bits % 8)


def next_prime(stream: Stream, *, bits: int) -> int:
    """A prime for our exponent, its two top bits set so that two of them multiply to the full size."""
    while True:
        start = stream.number(bits) | (0b11 << (bits - 2)) | 1
        for candidate in _sieve(start, span=4096):
            if candidate.bit_length() != bits or candidate % PUBLIC_EXPONENT == 1:
                continue
            if is_prime(candidate, stream):
                return candidate


def is_prime(number: int, stream: Stream) -> bool:
    """Miller-Rabin for an odd number above 3; base 2 first, for that one rejects nearly everything."""
    shift = ((number - 1) & -(number - 1)).bit_length() - 1
    odd = (number - 1) >> shift
    if not _passes(number, 2, odd, shift):
        return False
    bases = (2 + stream.number(number.bit_length() + 64) % (number - 3) for _ in range(_ROUNDS))
    return all(_passes(number, base, odd, shift) for base in bases)


def _passes(number: int, base: int, odd: int, shift: int) -> bool:
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(shift - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _sieve(start: int, *, span: int) -> Iterator[int]:
    """The odd numbers from `start` on that no small prime divides."""
    open_ = bytearray(b"\1") * span
    for prime in _SMALL_PRIMES:
        first = (-start * pow(2, -1, prime)) % prime  # start + 2·first ≡ 0
        open_[first::prime] = bytes(len(range(first, span, prime)))
    for offset, is_open in enumerate(open_):
        if is_open:
            yield start + 2 * offset


_SMALL_PRIMES = [n for n in range(3, 2000, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2))]
