"""Settings files: where they are, what they may say, and what is said of a wrong one."""

from pathlib import Path

import pytest

from appliance.config import (
    MAX_FILE_BYTES,
    ClientConfig,
    ServeConfig,
    client_config_path,
    load_client_config,
    load_serve_config,
)
from appliance.errors import ConfigurationError


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "skerry.toml"
    path.write_text('listen = "10.0.0.1:8443"\ninsecure-http = true\nsite = "Plant 3"\n')

    assert load_serve_config(path) == ServeConfig(listen="10.0.0.1:8443", insecure_http=True, site="Plant 3")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'lisen = "x"', "lisen"),
        (b"insecure-http = 3", "insecure-http"),
        (b"listen = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"#" * (MAX_FILE_BYTES + 1), "bytes"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_key(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "skerry.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as refused:
        load_serve_config(path)

    assert str(path) in str(refused.value)
    assert said in str(refused.value)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_client_config(tmp_path / "none.toml")


def test_without_any_file_the_defaults_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SKERRY_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert load_client_config() == ClientConfig()


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"HOME": "/home/t"}, "/home/t/.config/skerry/config.toml"),
        ({"HOME": "/home/t", "XDG_CONFIG_HOME": "/xdg"}, "/xdg/skerry/config.toml"),
        ({"HOME": "/home/t", "XDG_CONFIG_HOME": "relative"}, "/home/t/.config/skerry/config.toml"),
        ({"HOME": "/home/t", "XDG_CONFIG_HOME": "/xdg", "SKERRY_CONFIG": "/my.toml"}, "/my.toml"),
    ],
)
def test_the_clients_file_is_where_the_xdg_rules_say(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], path: str
) -> None:
    for name in ("XDG_CONFIG_HOME", "SKERRY_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert client_config_path() == Path(path)
