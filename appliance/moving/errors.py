"""What can go wrong when a store is saved, brought back or moved.

ApplianceFault
└── MovingError
    ├── BackupUnusable    no backup, a damaged one, or one of a newer Skerry
    ├── WrongSigner       a sound backup, made by another appliance than was asked for
    ├── WrongPassphrase   a sealed backup and not its passphrase, or none
    ├── TargetInUse       there is something already where it should go
    └── MoveIncomplete    the target does not hold what the source holds; the source is unchanged
"""

from appliance.errors import ApplianceFault


class MovingError(ApplianceFault):
    pass


class BackupUnusable(MovingError):
    pass


class WrongSigner(MovingError):
    pass


class WrongPassphrase(MovingError):
    pass


class TargetInUse(MovingError):
    pass


class MoveIncomplete(MovingError):
    pass
