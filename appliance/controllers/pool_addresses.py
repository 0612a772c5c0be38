"""The addresses of an InClusterIPPool: single ones, ranges and subnets, without those that are kept back.

Pure, and lazy: an IPv6 subnet is never written out. Kept back are the gateway, what the pool excludes, and of
every subnet its network and broadcast address, as Cluster API's in-cluster provider does, unless the pool
says otherwise.
"""

import ipaddress
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from appliance.resources.ipam import InClusterIPPoolSpec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
COUNT_LIMIT = 2**31 - 1  # what an int32 of a status can say


class InvalidPool(ValueError):
    """The pool's spec cannot be read; the sentence names the part."""


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses of one version, as numbers, both ends included."""

    version: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class AddressSet:
    """What a pool may give: sorted spans that do not touch, less single numbers that are kept back."""

    spans: tuple[Span, ...]
    kept_back: frozenset[tuple[int, int]]

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        return (address.version, number) not in self.kept_back and any(
            span.version == address.version and span.first <= number <= span.last for span in self.spans
        )

    @property
    def total(self) -> int:
        """How many there are, up to what a status can say."""
        kept = sum(1 for version, number in self.kept_back if self._holds(version, number))
        return min(COUNT_LIMIT, sum(span.last - span.first + 1 for span in self.spans) - kept)

    def free(self, used: Collection[Address]) -> Iterator[Address]:
        """The addresses that are not in use, from the lowest on."""
        taken = {(address.version, int(address)) for address in used} | self.kept_back
        for span in self.spans:
            for number in range(span.first, span.last + 1):
                if (span.version, number) not in taken:
                    yield _address(span.version, number)

    def _holds(self, version: int, number: int) -> bool:
        return any(span.version == version and span.first <= number <= span.last for span in self.spans)


def parse_pool(spec: InClusterIPPoolSpec) -> AddressSet:
    """Read what a pool may give. Raises InvalidPool."""
    spans: list[Span] = []
    kept_back: set[tuple[int, int]] = set()
    for entry in spec.addresses:
        span, subnet = _parse_entry(entry)
        spans.append(span)
        if subnet is not None and not spec.allocate_reserved_ip_addresses:
            kept_back |= _reserved(subnet)
    if not spans:
        raise InvalidPool("spec.addresses names no address")
    bits = {span.version for span in spans}
    if len(bits) > 1:
        raise InvalidPool("spec.addresses mixes IPv4 and IPv6; make a pool of each")
    if not 0 <= spec.prefix <= (32 if bits == {4} else 128):
        raise InvalidPool(f"spec.prefix {spec.prefix} is no prefix length of these addresses")
    if spec.gateway:
        gateway = _parse_address(spec.gateway, "spec.gateway")
        kept_back.add((gateway.version, int(gateway)))
    excluded = [_parse_entry(entry)[0] for entry in spec.excluded_addresses]
    return AddressSet(_subtract(_join(spans), excluded), frozenset(kept_back))


def read_address(text: str) -> Address | None:
    """An address that somebody wrote; None if it is none."""
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        return None


def _parse_entry(entry: str) -> tuple[Span, ipaddress.IPv4Network | ipaddress.IPv6Network | None]:
    text = entry.strip()
    if "/" in text:
        try:
            subnet = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise InvalidPool(f"{entry!r} is no subnet: {error}") from error
        return Span(subnet.version, int(subnet.network_address), int(subnet.broadcast_address)), subnet
    first, dash, last = text.partition("-")
    start = _parse_address(first, entry)
    end = _parse_address(last, entry) if dash else start
    if start.version != end.version or int(start) > int(end):
        raise InvalidPool(f"{entry!r} is no range: its end comes before its start")
    return Span(start.version, int(start), int(end)), None


def _parse_address(text: str, place: str) -> Address:
    address = read_address(text)
    if address is None:
        raise InvalidPool(f"{place!r}: {text.strip()!r} is no address")
    return address


def _reserved(subnet: ipaddress.IPv4Network | ipaddress.IPv6Network) -> set[tuple[int, int]]:
    """The network address (of IPv6: the routers' anycast) and IPv4's broadcast; none in the smallest ones."""
    if subnet.num_addresses <= 2:
        return set()
    reserved: set[tuple[int, int]] = {(subnet.version, int(subnet.network_address))}
    if subnet.version == 4:
        reserved.add((4, int(subnet.broadcast_address)))
    return reserved


def _join(spans: Sequence[Span]) -> list[Span]:
    """The same addresses, each once and in order."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.version, span.first)):
        before = joined[-1] if joined else None
        if before and before.version == span.version and span.first <= before.last + 1:
            joined[-1] = Span(span.version, before.first, max(before.last, span.last))
        else:
            joined.append(span)
    return joined


def _subtract(spans: Sequence[Span], excluded: Sequence[Span]) -> tuple[Span, ...]:
    left = list(spans)
    for hole in excluded:
        kept: list[Span] = []
        for span in left:
            if hole.version != span.version or hole.last < span.first or hole.first > span.last:
                kept.append(span)
                continue
            if span.first < hole.first:
                kept.append(Span(span.version, span.first, hole.first - 1))
            if hole.last < span.last:
                kept.append(Span(span.version, hole.last + 1, span.last))
        left = kept
    return tuple(left)


def _address(version: int, number: int) -> Address:
    return ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)
