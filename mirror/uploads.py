"""Upload sessions: a blob that arrives in pieces, perhaps over several connections and restarts.

A session is two files in the staging folder: `<id>.part`, whose length is the offset, and `<id>.json`, which
says for whom. Nothing is remembered that the files do not say, so any process may go on with any session;
only the running hash is kept in memory, and made again from the file where it is missing.
"""

import os
import threading
import uuid
from collections import OrderedDict
from pathlib import Path

import msgspec

from mirror.blobs import BlobStore
from mirror.errors import DigestInvalid, NoSpace, TooLarge, TooManyUploads, UploadUnknown
from mirror.limits import Limits
from mirror.oci import Digest
from mirror.staging import Hashed, StagedFile, is_abandoned

HASHES_KEPT = 256
ID_LENGTH = 32


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom an upload is for, and which hash runs over it."""

    repository: str
    algorithm: str


class Upload:
    """One writer's hold on a session. `commit`, `abort` and `pause` end it; what comes after does nothing."""

    def __init__(self, uploads: "Uploads", id: str, *, staged: StagedFile, limit: int) -> None:
        self.id = id
        self._uploads = uploads
        self._staged = staged
        self._limit = limit
        self._is_held = True

    @property
    def offset(self) -> int:
        return self._staged.offset

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append. A blob over the limit, or a full disk, ends the session and frees what it held."""
        if self.offset + len(data) > self._limit:
            self.abort()
            raise TooLarge(f"the blob is larger than the {self._limit} bytes this mirror takes")
        try:
            self._staged.write(data)
        except NoSpace:
            self.abort()
            raise

    def commit(self, expected: Digest) -> Digest:
        """Make it a blob, durable on return. Content of another digest is dropped."""
        try:
            self._uploads.blobs.adopt(self._staged, expected)
        except (DigestInvalid, NoSpace):
            self.abort()
            raise
        self._is_held = False
        self._uploads.forget(self.id)
        return expected

    def pause(self) -> None:
        """Leave the session open for another request."""
        if self._is_held:
            try:
                hashed = self._staged.pause()
            except NoSpace:
                self.abort()
                raise
            self._is_held = False
            self._uploads.remember(self.id, hashed)

    def abort(self) -> None:
        if self._is_held:
            self._is_held = False
            self._staged.discard()
            self._uploads.forget(self.id)


class Uploads:
    """All sessions of one mirror."""

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self.blobs = blobs
        self._limits = limits
        self._hashes: OrderedDict[str, Hashed] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, repository: str, algorithm: str = "sha256") -> Upload:
        if len(list(self.blobs.staging.glob("*.json"))) >= self._limits.open_uploads:
            raise TooManyUploads(
                f"{self._limits.open_uploads} uploads are open already",
                hint="finish or cancel some, then try again",
            )
        name = uuid.uuid4().hex
        staged = self.blobs.create_staged(f"{name}.part", algorithm)
        try:
            self._write_session(name, Session(repository, algorithm))
        except BaseException:
            staged.discard()
            raise
        return Upload(self, name, staged=staged, limit=self._limits.blob_bytes)

    def resume(self, repository: str, id: str) -> Upload:
        session = self._session(repository, id)
        with self._lock:
            known = self._hashes.pop(id, None)
        staged = self.blobs.reopen_staged(f"{id}.part", session.algorithm, known=known)
        return Upload(self, id, staged=staged, limit=self._limits.blob_bytes)

    def offset(self, repository: str, id: str) -> int:
        """How much has arrived, also while another request is writing."""
        self._session(repository, id)
        try:
            return self._part(id).stat().st_size
        except FileNotFoundError as error:
            raise _unknown(id) from error

    def cancel(self, repository: str, id: str) -> None:
        self._session(repository, id)
        self._part(id).unlink(missing_ok=True)
        self.forget(id)

    def sweep(self, now: float) -> int:
        """End the sessions that nobody has written to for the age in the limits."""
        swept = 0
        for record in self.blobs.staging.glob("*.json"):
            part = record.with_suffix(".part")
            idle = self._limits.upload_age_seconds
            if not part.exists() or is_abandoned(part, now=now, idle_seconds=idle):
                part.unlink(missing_ok=True)
                self.forget(record.stem)
                swept += 1
        return swept

    def remember(self, id: str, hashed: Hashed) -> None:
        with self._lock:
            self._hashes[id] = hashed
            while len(self._hashes) > HASHES_KEPT:
                self._hashes.popitem(last=False)

    def forget(self, id: str) -> None:
        with self._lock:
            self._hashes.pop(id, None)
        self._record(id).unlink(missing_ok=True)

    def _session(self, repository: str, id: str) -> Session:
        if len(id) != ID_LENGTH or not id.isalnum():
            raise _unknown(id)
        try:
            session = msgspec.json.decode(self._record(id).read_bytes(), type=Session)
        except (FileNotFoundError, msgspec.MsgspecError) as error:
            raise _unknown(id) from error
        if session.repository != repository:
            raise _unknown(id)
        return session

    def _write_session(self, id: str, session: Session) -> None:
        temporary = self._record(id).with_suffix(".new")
        temporary.write_bytes(msgspec.json.encode(session))
        os.rename(temporary, self._record(id))

    def _record(self, id: str) -> Path:
        return self.blobs.staging / f"{id}.json"

    def _part(self, id: str) -> Path:
        return self.blobs.staging / f"{id}.part"


def _unknown(id: str) -> UploadUnknown:
    return UploadUnknown(
        f"upload {id[:ID_LENGTH]!r} is finished, cancelled or expired", hint="start the blob's upload again"
    )
