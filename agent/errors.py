"""What can go wrong on a host, and the exit code that each thing ends a command with.

AgentError                1   a sentence about this host; `hint` says what to do
├── ConfigInvalid         2   the configuration or the command line is wrong
├── StateInvalid          1   state.yaml, the journal or the boot environment is damaged
├── CommandFailed         1   an outside program (mkfs, mount, a checker) failed
├── NoSpace               1   a volume is too small for what was asked; numbers in the message
├── DiskRefused           5   no disk fits, or the one that fits must not be written
├── UpgradeRefused        5   the image is not to be tried: known bad, or another transaction is open
├── ImageInvalid          6   a manifest, a layer or a snapshot breaks the rules
│   └── DigestMismatch    6   the bytes are not the ones that were named
├── PlanInvalid           1   a plan that cannot be read
└── Unreachable           3   the appliance or its mirror did not answer; trying again may help
    └── Denied            3   it answered, and said no
"""

EXIT_REBOOT = 75  # `run` ended because the machine must reboot and nobody was configured to do it


class AgentError(Exception):
    """The root. `str()` is for the technician."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigInvalid(AgentError):
    exit_code = 2


class StateInvalid(AgentError):
    pass


class CommandFailed(AgentError):
    pass


class NoSpace(AgentError):
    pass


class DiskRefused(AgentError):
    exit_code = 5


class UpgradeRefused(AgentError):
    exit_code = 5


class ImageInvalid(AgentError):
    exit_code = 6


class DigestMismatch(ImageInvalid):
    pass


class PlanInvalid(AgentError):
    pass


class Unreachable(AgentError):
    exit_code = 3


class Denied(Unreachable):
    """`status` is the HTTP status."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
