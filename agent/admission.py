"""Register and wait: ask the appliance until a person has decided, or it can be reached.

One attempt is `agent.register`; this is the patience around it.
"""

import logging
from collections.abc import Callable, Iterator
from threading import Event

from agent.errors import Denied, Unreachable
from agent.protocol.client_config import Config
from agent.register import Outcome, Refused, Registered, WaitingForApproval

log = logging.getLogger("agent")

FIRST_DELAY = 1.0
MAX_DELAY = 30.0


def wait_for_admission(
    attempt: Callable[[], Outcome],
    *,
    stop: Event,
    first_delay: float = FIRST_DELAY,
    max_delay: float = MAX_DELAY,
) -> Config:
    """Return the configuration once admitted. Raises Denied when refused or stopped.

    Unreachable is waited out as well: a machine is often switched on before its appliance.
    """
    last_message = ""
    for delay in _delays(first_delay, max_delay):
        message, delay = _try_once(attempt, delay)
        if isinstance(message, Config):
            return message
        if message != last_message:
            log.info("register: %s", message)
            last_message = message
        if stop.wait(delay):
            break
    raise Denied("registering was stopped before this machine was admitted", hint=last_message)


def _try_once(attempt: Callable[[], Outcome], delay: float) -> tuple[Config | str, float]:
    try:
        outcome = attempt()
    except Denied:
        raise
    except Unreachable as error:
        return str(error), delay
    match outcome:
        case Registered(config, _):
            return config, 0.0
        case WaitingForApproval(message):
            return message, delay
        case Refused(message):
            raise Denied(message, hint="a person refused this machine on the appliance")


def _delays(first: float, most: float) -> Iterator[float]:
    delay = first
    while True:
        yield min(delay, most)
        delay *= 1.5
