"""How far the audit log went, remembered outside of it: so that a cut-off end shows.

Two slots in one small file are written in turn, in place and synced, so a torn write leaves the other one.
Each carries an HMAC under a key of the appliance: whoever can write the log alone cannot move the head.
"""

import hmac
import os
import secrets
from pathlib import Path

import msgspec

from appliance.audit.chain import Place
from appliance.files import PRIVATE, make_private_directory, sync_directory, write_durably

SLOT_BYTES = 256


class _Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    n: int
    hash: str
    mac: str


class Head:
    """`directory` holds `audit.key` and `audit.head`; not the folder of the log."""

    def __init__(self, directory: Path) -> None:
        key = make_private_directory(directory) / "audit.key"
        if not key.exists():
            write_durably(key, secrets.token_bytes(32), mode=PRIVATE)
        self._key = key.read_bytes()
        self._path = directory / "audit.head"

    def read(self) -> Place | None:
        """The newest place that was remembered; None if there is none that the key made."""
        return max((slot for slot in self._slots() if slot), key=lambda place: place.n, default=None)

    def write(self, place: Place) -> None:
        """Remember `place`; returns when it would survive a power cut."""
        slot = msgspec.json.encode(_Slot(place.n, place.hash, self._sign(place)))
        first, second = (held.n if held else -1 for held in self._slots())
        older = SLOT_BYTES if first > second else 0
        is_new = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            os.pwrite(descriptor, slot.ljust(SLOT_BYTES - 1) + b"\n", older)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if is_new:
            sync_directory(self._path.parent)

    def _slots(self) -> tuple[Place | None, Place | None]:
        try:
            with self._path.open("rb") as file:
                return self._parse(file.read(SLOT_BYTES)), self._parse(file.read(SLOT_BYTES))
        except FileNotFoundError:
            return None, None

    def _parse(self, content: bytes) -> Place | None:
        try:
            slot = msgspec.json.decode(content.strip(b"\0 \n"), type=_Slot)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        place = Place(slot.n, slot.hash)
        is_ours = hmac.compare_digest(slot.mac.encode(), self._sign(place).encode())
        return place if is_ours else None

    def _sign(self, place: Place) -> str:
        return hmac.digest(self._key, f"audit head {place.n} {place.hash}".encode(), "sha256").hex()
