"""`skerry mirror registries-yaml` and `hosts-toml`: what nodes are given, and what is refused."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.appliance.cli.typing_in import Terminal
from tests.mirror.certificates import make_certificate


@pytest.fixture
def password(tmp_path: Path) -> list[str]:
    (tmp_path / "password").write_text("secret\n")
    return ["--username", "me", "--password-file", str(tmp_path / "password")]


def test_a_k3s_node_is_told_where_the_mirror_is(
    lonely: Terminal, tmp_path: Path, password: list[str]
) -> None:
    plain = lonely.bare("mirror", "registries-yaml", "https://box:5000", "--ca-file", "/etc/ca.crt")
    private = lonely.bare("mirror", "registries-yaml", "https://box:5000", "--upstream", "quay.io", *password)

    assert "docker.io" in plain.out
    assert "ca_file: /etc/ca.crt" in plain.out
    assert "password: secret" in private.out
    assert "docker.io" not in private.out


def test_a_containerd_is_given_a_folder_with_the_ca(lonely: Terminal, tmp_path: Path) -> None:
    ca = make_certificate(tmp_path / "pki").certificate
    certs_d = tmp_path / "certs.d"

    written = lonely.bare(
        *("mirror", "hosts-toml", "https://box:5000", "--output", str(certs_d), "--ca", str(ca)),
        *("--format", "json"),
    )

    hosts = certs_d / "_default" / "hosts.toml"
    assert json.loads(written.out)["files"] == [str(hosts), str(certs_d / "_default" / "ca.crt")]
    assert tomllib.loads(hosts.read_text()) == {
        "server": "https://box:5000",
        "capabilities": ["pull", "resolve"],
        "ca": "ca.crt",
        "host": {},
    }
    assert (certs_d / "_default" / "ca.crt").read_bytes() == ca.read_bytes()


def test_a_password_is_in_the_files_and_they_are_private(
    lonely: Terminal, tmp_path: Path, password: list[str]
) -> None:
    certs_d = tmp_path / "certs.d"
    upstreams = ["--upstream", "quay.io", "--upstream", "docker.io"]

    written = lonely.bare(
        "mirror", "hosts-toml", "http://box:5000", "--output", str(certs_d), *upstreams, *password
    )

    files = [certs_d / name / "hosts.toml" for name in ("docker.io", "quay.io")]
    assert written.out.split() == [str(path) for path in files]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert all("Basic bWU6c2VjcmV0" in path.read_text() for path in files)


@pytest.mark.parametrize("url", ["box:5000", "https://box:5000/path", "ftp://box", ""])
def test_an_address_that_is_no_mirrors_is_refused(lonely: Terminal, tmp_path: Path, url: str) -> None:
    assert lonely.bare("mirror", "registries-yaml", url).code == 2
    assert lonely.bare("mirror", "hosts-toml", url, "--output", str(tmp_path / "out")).code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", "text", "key", "large"])
def test_only_certificates_are_given_to_nodes(lonely: Terminal, tmp_path: Path, content: str) -> None:
    made = make_certificate(tmp_path / "pki")
    whole = made.certificate.read_text()
    texts = {"key": whole + made.key.read_text(), "large": whole * 1000}
    (tmp_path / "ca").write_text(texts.get(content, content))

    refused = lonely.bare(
        *("mirror", "hosts-toml", "https://box", "--output", str(tmp_path / "out")),
        *("--ca", str(tmp_path / "ca")),
    )

    assert refused.code == 2
    assert "certificates alone" in refused.err
    assert not (tmp_path / "out").exists()
