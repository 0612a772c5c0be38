"""Which hosts a few typed words mean, and in what order they stand. Pure."""

from collections.abc import Callable, Container, Iterable
from typing import Literal

from appliance.api.contract import HostView
from tui.known import key_of
from tui.states import HOST

Order = Literal["STATE", "NAME", "VERSION", "SEEN"]
ORDERS: tuple[Order, ...] = ("STATE", "NAME", "VERSION", "SEEN")


def matches(host: HostView, words: Iterable[str]) -> bool:
    """Say whether every word is somewhere in the host, and no word after a `!` is."""
    text = _searchable(host)
    return all((word[1:] not in text) if word[:1] == "!" and word[1:] else (word in text) for word in words)


def find_hosts(
    hosts: Iterable[HostView], *, typed: str, order: Order, also: Container[str] = ()
) -> list[str]:
    """The keys of the hosts that match, sorted; what needs a person comes first by state.

    `also` are keys of hosts that match by what their rows do not say: a serial, a place, a note.
    """
    words = typed.lower().split()
    found = [host for host in hosts if not words or matches(host, words) or key_of(host) in also]
    found.sort(key=_KEYS[order])
    return [key_of(host) for host in found]


def _searchable(host: HostView) -> str:
    labels = " ".join(f"{key}={value}" for key, value in host.labels.items())
    parts = (host.name, host.namespace, host.phase, HOST[host.phase].word, host.slot, host.version)
    return " ".join((*parts, *host.addresses, host.hostname, host.tpm_hash, host.digest, labels)).lower()


def _by_state(host: HostView) -> tuple[int, str]:
    return HOST[host.phase].rank, host.name


def _by_name(host: HostView) -> tuple[str, str]:
    return host.name, host.namespace


def _by_version(host: HostView) -> tuple[str, str]:
    return host.version, host.name


def _by_last_seen(host: HostView) -> tuple[str, str]:
    return host.last_seen, host.name


_KEYS: dict[Order, Callable[[HostView], tuple[int | str, str]]] = {
    "STATE": _by_state,
    "NAME": _by_name,
    "VERSION": _by_version,
    "SEEN": _by_last_seen,
}
