"""Kinds of jobs for tests: they do what their parameters say, step by step, under the test's control."""

import threading
from typing import Any

import msgspec

from appliance.errors import Refused
from appliance.operations import OperationContext, OperationKind
from bundles.progress import ProgressEvent


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


class Count(msgspec.Struct, forbid_unknown_fields=True):
    to: int = 3


def count(params: Count, context: OperationContext) -> dict[str, Any]:
    for done in range(params.to):
        context.progress(ProgressEvent("copying", done + 1, params.to, "numbers"))
    return {"counted": params.to}


class Gate:
    """A job that says when it runs and goes on when the test lets it."""

    def __init__(self) -> None:
        self.runs = threading.Semaphore(0)
        self.opened = threading.Event()
        self.starts = 0

    def work(self, params: Nothing, context: OperationContext) -> dict[str, Any]:
        self.starts += 1
        self.runs.release()
        while not self.opened.wait(0.01):
            context.progress(ProgressEvent("copying", 1, 2, "gate"))
        return {"passed": True}

    def kind(self, name: str = "gate", *, is_resumable: bool = False) -> OperationKind[Nothing]:
        return OperationKind(name, Nothing, self.work, is_resumable=is_resumable)


def refuse(params: Nothing, context: OperationContext) -> dict[str, Any]:
    raise Refused("The stick is the system disk.", hint="Choose another.")


def break_down(params: Nothing, context: OperationContext) -> dict[str, Any]:
    raise KeyError("surprise")


COUNT = OperationKind("count", Count, count)
REFUSE = OperationKind("refuse", Nothing, refuse)
BREAK_DOWN = OperationKind("break-down", Nothing, break_down)
