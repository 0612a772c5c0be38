"""Which machines say they are the same one: what each claims, and who else claims it. Pure."""

from collections.abc import Iterable
from heapq import nsmallest

from appliance.hosts.claims import Claims

# A thousand machines with one serial are told of a few of each other: each that comes costs the same.
MAX_CLASHES = 8
Machine = tuple[str, str]  # namespace, name


class Identities:
    """A table of claims; rejected machines are not put into it."""

    def __init__(self) -> None:
        self._claims: dict[Machine, Claims] = {}
        self._machines: dict[str, set[Machine]] = {}

    def put(self, machine: Machine, claims: Claims) -> set[Machine]:
        """Take what a machine claims now; returns those for whom that may change something."""
        if self._claims.get(machine) == claims:
            return set()
        concerned = self.forget(machine)
        self._claims[machine] = claims
        for key in claims.names():
            self._machines.setdefault(key, set()).add(machine)
        return concerned | {machine} | {other for other, _ in self.find_clashes(machine, claims)}

    def forget(self, machine: Machine) -> set[Machine]:
        """Returns those for whom that may change something."""
        claims = self._claims.pop(machine, None)
        if claims is None:
            return set()
        concerned = {other for other, _ in self.find_clashes(machine, claims)}
        for key in claims.names():
            self._machines[key].discard(machine)
            if not self._machines[key]:
                del self._machines[key]
        return concerned

    def find_clashes(self, machine: Machine | None, claims: Claims) -> list[tuple[Machine, str]]:
        """Other machines that claim any of it, and what they share: the first few of them by name."""
        shared: dict[Machine, list[str]] = {}
        for key in claims.names():
            for other in nsmallest(MAX_CLASHES + 1, self._machines.get(key, ())):
                if other != machine:
                    shared.setdefault(other, []).append(key)
        return [(other, ", ".join(keys)) for other, keys in sorted(shared.items())][:MAX_CLASHES]


def describe_clashes(clashes: Iterable[tuple[Machine, str]]) -> str:
    """A sentence's end for people: who shares what; empty without clashes."""
    found = [f"{keys} is also {name}'s" for (_, name), keys in clashes]
    more = ", and more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more
