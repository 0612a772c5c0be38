"""Keys derived from a seed: the same every time, and keys that hold up."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from agent.tpm.primes import Stream, derive_rsa_key, is_prime, next_prime

KEY = derive_rsa_key(b"seed")

# FIPS 186's own trap and the strong pseudoprimes to base 2 that only the other bases catch.
STRONG_PSEUDOPRIMES = [2047, 3277, 4033, 4681, 8321, 3215031751, 3825123056546413051]


def test_the_same_seed_gives_the_same_key() -> None:
    assert derive_rsa_key(b"seed").private_numbers() == KEY.private_numbers()


def test_another_seed_gives_another_key() -> None:
    assert derive_rsa_key(b"other").public_key().public_numbers().n != KEY.public_key().public_numbers().n


def test_the_key_does_not_change_between_versions() -> None:
    """A host's identity is this number: a change here makes every emulated TPM a stranger."""
    assert hex(KEY.public_key().public_numbers().n)[:18] == "0xbfc18aa92335bfc4"


def test_the_key_has_its_full_size_and_works() -> None:
    numbers = KEY.private_numbers()

    assert KEY.key_size == 2048
    assert numbers.p.bit_length() == numbers.q.bit_length() == 1024
    assert numbers.p != numbers.q
    signature = KEY.sign(b"x", padding.PKCS1v15(), hashes.SHA256())
    KEY.public_key().verify(signature, b"x", padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("number", [5, 7, 65537, 2**61 - 1, 2**127 - 1, 2**521 - 1])
def test_primes_are_recognised(number: int) -> None:
    assert is_prime(number, Stream(b""))


@pytest.mark.parametrize("number", [9, 15, 561, 2**67 - 1, 65537 * 65539, *STRONG_PSEUDOPRIMES])
def test_composites_are_recognised(number: int) -> None:
    assert not is_prime(number, Stream(b""))


def test_small_primes_agree_with_trial_division() -> None:
    by_division = [n for n in range(5, 5000, 2) if all(n % d for d in range(3, int(n**0.5) + 1, 2))]

    assert [n for n in range(5, 5000, 2) if is_prime(n, Stream(b"x"))] == by_division


@pytest.mark.parametrize("bits", [64, 65, 256])
def test_a_prime_has_the_size_asked_for_and_its_two_top_bits(bits: int) -> None:
    prime = next_prime(Stream(b"seed"), bits=bits)

    assert prime.bit_length() == bits
    assert prime >> (bits - 2) == 0b11
    assert prime % 65537 != 1


def test_a_stream_gives_numbers_of_at_most_the_bits_asked_for() -> None:
    stream = Stream(b"seed")
    numbers = [stream.number(9) for _ in range(200)]

    assert max(numbers).bit_length() == 9
    assert len(set(numbers)) > 100
