"""What the settings say of the mirror, as values: its limits and how often it is cared for.

Apart from `appliance.config`, which every command reads and only `skerry serve` needs this of.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from appliance.config import ServeConfig
from appliance.errors import ConfigurationError
from mirror.limits import DEFAULT_LIMITS, Limits
from mirror.serve import parse_size

SECONDS = {"m": 60, "h": 3600, "d": 24 * 3600}
MAX_DIGITS = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CareIntervals:
    """Seconds between two collections, and between two verifications; 0 is never."""

    collection: float
    verification: float


def read_limits(config: ServeConfig) -> Limits:
    """For every process that writes into the mirror. Raises ConfigurationError."""
    quota = _parse("mirror-quota", config.mirror_quota or "0", parse_size)
    floor = DEFAULT_LIMITS.free_space
    if config.mirror_keep_free:
        floor = _parse("mirror-keep-free", config.mirror_keep_free, parse_size)
    return replace(DEFAULT_LIMITS, quota=quota, free_space=floor)


def read_intervals(config: ServeConfig) -> CareIntervals:
    """Raises ConfigurationError."""
    return CareIntervals(
        collection=_parse("mirror-gc-every", config.mirror_gc_every, parse_interval),
        verification=_parse("mirror-verify-every", config.mirror_verify_every, parse_interval),
    )


def parse_interval(text: str) -> float:
    """Seconds of `30m`, `24h` or `7d`; a bare 0 is 0. Raises ValueError."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SECONDS else (text, "")
    is_number = number.isascii() and number.isdigit() and len(number) <= MAX_DIGITS
    if not is_number or (not unit and int(number)):
        raise ValueError(f"{text!r} is not an interval: write 0, or as in 30m, 24h, 7d")
    return float(int(number) * SECONDS.get(unit, 0))


def _parse(key: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except (ValueError, ArgumentTypeError) as error:
        raise ConfigurationError(f"The setting {key}: {error}.") from error
