"""`skerry kubeconfig`, `user list` and `user revoke`, and what each credential opens."""

import base64
import ssl
import time
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.cli.kubeconfig import parse_age
from appliance.resources.core import EVENT
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.fleet import ask
from tests.appliance.running import PATIENCE, Appliance

SECRETS = f"/api/v1/namespaces/{DEFAULT_NAMESPACE}/secrets"
MACHINES = f"/apis/elemental.cattle.io/v1beta1/namespaces/{DEFAULT_NAMESPACE}/machineinventories"


def user_of(text: str) -> dict[str, Any]:
    user: dict[str, Any] = yaml.safe_load(text)["users"][0]["user"]
    return user


def get_with_certificate(appliance: Appliance, user: dict[str, Any], path: str, folder: Path) -> int:
    """The status that a client certificate gets."""
    certificate, key = folder / "client.crt", folder / "client.key"
    certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
    key.write_bytes(base64.b64decode(user["client-key-data"]))
    context = ssl.create_default_context(cafile=appliance.ca_file)
    context.load_cert_chain(certificate, key)
    parts = urlsplit(appliance.url)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_administrators_token_is_what_it_holds_unless_a_role_is_said(
    skerry: Terminal, appliance: Appliance
) -> None:
    config = yaml.safe_load(skerry("kubeconfig").out)

    assert config["users"][0]["user"] == {"token": appliance.token}
    assert config["clusters"][0]["cluster"]["server"] == appliance.url
    ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"])
    assert ca == appliance.ca_file.read_bytes()


@pytest.mark.parametrize(("role", "statuses"), [("viewer", (200, 403)), ("operator", (200, 200))])
def test_a_token_opens_what_its_role_opens(
    skerry: Terminal, appliance: Appliance, role: str, statuses: tuple[int, int]
) -> None:
    printed = skerry("kubeconfig", "--role", role, "--user", f"kube-{role}")
    bearer = f"Bearer {user_of(printed.out)['token']}"

    assert f"kube-{role} is {role} until" in printed.err
    seen = tuple(ask(appliance, "GET", path, authorization=bearer)[0] for path in (MACHINES, SECRETS))
    assert seen == statuses
    assert ask(appliance, "GET", "/skerry/v1/hosts", authorization=bearer)[0] == 200
    refused = ["/skerry/v1/access", "/skerry/v1/users"]
    if role == "viewer":
        refused.append("/skerry/v1/watch?kinds=hosts,secrets")
    assert {ask(appliance, "GET", path, authorization=bearer)[0] for path in refused} == {403}
    approval = f"/skerry/v1/namespaces/{DEFAULT_NAMESPACE}/hosts/none/approve"
    answer = ask(appliance, "POST", approval, authorization=bearer, body=b"{}")[0]
    assert answer == (404 if role == "operator" else 403)


def test_revoking_ends_a_users_token_and_certificate_at_once_with_an_event(
    skerry: Terminal, appliance: Appliance, tmp_path: Path
) -> None:
    token = user_of(skerry("kubeconfig", "--role", "viewer", "--user", "leaver").out)["token"]
    certified = user_of(skerry("kubeconfig", "--role", "viewer", "--user", "leaver", "--mtls").out)
    assert ask(appliance, "GET", MACHINES, authorization=f"Bearer {token}")[0] == 200
    assert get_with_certificate(appliance, certified, MACHINES, tmp_path) == 200
    assert get_with_certificate(appliance, certified, SECRETS, tmp_path) == 403

    revoked = skerry("user", "revoke", "leaver")

    assert (revoked.code, revoked.out.count("user/leaver")) == (0, 2)
    assert ask(appliance, "GET", MACHINES, authorization=f"Bearer {token}")[0] == 401
    assert get_with_certificate(appliance, certified, MACHINES, tmp_path) == 401
    events = appliance.client().list_objects(EVENT, DEFAULT_NAMESPACE)
    told = [each["reason"] for each in events if each["involvedObject"].get("name") == "leaver"]
    assert sorted(told) == ["CredentialIssued", "CredentialIssued", "CredentialsRevoked"]
    assert skerry("user", "revoke", "leaver").code == 1
    assert "revoked" in skerry("user", "list").out


@pytest.mark.parametrize("path", [f"{MACHINES}?watch=1", "/skerry/v1/watch?kinds=hosts"])
def test_a_watch_ends_when_its_token_is_revoked(skerry: Terminal, appliance: Appliance, path: str) -> None:
    user = f"watcher-{len(path)}"
    token = user_of(skerry("kubeconfig", "--role", "viewer", "--user", user).out)["token"]
    parts = urlsplit(appliance.url)
    context = ssl.create_default_context(cafile=appliance.ca_file)
    connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        assert response.status == 200

        skerry("user", "revoke", user)

        deadline = time.monotonic() + PATIENCE
        while response.read1(65536):
            assert time.monotonic() < deadline, "the stream goes on"
    finally:
        connection.close()


def test_the_file_is_for_its_owners_eyes_only(skerry: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "viewer.kubeconfig"

    outcome = skerry("kubeconfig", "--role", "viewer", "--user", "filed", "--output", str(path))

    assert (outcome.code, outcome.out) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "token" in user_of(path.read_text())
    assert "filed" in skerry("user", "list", "-o", "name").out


def test_an_administrator_may_ask_as_somebody_else_and_others_may_not(
    skerry: Terminal, appliance: Appliance
) -> None:
    parts = urlsplit(appliance.url)
    viewer = user_of(skerry("kubeconfig", "--role", "viewer", "--user", "pretender").out)["token"]

    def status(token: str, path: str) -> int:
        context = ssl.create_default_context(cafile=appliance.ca_file)
        connection = HTTPSConnection(parts.hostname or "", parts.port, context=context, timeout=PATIENCE)
        headers = {
            "Authorization": f"Bearer {token}",
            "Impersonate-User": "somebody",
            "Impersonate-Group": "viewer",
        }
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    assert [status(appliance.token, path) for path in (MACHINES, SECRETS)] == [200, 403]
    assert status(viewer, MACHINES) == 403


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--user", "a"], 2),
        (["--mtls"], 2),
        (["--role", "viewer", "--expires", "soon"], 2),
        (["--role", "viewer", "--expires", "0d"], 2),
        (["--role", "king"], 1),
        (["--role", "viewer", "--user", "system:admin"], 1),
        (["--role", "viewer", "--expires", "99y"], 1),
    ],
)
def test_what_cannot_be_is_refused(skerry: Terminal, arguments: list[str], code: int) -> None:
    outcome = skerry("kubeconfig", *arguments)

    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.err


def test_ages_are_read_in_their_units() -> None:
    assert [parse_age(text) for text in ("90m", "12h", "30d", "1y")] == [5400, 43200, 2592000, 31536000]
