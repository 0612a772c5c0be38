"""A password-authenticated key exchange over six digits: CPace's shape in the 2048-bit group of RFC 3526.

The generator is derived from the code and from everything both ends must agree on, so a run tells whoever
sits in it about one code and no other: neither a listener nor a participant can try codes afterwards.
It draws no randomness and remembers nothing; the exponents come from the caller.
"""

import hashlib
import hmac
from dataclasses import dataclass

from agent.protocol.errors import Malformed

# RFC 3526 section 3: a safe prime, so squares form a group of prime order (P - 1) / 2.
PRIME = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
ORDER = (PRIME - 1) // 2
SHARE_BYTES = 256
EXPONENT_BYTES = 64  # far over the group's strength, and small enough to be quick

_HASH = hashlib.sha256


@dataclass(frozen=True, slots=True)
class Keys:
    """One key for each thing said after the exchange; a key is never used for two."""

    appliance: bytes
    host: bytes
    seal: bytes


def make_share(code: str, context: bytes, *, exponent: bytes) -> bytes:
    """This end's public share."""
    return pow(_generator(code, context), _read_exponent(exponent), PRIME).to_bytes(SHARE_BYTES, "big")


def derive_keys(
    context: bytes, *, own_exponent: bytes, other_share: bytes, appliance_share: bytes, host_share: bytes
) -> Keys:
    """What both ends hold if they used one code. Raises Malformed for a share outside the group."""
    secret = pow(_read_share(other_share), _read_exponent(own_exponent), PRIME).to_bytes(SHARE_BYTES, "big")
    salt = _HASH(join_fields(context, appliance_share, host_share)).digest()
    key = hmac.digest(salt, secret, "sha256")  # RFC 5869's extract; the three below are its expand
    return Keys(*(hmac.digest(key, f"skerry pairing {use}\x01".encode(), "sha256") for use in "ahs"))


def join_fields(*fields: bytes) -> bytes:
    """Bytes that stand for exactly these fields: each with its length before it."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def _generator(code: str, context: bytes) -> int:
    seed = join_fields(b"skerry pairing generator", code.encode(), context)
    # 128 bits more than the prime, so that the remainder is even; squared into the group of prime order.
    wide = int.from_bytes(hashlib.shake_256(seed).digest(SHARE_BYTES + 16), "big")
    return pow(wide % (PRIME - 3) + 2, 2, PRIME)


def _read_exponent(exponent: bytes) -> int:
    if len(exponent) != EXPONENT_BYTES:
        raise ValueError(f"an exponent has {EXPONENT_BYTES} bytes")
    return int.from_bytes(exponent, "big") % (ORDER - 1) + 1


def _read_share(share: bytes) -> int:
    value = int.from_bytes(share, "big")
    # Neither 0, 1 nor P - 1, which would fix the secret, nor outside the squares, which would leak a bit.
    if len(share) != SHARE_BYTES or not 1 < value < PRIME - 1 or pow(value, ORDER, PRIME) != 1:
        raise Malformed("the other end's share is not an element of the group")
    return value
