"""The run loop of an installed host: settle this boot, report, then apply plans until a reboot is due.

It lives through the appliance being away for any time: settling needs no network, and plans and reports
are tried again. It decides nothing itself; see `settle`, `plan` and `upgrade`.
"""

import logging
import time
from collections.abc import Callable
from threading import Event
from typing import Literal

from agent.client import Appliance
from agent.config import LoopConfig
from agent.errors import AgentError, Denied, Unreachable
from agent.health import check_health
from agent.host import Host
from agent.installation import Installation, transaction_lock
from agent.journal import Record
from agent.plan import PlanEngine, is_due
from agent.reporter import Reporter
from agent.settle import Settled, settle

log = logging.getLogger("agent")

Ended = Literal["reboot", "stopped"]
Resumer = Callable[[Record], object]


def run(
    installation: Installation,
    appliance: Appliance,
    *,
    reporter: Reporter,
    resume: Resumer,
    stop: Event,
) -> Ended:
    """Work until `stop` is set or this host must reboot. `resume` finishes a transaction that was cut off."""
    host, config = installation.host, installation.config.loop
    engine = PlanEngine(
        host,
        host.volume("persistent") / ".skerry" / "plan",
        timeout=config.instruction_timeout_seconds,
    )
    unfinished = _settle_or_say_why(installation)
    reporter.send()
    if unfinished is not None:
        _resume(installation, unfinished, resume)
    last_report = time.monotonic()
    is_first = True
    while is_first or not stop.wait(config.plan_seconds):
        is_first = False
        if host.is_reboot_requested():
            reporter.send()
            return "reboot"
        poll_once(appliance, engine, host=host, config=config)
        if time.monotonic() - last_report >= config.report_seconds:
            last_report = time.monotonic()
            reporter.send()
    return "stopped"


def settle_now(installation: Installation) -> Settled:
    """Commit or roll back what this boot decides, asking the image's checkers."""
    with transaction_lock(installation.host, who="settle"):
        settled = settle(
            installation, judge=lambda: check_health(installation.host, installation.config.health)
        )
    if settled.record is not None:
        record = settled.record
        log.info("%s to %s: %s %s", record.action, record.version, record.outcome or "open", record.reason)
    return settled


def _settle_or_say_why(installation: Installation) -> Record | None:
    """Settle; a host whose records are damaged still reports and takes plans."""
    try:
        return settle_now(installation).unfinished
    except AgentError as error:
        log.error("settle: %s", error)
        return None


def poll_once(appliance: Appliance, engine: PlanEngine, *, host: Host, config: LoopConfig) -> bool:
    """Fetch the plan; apply it if it is due, and say so. True if one was applied, well or badly."""
    try:
        secret = appliance.fetch_plan()
        if not is_due(secret, engine.progress(), now=time.time(), cool_down=config.cool_down_seconds):
            return False
        changes = engine.apply(secret)
        _tell(lambda: appliance.patch_plan(changes), retry=config.retry_seconds, host=host)
    except Denied as error:
        log.warning("plan: %s", error)
        return False
    except Unreachable as error:
        log.info("plan: %s", error)
        return False
    except AgentError as error:
        log.warning("plan: %s", error)
        return False
    return True


def _tell(send: Callable[[], object], *, retry: float, host: Host) -> None:
    """Acknowledge, with one more try before a reboot: the plan's progress is on disk in any case."""
    try:
        send()
    except Denied:
        raise
    except Unreachable:
        if host.is_reboot_requested():
            time.sleep(retry)
        send()


def _resume(installation: Installation, record: Record, resume: Resumer) -> None:
    try:
        with transaction_lock(installation.host, who="resume"):
            resume(record)
    except AgentError as error:
        log.warning("%s to %s: not finished: %s", record.action, record.version or record.digest, error)
