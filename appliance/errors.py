"""What can go wrong in the appliance outside the store, as sentences for a technician.

ApplianceFault
├── ConfigurationError   a setting is unknown or wrong; nothing was started
├── DataDirectoryBusy    another appliance already runs on the data directory
├── ChildFailed          the mirror did not start
└── OperationError
    ├── UnknownOperation      no operation with that id
    ├── UnknownOperationKind  no such kind of work
    ├── InvalidParameters     the work's parameters break their schema
    ├── Refused               a safety gate said no
    └── TooManyOperations     the queue is full
"""


class ApplianceFault(Exception):
    """`hint` says what to do about it, when there is something to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(ApplianceFault):
    pass


class DataDirectoryBusy(ApplianceFault):
    pass


class ChildFailed(ApplianceFault):
    pass


class OperationError(ApplianceFault):
    pass


class UnknownOperation(OperationError):
    pass


class UnknownOperationKind(OperationError):
    pass


class InvalidParameters(OperationError):
    pass


class Refused(OperationError):
    pass


class TooManyOperations(OperationError):
    pass
