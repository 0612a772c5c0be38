"""Those who came and did not say yet what they want, and who of them has to go when there are too many.

Pure book-keeping. Refusing newcomers would let whoever holds all places keep everybody out; so the place
comes from the address that holds most of them, and there from who has been silent longest. An honest host
is through in milliseconds and is hit only by as many newcomers as there are places in that time.
"""

import ipaddress
from typing import Generic, TypeVar

Guest = TypeVar("Guest")


class Crowd(Generic[Guest]):
    """`places` is how many guests there may be at a time."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._guests: dict[Guest, tuple[str, float]] = {}  # in the order of their coming
        self._groups: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def enter(self, guest: Guest, address: str, *, now: float) -> Guest | None:
        """Take the guest in; returns who has to leave for that, who is forgotten already."""
        leaver = None
        if len(self._guests) >= self._places:
            largest = max(self._groups.values(), key=lambda group: len(group))
            leaver = next(iter(largest))
            self.leave(leaver)
        group = choose_group(address)
        self._guests[guest] = (group, now)
        self._groups.setdefault(group, {})[guest] = None
        return leaver

    def leave(self, guest: Guest) -> bool:
        """Forget the guest; says whether they were here."""
        group, _ = self._guests.pop(guest, ("", 0.0))
        if guest not in self._groups.get(group, {}):
            return False
        del self._groups[group][guest]
        if not self._groups[group]:
            del self._groups[group]
        return True

    def clear_before(self, moment: float) -> list[Guest]:
        """Forget those who came before that moment; returns them."""
        overdue = []
        for guest, (_, since) in self._guests.items():
            if since >= moment:
                break
            overdue.append(guest)
        for guest in overdue:
            self.leave(guest)
        return overdue


def choose_group(address: str) -> str:
    """Whom an address counts for: itself, or in IPv6 its network, for a host has all of a /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
