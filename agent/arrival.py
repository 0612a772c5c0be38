"""A host that looks for its appliance: paired by a code when it knows nobody, found by its CA when it moved.

Apart from `agent.discovery`, which a host that runs for years keeps loaded: this brings cryptography.
"""

import logging
import secrets
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

import msgspec
from zeroconf import Error

from agent.discovery import FoundAppliance, announce, describe_host, find_appliances, find_own_addresses
from agent.errors import Denied
from agent.host import Host
from agent.pairing import read_fingerprint
from agent.pairing_listener import Show, listen
from agent.protocol.client_config import Registration
from agent.protocol.discovery import TXT_ID, TXT_PAIRING

log = logging.getLogger("agent")

FOLLOW_SECONDS = 2.0


def pair_here(
    host: Host, *, version: str, interfaces: Sequence[str], stop: threading.Event, show: Show
) -> Registration:
    """Announce a host that belongs to nobody, show its code, return what the appliance that knew it said.

    Announced anew whenever our addresses change: a cable is often plugged in last. Raises Denied when
    stopped.
    """
    texts = {**describe_host(host, state="live", version=version), TXT_PAIRING: "1"}
    # Chance in the name: two machines with one system UUID, as cloned boards have, stay two on the link.
    name = f"new-{texts[TXT_ID][:6]}-{secrets.token_hex(2)}"

    def own() -> list[str]:
        return list(interfaces) or find_own_addresses()

    with listen(texts[TXT_ID], name, show=show, addresses=own) as listening:
        while True:
            addresses = own()

            def is_over(known: Sequence[str] = addresses) -> bool:
                return stop.is_set() or own() != known

            with announce(name, texts, addresses=addresses, port=listening.port):
                paired = listening.wait(is_over)
            if paired is not None:
                return paired.registration
            if stop.is_set():
                raise Denied("waiting for an appliance was stopped before one knew the code")


def follow_appliance(registration: Registration, *, seconds: float = FOLLOW_SECONDS) -> Registration:
    """The registration with the address that the appliance of that CA announces now, if it announces one.

    Whoever copies the announcement gains nothing: the CA still decides whom we believe.
    """
    try:
        return point_at(registration, find_appliances(seconds=seconds))
    except (OSError, Error) as error:
        log.info("mDNS: cannot look for the appliance: %s", error)
        return registration


def point_at(registration: Registration, found: Sequence[FoundAppliance]) -> Registration:
    """The registration at the one among those found that announces its CA; unchanged if none does."""
    fingerprint = read_fingerprint(registration.ca_cert)
    url = urlsplit(registration.url)
    for appliance in found:
        if fingerprint and appliance.fingerprint == fingerprint[:16]:
            host = f"[{appliance.address}]" if ":" in appliance.address else appliance.address
            moved = urlunsplit(url._replace(netloc=f"{host}:{appliance.port}"))
            return msgspec.structs.replace(registration, url=moved)
    return registration
