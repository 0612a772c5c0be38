"""What this host says of itself: the Report, built from disk and from the kernel's word each time."""

import importlib.metadata
import logging
import socket
from functools import cache
from urllib.parse import urlsplit

from agent.booted import Booted, read_booted
from agent.errors import StateInvalid
from agent.host import Host, now_text
from agent.installation import Installation
from agent.journal import Record, render_transaction
from agent.protocol.report import HistoryEntry, Report, Slot, SlotName
from agent.state import State, load_state

log = logging.getLogger("agent")


@cache
def read_version() -> str:
    """Return this agent's own version."""
    try:
        return importlib.metadata.version("skerry")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def build_report(installation: Installation, *, record: Record | None = None, towards: str = "") -> Report:
    """Return the whole report. `record` replaces the journal's (progress is only in memory).

    What is damaged on disk is left out: a host in trouble must still be heard.
    """
    host = installation.host
    state = _read_state(host)
    last, history = _read_journal(installation)
    booted = read_booted(host, active=installation.snapshots.read_active())
    running = state.snapshots.get(booted.snapshot) if booted.snapshot is not None else None
    slots = list_slots(state)
    record = record or last
    return Report(
        agent_version=read_version(),
        boot_id=host.boot_id(),
        mode=booted.mode,
        booted_slot=_slot_of(state, booted),
        image=running.source.removeprefix("oci://") if running else "",
        digest=running.digest if running else "",
        version=(running.version if running else "") or host.os_release().get("IMAGE_TAG", ""),
        slots=slots,
        transaction=render_transaction(record) if record else None,
        history=history,
        hostname=_read_hostname(host),
        addresses=find_addresses(towards),
        uptime_seconds=host.uptime_seconds(),
        reported_at=now_text(),
    )


def _read_state(host: Host) -> State:
    try:
        return load_state(host) or State()
    except StateInvalid as error:
        log.warning("report: %s", error)
        return State()


def _read_journal(installation: Installation) -> tuple[Record | None, list[HistoryEntry]]:
    try:
        return installation.journal.record(), installation.journal.history()
    except StateInvalid as error:
        log.warning("report: %s", error)
        return None, []


def list_slots(state: State) -> list[Slot]:
    """Return both slots; the newest snapshot of a letter is what the slot holds."""
    slots: dict[SlotName, Slot] = {"a": Slot(name="a"), "b": Slot(name="b")}
    for record in state.records():
        snapshot = state.snapshots[record.id]
        slots[record.slot] = Slot(
            name=record.slot,
            state=record.status,
            snapshot=record.id,
            digest=record.digest,
            version=snapshot.version,
            reason=snapshot.failure_reason,
        )
    return list(slots.values())


def _slot_of(state: State, booted: Booted) -> SlotName | None:
    return next((one.slot for one in state.records() if one.id == booted.snapshot), None)


def _read_hostname(host: Host) -> str:
    return host.read_text("/etc/hostname") or socket.gethostname()


def find_addresses(towards: str) -> list[str]:
    """Return our address on the way to the appliance. Connecting a datagram socket sends nothing."""
    url = urlsplit(towards)
    if not url.hostname:
        return []
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            url.hostname, url.port or 443, type=socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return [str(probe.getsockname()[0])]
    except OSError:
        return []
