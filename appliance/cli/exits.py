"""Exit codes: a contract with scripts. Errors become one code and one sentence, here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from appliance.api.client import ApplianceError
from appliance.errors import ApplianceFault, ConfigurationError, DataDirectoryBusy


class ExitCode(IntEnum):
    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    TIMED_OUT = 4
    REFUSED = 5
    INTEGRITY = 6
    PARTIAL = 7
    NEEDS_APPROVAL = 8
    INTERRUPTED = 130


# Reasons as problem documents and failed operations carry them.
CODE_OF_REASON: dict[str, ExitCode] = {
    "Unreachable": ExitCode.UNREACHABLE,
    "TimedOut": ExitCode.TIMED_OUT,
    "BadRequest": ExitCode.USAGE,
    "Unauthorized": ExitCode.USAGE,
    "Usage": ExitCode.USAGE,
    "Configuration": ExitCode.USAGE,
    "RequestInvalid": ExitCode.USAGE,
    "NameInvalid": ExitCode.USAGE,
    "Forbidden": ExitCode.REFUSED,
    "Refused": ExitCode.REFUSED,
    "DeviceRefused": ExitCode.REFUSED,
    "DeviceTooSmall": ExitCode.REFUSED,
    "DataDirectoryBusy": ExitCode.REFUSED,
    "MirrorBusy": ExitCode.REFUSED,
    "TargetInUse": ExitCode.REFUSED,
    "WrongPassphrase": ExitCode.REFUSED,
    "NeedsApproval": ExitCode.NEEDS_APPROVAL,
    "Interrupted": ExitCode.INTERRUPTED,
    "Partial": ExitCode.PARTIAL,
    **dict.fromkeys(
        (
            *("NotABundle", "UnsupportedFormat", "Unsigned", "UntrustedSigner", "BadSignature"),
            *("UnsafeEntry", "UnexpectedFile", "MissingBlob", "SizeMismatch", "DigestMismatch"),
            *("IncompleteImage", "ReadBackMismatch", "DigestInvalid", "MirrorDamaged"),
            *("BackupUnusable", "WrongSigner", "MoveIncomplete", "ContentUnusable", "Damaged"),
            "InventoryDamaged",
        ),
        ExitCode.INTEGRITY,
    ),
}
RETRYABLE = frozenset(("Unreachable", "TimedOut", "Conflict", "TooManyRequests"))


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a failed command says: `reason` is stable, `message` and `hint` are for people."""

    reason: str
    message: str
    hint: str = ""

    @property
    def code(self) -> ExitCode:
        return CODE_OF_REASON.get(self.reason, ExitCode.FAILED)

    def as_json(self) -> dict[str, Any]:
        return {
            "apiVersion": "skerry.dev/v1",
            "kind": "Error",
            "reason": self.reason,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.reason in RETRYABLE,
            "exitCode": int(self.code),
        }


class CommandFailed(Exception):
    """A command's own verdict, when no exception of a library says it."""

    def __init__(self, reason: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.complaint = Complaint(reason, message, hint)


def check_all_done(failures: Sequence[Complaint], *, total: int, what: str) -> None:
    """Raise the verdict over several things: partial if some were done, else what went wrong with all."""
    if not failures:
        return
    if total == 1:
        raise CommandFailed(failures[0].reason, failures[0].message, hint=failures[0].hint)
    reasons = {complaint.reason for complaint in failures}
    reason = "Partial" if len(failures) < total else reasons.pop() if len(reasons) == 1 else "Failed"
    raise CommandFailed(reason, f"{len(failures)} of {total} {what}.")


def complain(error: Exception) -> Complaint | None:
    """The complaint for an error that is somebody's mistake or bad luck; None for a defect of ours."""
    match error:
        case CommandFailed():
            return error.complaint
        case ApplianceError():
            return Complaint(error.reason, error.message, error.hint)
        case ConfigurationError():
            return Complaint("Configuration", str(error), error.hint)
        case DataDirectoryBusy():
            return Complaint("DataDirectoryBusy", str(error), error.hint)
        case ApplianceFault():
            return Complaint(type(error).__name__, str(error), error.hint)
    # By name: importing these would cost every command what one command needs.
    if type(error).__module__ in ("appliance.store.base", "bundles.errors", "mirror.errors"):
        return Complaint(type(error).__name__, str(error), str(getattr(error, "hint", "")))
    if isinstance(error, OSError) and error.filename:
        return Complaint("InputOutput", f"{error.filename}: {error.strerror}.")
    return None
