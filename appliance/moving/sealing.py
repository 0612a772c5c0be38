"""A passphrase over a file: AES-256-GCM in segments, the key by scrypt.

Each segment's nonce holds its number and whether it is the last, so that segments cannot be dropped, moved or
repeated (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015). scrypt: RFC 7914.
"""

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from appliance.moving.errors import BackupUnusable, WrongPassphrase

MAGIC = b"skerry-sealed-1\n"
SALT_BYTES = 16
SEGMENT_BYTES = 1024 * 1024
TAG_BYTES = 16
SCRYPT_COST = 1 << 17  # 128 MiB and about half a second
MIN_PASSPHRASE = 8


def seal(content: Iterator[bytes], output: BinaryIO, passphrase: bytes) -> None:
    """Write `content` sealed. Raises WrongPassphrase for one that is too short to be any use."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise WrongPassphrase(f"a passphrase has at least {MIN_PASSPHRASE} characters")
    salt = os.urandom(SALT_BYTES)
    output.write(MAGIC + salt)
    cipher = _cipher(passphrase, salt)
    held = b""
    number = 0
    for chunk in content:
        held += chunk
        while len(held) > SEGMENT_BYTES:
            segment, held = held[:SEGMENT_BYTES], held[SEGMENT_BYTES:]
            output.write(cipher.encrypt(_nonce(number, is_last=False), segment, MAGIC))
            number += 1
    output.write(cipher.encrypt(_nonce(number, is_last=True), held, MAGIC))


def is_sealed(head: bytes) -> bool:
    return head.startswith(MAGIC)


def unseal(source: BinaryIO, passphrase: bytes) -> Iterator[bytes]:
    """The content again, segment by segment. Raises WrongPassphrase, or BackupUnusable further in."""
    head = source.read(len(MAGIC) + SALT_BYTES)
    if not is_sealed(head) or len(head) != len(MAGIC) + SALT_BYTES:
        raise BackupUnusable("this is no sealed backup")
    cipher = _cipher(passphrase, head[len(MAGIC) :])
    segment = source.read(SEGMENT_BYTES + TAG_BYTES)
    number = 0
    while True:
        following = source.read(SEGMENT_BYTES + TAG_BYTES)
        try:
            yield cipher.decrypt(_nonce(number, is_last=not following), segment, MAGIC)
        except InvalidTag:
            if number == 0:
                raise WrongPassphrase(
                    "the passphrase does not open this backup",
                    hint="or the backup is damaged; try another copy of it",
                ) from None
            raise BackupUnusable(
                f"the sealed backup is damaged or cut off after {number} MiB", hint="try another copy of it"
            ) from None
        if not following:
            return
        segment, number = following, number + 1


def _cipher(passphrase: bytes, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=SCRYPT_COST, r=8, p=1).derive(passphrase))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return struct.pack(">7xIB", number, is_last)
