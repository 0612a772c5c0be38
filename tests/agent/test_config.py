"""The configuration: defaults for a real host, unknown keys are errors, what is written is read."""

from pathlib import Path

import pytest

from agent.config import (
    MAX_CONFIG_BYTES,
    AgentConfig,
    DiskConfig,
    SnapshotConfig,
    VolumeSizes,
    load_config,
    parse_config,
    render_config,
)
from agent.errors import ConfigInvalid


def test_no_file_means_a_real_host(tmp_path: Path) -> None:
    config = load_config(tmp_path / "none.toml")

    assert config == AgentConfig()
    assert (config.disk.kind, config.snapshot.format, config.mirror.plain_http) == (
        "partitions",
        "ext2",
        False,
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    config = AgentConfig(
        disk=DiskConfig(kind="directories", sizes=VolumeSizes(state=99), device='/dev/"x"'),
        snapshot=SnapshotConfig(format="tar"),
        discovery=False,
        reboot=[],
    )
    path = tmp_path / "agent.toml"
    path.write_bytes(render_config(config))

    assert load_config(path) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("discvery = true", "discvery"),
        ("[snapshot]\nformat = 'zip'", "zip"),
        ("[snapshot]\nmax-snaps = 1", "max-snaps"),
        ("[disk.sizes]\nefi = 0", "MiB"),
        ("[loop]\nplan-seconds = 'soon'", "plan-seconds"),
        ("[[", "not valid"),
        ("\udcff", "not valid"),
        ("x" * (MAX_CONFIG_BYTES + 1), "larger"),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        parse_config(text.encode(errors="surrogateescape"))
