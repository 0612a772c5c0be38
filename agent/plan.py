"""Apply a plan: the system-agent contract's legacy flow (host-os.md 5), with better manners.

A plan is files, then one-time instructions in order, stopping at the first failure. Unlike upstream, an
instruction that succeeded is never run again because the agent restarted, and a plan or a file that cannot
be read counts as a failure instead of vanishing into a log. What to write back is returned, not sent.
"""

import base64
import binascii
import gzip
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.client import PlanSecret
from agent.durable import make_directories, write_durably
from agent.errors import AgentError, CommandFailed, PlanInvalid
from agent.host import Completed, Host

MAX_PLAN_BYTES = 2 * 1024 * 1024
MAX_KEPT_PLANS = 64
WORK_PATH = "/var/lib/elemental/agent/work"
DIRECTORY = ".skerry/plan"


class PlanFile(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    content: str = ""
    directory: bool = False
    uid: int = -1
    gid: int = -1
    permissions: str = ""
    action: str = ""


class Instruction(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str = ""
    image: str = ""
    command: str = ""
    args: list[str] = msgspec.field(default_factory=list)
    env: list[str] = msgspec.field(default_factory=list)
    save_output: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Go's encoder writes null for an empty list."""

    files: list[PlanFile] | None = None
    instructions: list[Instruction] | None = None


class PlanProgress(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """What is on disk about one plan: how far it got, and what it said."""

    checksum: str = ""
    done: int = 0
    failures: int = 0
    failed_at: float = 0.0
    outputs: dict[str, bytes] = msgspec.field(default_factory=dict)


def checksum_of(secret: PlanSecret) -> str:
    """A plan's identity is the SHA-256 of its bytes; "" when the Secret holds none."""
    raw = _decode_base64(secret.data.get("plan", ""))
    return hashlib.sha256(raw).hexdigest() if raw else ""


def is_due(secret: PlanSecret, progress: PlanProgress, *, now: float, cool_down: float) -> bool:
    """Say whether the plan should be applied now: new, or failed and cooled down, within max-failures."""
    checksum = checksum_of(secret)
    if not checksum or _text(secret, "applied-checksum") == checksum:
        return False
    if progress.checksum != checksum or progress.failures == 0:
        return True
    limit = _text(secret, "max-failures")
    if limit.lstrip("-").isdigit() and 0 <= int(limit) <= progress.failures:
        return False
    return now - progress.failed_at >= cool_down or now < progress.failed_at


class PlanEngine:
    """Applies plans on one host; `directory` remembers them across restarts."""

    def __init__(self, host: Host, directory: Path, *, timeout: float = 3600.0) -> None:
        self._host = host
        self._path = directory / "progress.json"
        self._applied = directory / "applied"
        self._timeout = timeout

    def progress(self) -> PlanProgress:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=PlanProgress)
        except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
            return PlanProgress()

    def apply(self, secret: PlanSecret) -> Mapping[str, str]:
        """Apply the Secret's plan; return the data (base64) to merge into the Secret."""
        raw = _decode_base64(secret.data.get("plan", ""))
        checksum = checksum_of(secret)
        progress = self.progress()
        if progress.checksum != checksum:
            progress = PlanProgress(checksum=checksum)
        try:
            plan = parse_plan(raw)
            if progress.done == 0:
                for file in plan.files or []:
                    self._write_file(file)
            for number, instruction in enumerate(plan.instructions or []):
                if number >= progress.done:
                    progress = self._run(instruction, progress, number=number)
        except (AgentError, OSError) as error:
            return self._fail(secret, self._load_latest(progress), error)
        self._save(msgspec.structs.replace(progress, failures=0))
        self._keep(raw)
        return _encode(
            {
                "applied-checksum": checksum.encode(),
                "applied-output": _pack(progress.outputs),
                "failed-checksum": b"",
                "failed-output": b"",
                "failure-count": b"0",
                "success-count": str(_count(secret, "success-count") + 1).encode(),
                "last-apply-time": _date().encode(),
            }
        )

    def _run(self, instruction: Instruction, progress: PlanProgress, *, number: int) -> PlanProgress:
        name = instruction.name or f"instruction {number}"
        if instruction.image or not instruction.command:
            raise PlanInvalid(f"{name}: instructions from images are not supported; name a command")
        directory = self._host.path(WORK_PATH) / f"{progress.checksum}_{number}"
        directory.mkdir(parents=True, exist_ok=True)
        environment = dict(pair.split("=", 1) for pair in instruction.env if "=" in pair)
        environment["CATTLE_AGENT_EXECUTION_PWD"] = str(directory)
        environment["CATTLE_AGENT_ATTEMPT_NUMBER"] = str(progress.failures + 1)
        done = self._host.run(
            [instruction.command, *instruction.args],
            timeout=self._timeout,
            environment=environment,
            directory=directory,
        )
        if instruction.save_output or done.status != 0:
            progress = msgspec.structs.replace(
                progress, outputs={**progress.outputs, name: _join_output(done)}
            )
            self._save(progress)
        if done.status != 0:
            raise CommandFailed(f"{name} ended with status {done.status}: {done.last_words}")
        progress = msgspec.structs.replace(progress, done=number + 1)
        self._save(progress)
        return progress

    def _write_file(self, file: PlanFile) -> None:
        if not file.path.startswith("/") or ".." in Path(file.path).parts:
            raise PlanInvalid(f"a plan's file path {file.path[:200]!r} is not absolute or climbs")
        path = self._host.path(file.path)
        mode = _parse_mode(file)
        if file.action == "delete":
            path.unlink(missing_ok=True)
            return
        make_directories(path if file.directory else path.parent)
        if file.directory:
            path.chmod(mode)
        else:
            content = _decode_base64(file.content)
            if not path.is_file() or path.read_bytes() != content:
                write_durably(path, content, mode=mode)
            path.chmod(mode)
        if file.uid >= 0 or file.gid >= 0:
            os.chown(path, file.uid, file.gid)

    def _fail(
        self, secret: PlanSecret, progress: PlanProgress, error: AgentError | OSError
    ) -> Mapping[str, str]:
        progress = msgspec.structs.replace(
            progress,
            failures=progress.failures + 1,
            failed_at=time.time(),
            outputs={**progress.outputs, "error": str(error).encode()},
        )
        self._save(progress)
        return _encode(
            {
                "failed-checksum": progress.checksum.encode(),
                "failed-output": _pack(progress.outputs),
                "failure-count": str(progress.failures).encode(),
                "success-count": b"0",
                "last-apply-time": _date().encode(),
            }
        )

    def _load_latest(self, progress: PlanProgress) -> PlanProgress:
        latest = self.progress()
        return latest if latest.checksum == progress.checksum else progress

    def _save(self, progress: PlanProgress) -> None:
        make_directories(self._path.parent)
        write_durably(self._path, msgspec.json.encode(progress), mode=0o600)

    def _keep(self, raw: bytes) -> None:
        """Keep a copy of applied plans, the last 64 as upstream does."""
        make_directories(self._applied, mode=0o700)
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        write_durably(self._applied / f"{stamp}-applied.plan", raw, mode=0o600)
        for old in sorted(self._applied.glob("*-applied.plan"))[:-MAX_KEPT_PLANS]:
            old.unlink()


def parse_plan(raw: bytes) -> Plan:
    """Raises PlanInvalid. Fields of newer writers are ignored."""
    if len(raw) > MAX_PLAN_BYTES:
        raise PlanInvalid(f"the plan is larger than {MAX_PLAN_BYTES} bytes")
    try:
        return msgspec.json.decode(raw, type=Plan)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise PlanInvalid(f"the plan cannot be read: {error}") from error


def _parse_mode(file: PlanFile) -> int:
    text = file.permissions or ("0755" if file.directory else "0600")
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise PlanInvalid(f"{file.path}: {text[:20]!r} is not an octal mode") from error
    if not 0 <= mode <= 0o7777:
        raise PlanInvalid(f"{file.path}: {text[:20]!r} is not a mode")
    return mode


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise PlanInvalid(f"a value of the plan is not base64: {error}") from error


def _encode(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _pack(outputs: Mapping[str, bytes]) -> bytes:
    """Upstream's form: gzip of JSON, instruction name to base64 bytes."""
    return gzip.compress(msgspec.json.encode(outputs), mtime=0)


def _join_output(done: Completed) -> bytes:
    return done.output + done.errors


def _text(secret: PlanSecret, key: str) -> str:
    return _decode_base64(secret.data.get(key, "")).decode(errors="replace").strip()


def _count(secret: PlanSecret, key: str) -> int:
    text = _text(secret, key)
    return int(text) if text.isdigit() else 0


def _date() -> str:
    return time.strftime("%a %b %e %H:%M:%S UTC %Y", time.gmtime())
