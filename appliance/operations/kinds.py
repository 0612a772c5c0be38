"""What a kind of long job is, how one running job looks, and what the job may ask of its surroundings."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from appliance.operations.journal import Failure
from bundles.progress import ProgressEvent

State = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]

P = TypeVar("P", bound=msgspec.Struct)
T = TypeVar("T")


class OperationContext(Protocol):
    """The job's door to the outside."""

    def progress(self, event: ProgressEvent, /) -> None:
        """Say how far it is. Raises `bundles.progress.Cancelled` when the job shall end."""

    def on_loop(self, coroutine: Coroutine[Any, Any, T], /) -> T:
        """Run a coroutine (a store call) on the appliance's event loop and wait for what it returns."""


@dataclass(frozen=True, slots=True)
class OperationKind(Generic[P]):
    """`work` runs on a worker thread and returns a JSON object.

    `is_resumable` says that running it again from the start after a crash is safe and wanted.
    """

    name: str
    params: type[P]
    work: Callable[[P, OperationContext], dict[str, Any]]
    is_resumable: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One job as it stands at a moment."""

    id: str
    kind: str
    params: dict[str, Any]
    state: State
    created_at: str
    progress: ProgressEvent | None = None
    result: dict[str, Any] | None = None
    error: Failure | None = None
    started_at: str = ""
    finished_at: str = ""
    attempts: int = 0

    @property
    def is_final(self) -> bool:
        return self.state not in ("queued", "running")
