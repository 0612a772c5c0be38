"""How many requests an address may make: token buckets, purely. Time is told, nothing is slept."""

import ipaddress
from collections import OrderedDict
from typing import Final

ADDRESSES_KEPT: Final = 10_000
BURST_SECONDS: Final = 5.0


class RateLimiter:
    """`rate` a second on average, and what gathers in five seconds at once.

    The addresses that were quiet the longest are forgotten first, which only ever gives somebody more.
    IPv6 is counted by /64, since that is what one host has.
    """

    def __init__(self, rate: float, *, spares_loopback: bool = True, kept: int = ADDRESSES_KEPT) -> None:
        self._rate = rate
        self._burst = max(1.0, rate * BURST_SECONDS)
        self._spares_loopback = spares_loopback
        self._kept = kept
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, now: float) -> float:
        """One request: 0 if it may go on, else the seconds to wait."""
        address = _counted_as(client)
        if self._spares_loopback and address == _LOOPBACK:
            return 0.0
        tokens, since = self._buckets.pop(address, (self._burst, now))
        tokens = min(self._burst, tokens + max(0.0, now - since) * self._rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate
        self._buckets[address] = (tokens if wait else tokens - 1.0), now
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return wait


_LOOPBACK: Final = "loopback"


def _counted_as(client: str) -> str:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback:
        return _LOOPBACK
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
