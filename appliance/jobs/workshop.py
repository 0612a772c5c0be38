"""What the jobs work with: the store, the mirror's files, whom we trust."""

from dataclasses import dataclass, field
from pathlib import Path

from appliance.jobs.precedence import Precedence
from appliance.store.base import Store
from mirror.registry import Registry


@dataclass(frozen=True, slots=True)
class Workshop:
    """`mirror` is the mirror's public HOST:PORT; `ca_pem` is empty where TLS is off."""

    store: Store
    registry: Registry
    mirror: str
    trust_directory: Path
    ca_pem: str
    precedence: Precedence = field(default_factory=Precedence)

    @property
    def data(self) -> Path:
        """The appliance's own folder, which holds its keys."""
        return self.trust_directory.parent
