"""What the settings say of the mirror, and what is said of settings that are wrong."""

from collections.abc import Callable

import pytest

from appliance.config import ServeConfig
from appliance.errors import ConfigurationError
from appliance.mirror_settings import CareIntervals, parse_interval, read_intervals, read_limits
from mirror.limits import DEFAULT_LIMITS


def test_without_settings_there_is_no_quota_and_care_is_daily_and_weekly() -> None:
    assert read_limits(ServeConfig()) == DEFAULT_LIMITS
    assert read_intervals(ServeConfig()) == CareIntervals(collection=86400.0, verification=7 * 86400.0)


def test_sizes_and_intervals_are_as_people_write_them() -> None:
    config = ServeConfig(
        mirror_quota="500G", mirror_keep_free="2G", mirror_gc_every="90m", mirror_verify_every="0"
    )

    assert (read_limits(config).quota, read_limits(config).free_space) == (500 * 2**30, 2 * 2**30)
    assert read_intervals(config) == CareIntervals(collection=5400.0, verification=0.0)


@pytest.mark.parametrize("text", ["", "d", "24", "-1h", "1.5h", "1w", "24H", "٣h", "9999999h", "1 h"])
def test_what_is_no_interval_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an interval"):
        parse_interval(text)


@pytest.mark.parametrize(
    ("config", "read", "key"),
    [
        (ServeConfig(mirror_quota="soon"), read_limits, "mirror-quota"),
        (ServeConfig(mirror_keep_free="soon"), read_limits, "mirror-keep-free"),
        (ServeConfig(mirror_gc_every="soon"), read_intervals, "mirror-gc-every"),
        (ServeConfig(mirror_verify_every="soon"), read_intervals, "mirror-verify-every"),
    ],
    ids=["quota", "keep-free", "gc", "verify"],
)
def test_a_wrong_setting_is_named(
    config: ServeConfig, read: Callable[[ServeConfig], object], key: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"The setting {key}: 'soon' is not"):
        read(config)
