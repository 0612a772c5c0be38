"""registries.yaml and hosts.toml, read back; what containerd makes of them is in `test_go_clients.py`."""

import tomllib
from typing import Any

import pytest
import yaml

from mirror.errors import RequestInvalid
from mirror.nodes import Login, render_certs_d, render_hosts_toml, render_registries_yaml
from mirror.upstreams import KNOWN_UPSTREAMS

LOGIN = Login("floor", "pa: ss'word\"#")


def registries(mirror_url: str, **options: Any) -> Any:
    return yaml.safe_load(render_registries_yaml(mirror_url, **options))


def test_every_registry_is_sent_to_the_mirror() -> None:
    read = registries("https://mirror.local:5001")

    assert read == {
        "mirrors": {
            name: {"endpoint": ["https://mirror.local:5001"]}
            for name in (*KNOWN_UPSTREAMS, "mirror.local:5001", "*")
        }
    }


def test_the_mirrors_ca_and_credentials_stand_under_its_host() -> None:
    read = registries("https://mirror.local:5001/", ca_file="/etc/skerry/ca.crt", login=LOGIN)

    assert read["configs"] == {
        "mirror.local:5001": {
            "auth": {"username": LOGIN.username, "password": LOGIN.password},
            "tls": {"ca_file": "/etc/skerry/ca.crt"},
        }
    }


def test_a_plain_mirror_has_no_ca() -> None:
    assert "configs" not in registries("http://10.0.0.7:5001", ca_file="/etc/skerry/ca.crt")


def test_upstreams_are_named_once_and_the_wildcard_comes_last() -> None:
    read = registries(
        "https://[fd00::1]:5001", upstreams=["quay.io", "*", "a.io", "quay.io", "[fd00::1]:5001"]
    )

    assert list(read["mirrors"]) == ["a.io", "quay.io", "[fd00::1]:5001", "*"]


def test_the_file_has_no_aliases_that_people_would_stumble_over() -> None:
    assert "&" not in render_registries_yaml("https://mirror.local")


def test_a_password_is_not_shown_by_accident() -> None:
    assert LOGIN.password not in repr(LOGIN)
    assert "floor" in repr(LOGIN)


def test_containerd_is_sent_to_the_mirror_and_nowhere_else() -> None:
    ca_file = '/etc/"floor" \\ \x7f ü.crt'

    read = tomllib.loads(render_hosts_toml("https://mirror.local:5001", ca_file=ca_file))

    assert read == {
        "server": "https://mirror.local:5001",
        "capabilities": ["pull", "resolve"],
        "ca": ca_file,
        "host": {},
    }


def test_containerd_shows_who_it_is() -> None:
    read = tomllib.loads(render_hosts_toml("http://mirror.local", ca_file="/ca", login=Login("ü", "b:c")))

    assert read["header"] == {"authorization": "Basic w7w6Yjpj"}
    assert "ca" not in read


def test_a_folder_for_every_registry_holds_the_ca_too() -> None:
    files = render_certs_d("https://mirror.local:5001", ca="PEM", login=LOGIN)

    assert list(files) == ["_default/hosts.toml", "_default/ca.crt"]
    assert files["_default/ca.crt"] == "PEM"
    assert tomllib.loads(files["_default/hosts.toml"])["ca"] == "ca.crt"


def test_folders_have_the_names_that_containerd_looks_for() -> None:
    upstreams = ["quay.io", "box.local:5000", "registry-1.docker.io:443", "docker.io", "localhost:5000"]

    files = render_certs_d("http://mirror.local:5001", upstreams=upstreams, ca="of no use without TLS")

    folders = ["box.local_5000_", "docker.io", "localhost_5000_", "quay.io"]
    assert list(files) == [f"{folder}/hosts.toml" for folder in folders]


@pytest.mark.parametrize("upstream", ["", "../etc", "quay.io/org", "_default", "a b"])
def test_a_folder_is_only_named_after_a_registry(upstream: str) -> None:
    with pytest.raises(RequestInvalid):
        render_certs_d("http://mirror.local", upstreams=[upstream])


@pytest.mark.parametrize(
    "mirror_url",
    [
        "",
        "mirror.local:5001",
        "ftp://mirror.local",
        "https://",
        "https://:5001",
        "https://mirror.local:",
        "https://mirror.local:99999",
        "https://mirror.local:port",
        "https://mirror.local/v2",
        "https://mirror.local?x=1",
        "https://mirror.local#x",
        "https://user:secret@mirror.local",
        "https://[fd00::1",
    ],
)
def test_what_is_not_a_mirrors_address_is_refused(mirror_url: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        render_registries_yaml(mirror_url)
    with pytest.raises(RequestInvalid):
        render_hosts_toml(mirror_url)

    assert "secret" not in str(refused.value)
