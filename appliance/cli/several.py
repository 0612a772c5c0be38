"""Doing one thing to several things: one that is refused does not stop the others."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from appliance.cli.exits import Complaint, ExitCode, complain
from appliance.cli.output import talk

T = TypeVar("T")
R = TypeVar("R")


def attempt_each(
    items: Sequence[T], act: Callable[[T], R], *, name: Callable[[T], str]
) -> tuple[list[R], list[Complaint]]:
    """What was done and what was refused; `exits.check_all_done` makes the verdict of it.

    With several items each refusal is said at once, under the item's name. An appliance that is away, or a
    defect of ours, ends it all.
    """
    done: list[R] = []
    refused: list[Complaint] = []
    for item in items:
        try:
            done.append(act(item))
        except Exception as error:
            complaint = complain(error)
            if complaint is None or complaint.code is ExitCode.UNREACHABLE:
                raise
            refused.append(complaint)
            if len(items) > 1:
                talk(f"{name(item)}: {complaint.message}")
    return done, refused
