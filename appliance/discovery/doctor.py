"""Which rung of discovery is broken, seen from this machine, and what to do about it.

What was seen comes in as values and what follows from it goes out, so that every verdict has a test;
`look` does the seeing.
"""

import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from zeroconf import Error, IPVersion, NonUniqueNameException, ServiceBrowser, ServiceInfo, Zeroconf

from agent.protocol.discovery import NODE_SERVICE, REGISTRATION_SERVICE
from appliance.discovery.interfaces import choose_interfaces

Verdict = Literal["ok", "broken", "unknown"]
PROBE_SERVICE = "_skerry-doctor._tcp.local."
MDNS_PORT = 5353


@dataclass(frozen=True, slots=True)
class Seen:
    """What could be seen of each rung; None where an earlier rung kept us from looking."""

    addresses: tuple[str, ...]
    mdns_error: str = ""
    hears_itself: bool | None = None
    heard: int | None = None


@dataclass(frozen=True, slots=True)
class Rung:
    name: str
    verdict: Verdict
    what: str
    hint: str = ""


def judge(seen: Seen) -> list[Rung]:
    """One line a rung, in the order in which they carry each other."""
    return [_judge_addresses(seen), _judge_port(seen), _judge_loop(seen), _judge_others(seen)]


def look(*, interfaces: Sequence[str], seconds: float, sleep: Callable[[float], None] = time.sleep) -> Seen:
    """Announce a service of our own on these addresses, and listen for it and for everybody else."""
    addresses = tuple(choose_interfaces(list(interfaces)))
    if not addresses:
        return Seen(addresses)
    try:
        speaker = Zeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
    except (OSError, Error) as error:
        return Seen(addresses, mdns_error=str(error))
    try:
        listener = Zeroconf(interfaces=list(addresses), ip_version=IPVersion.V4Only)
    except (OSError, Error) as error:
        speaker.close()
        return Seen(addresses, mdns_error=str(error))
    try:
        return _listen(speaker, listener, addresses, seconds=seconds, sleep=sleep)
    finally:
        listener.close()
        speaker.close()


def _listen(
    speaker: Zeroconf,
    listener: Zeroconf,
    addresses: tuple[str, ...],
    *,
    seconds: float,
    sleep: Callable[[float], None],
) -> Seen:
    names: set[str] = set()

    def hear(zeroconf: Zeroconf, service_type: str, name: str, state_change: object) -> None:
        names.add(name)

    own = f"{secrets.token_hex(6)}.{PROBE_SERVICE}"
    ServiceBrowser(listener, [PROBE_SERVICE, NODE_SERVICE, REGISTRATION_SERVICE], handlers=[hear])
    packed = [socket.inet_aton(address) for address in addresses]
    try:
        speaker.register_service(ServiceInfo(PROBE_SERVICE, own, port=9, addresses=packed))
    except (OSError, Error, NonUniqueNameException) as error:
        return Seen(addresses, mdns_error=str(error))
    sleep(seconds)
    others = {name for name in names if not name.endswith(PROBE_SERVICE)}
    return Seen(addresses, hears_itself=own in names, heard=len(others))


def _judge_addresses(seen: Seen) -> Rung:
    if seen.addresses:
        return Rung("address", "ok", f"we are at {', '.join(seen.addresses)}")
    return Rung(
        "address",
        "broken",
        "no network interface has an IPv4 address",
        "Plug in a cable; without DHCP give the interface an address by hand.",
    )


def _judge_port(seen: Seen) -> Rung:
    if not seen.addresses:
        return Rung("mdns port", "unknown", "not looked at: there is no address")
    if seen.mdns_error:
        return Rung(
            "mdns port",
            "broken",
            f"mDNS cannot be spoken: {seen.mdns_error}",
            f"Does another program hold UDP port {MDNS_PORT} for itself (avahi with disallow-other-stacks)?",
        )
    return Rung("mdns port", "ok", f"UDP port {MDNS_PORT} can be used")


def _judge_loop(seen: Seen) -> Rung:
    if seen.hears_itself is None:
        return Rung("multicast out", "unknown", "not looked at: mDNS cannot be spoken")
    if seen.hears_itself:
        return Rung("multicast out", "ok", "what we announce comes back to us")
    return Rung(
        "multicast out",
        "broken",
        "what we announce does not even come back to us",
        "A firewall on this machine drops 224.0.0.251, or there is no route for multicast.",
    )


def _judge_others(seen: Seen) -> Rung:
    if not seen.hears_itself or seen.heard is None:
        return Rung("others", "unknown", "not looked at: our own announcement is not heard")
    if seen.heard:
        return Rung("others", "ok", f"{seen.heard} other announcements were heard")
    return Rung(
        "others",
        "unknown",
        "nobody else was heard; if a machine is on, multicast is filtered on the way",
        "The machine's screen shows its address, for `skerry discover pair NAME --address ADDRESS`; or ask"
        " the network's owner about IGMP snooping and client isolation.",
    )
