"""Who is let in, over a real socket: passwords, rules, read-only, too many requests, bad headers."""

import base64
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from mirror.access import DEFAULT_RULE, Policy, Rule
from mirror.guard import Guard
from mirror.htpasswd import PasswordFile
from mirror.oci import OCI_MANIFEST, digest_of
from mirror.rate import RateLimiter
from tests.mirror.running import RunningMirror, image_manifest
from tests.mirror.serving import ServingMirror

SECRET = digest_of(b"secret blob")
RULES = Policy(
    (Rule("private/**", pull=("alice",), push=("alice",), delete=()), Rule("open/**", push=("anyone",)))
)


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ALICE, BOB = basic("alice", "a-pass"), basic("bob", "b-pass")


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    hashes = {user: bcrypt.hashpw(f"{user[0]}-pass".encode(), bcrypt.gensalt(4)) for user in ("alice", "bob")}
    path.write_bytes(b"".join(user.encode() + b":" + hashed + b"\n" for user, hashed in hashes.items()))
    return path


@pytest.fixture
def guarded(tmp_path: Path, htpasswd: Path) -> Iterator[RunningMirror]:
    guard = Guard(passwords=PasswordFile(htpasswd), policy=Policy(otherwise=DEFAULT_RULE))
    with RunningMirror(tmp_path / "root", guard=guard) as running:
        yield running


@pytest.fixture
def ruled(tmp_path: Path, htpasswd: Path) -> Iterator[RunningMirror]:
    with RunningMirror(
        tmp_path / "root", guard=Guard(passwords=PasswordFile(htpasswd), policy=RULES)
    ) as running:
        yield running


def push(mirror: RunningMirror, repository: str, content: bytes, headers: dict[str, str]) -> int:
    path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(content)}"
    return mirror.ask("POST", path, content, headers=headers).status


# passwords


def test_anyone_reads_and_only_users_write(guarded: RunningMirror) -> None:
    assert push(guarded, "a", b"x", ALICE) == 201
    digest = digest_of(b"x")

    assert guarded.ask("GET", f"/v2/a/blobs/{digest}").body == b"x"
    assert guarded.ask("GET", "/v2/_catalog").status == 200
    for method, path in [
        ("POST", "/v2/a/blobs/uploads/"),
        ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32),
        ("PUT", "/v2/a/blobs/uploads/" + "0" * 32),
        ("GET", "/v2/a/blobs/uploads/" + "0" * 32),
        ("DELETE", "/v2/a/blobs/uploads/" + "0" * 32),
        ("PUT", "/v2/a/manifests/v1"),
        ("DELETE", "/v2/a/manifests/v1"),
        ("DELETE", f"/v2/a/blobs/{digest}"),
    ]:
        refused = guarded.ask(method, path)
        assert (refused.status, refused.code) == (401, "UNAUTHORIZED"), (method, path)
        assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert guarded.ask("DELETE", f"/v2/a/blobs/{digest}", headers=BOB).status == 202


@pytest.mark.parametrize(
    "headers",
    [
        basic("alice", "wrong"),
        basic("nobody", "a-pass"),
        {"Authorization": "Basic ???"},
        {"Authorization": "Bearer abc"},
        {"Authorization": "Basic " + "QUFB" * 2000},
        {"Authorization": ""},
    ],
)
def test_wrong_credentials_are_refused_even_where_none_are_needed(
    guarded: RunningMirror, headers: dict[str, str]
) -> None:
    for path in ("/v2/", "/v2/_catalog"):
        refused = guarded.ask("GET", path, headers=headers)

        assert (refused.status, refused.code) == (401, "UNAUTHORIZED")
        assert "WWW-Authenticate" in refused.headers


def test_a_header_over_the_limit_is_refused_by_its_length(guarded: RunningMirror) -> None:
    refused = guarded.ask("GET", "/v2/", headers={"Authorization": "Basic " + "QUFB" * 10_000})

    assert refused.status == 400


def test_a_ping_tells_that_one_can_sign_in_and_whether_it_worked(guarded: RunningMirror) -> None:
    anonymous, signed_in = guarded.ask("GET", "/v2/"), guarded.ask("GET", "/v2/", headers=ALICE)

    assert (anonymous.status, signed_in.status) == (200, 200)
    assert "WWW-Authenticate" in anonymous.headers
    assert "WWW-Authenticate" not in signed_in.headers


def test_empty_credentials_are_nobodys(guarded: RunningMirror) -> None:
    assert guarded.ask("GET", "/v2/_catalog", headers=basic("", "")).status == 200
    assert push(guarded, "a", b"x", basic("", "")) == 401


def test_a_refused_push_is_answered_before_its_body(guarded: RunningMirror) -> None:
    request = (
        f"POST /v2/a/blobs/uploads/?digest={SECRET} HTTP/1.1\r\nHost: x\r\n"
        "Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=10) as sock:
        sock.sendall(request.encode())

        assert sock.recv(100).startswith(b"HTTP/1.1 401 ")


def test_oversight_needs_no_credentials(guarded: RunningMirror) -> None:
    assert guarded.ask("GET", "/metrics").status == 200
    assert guarded.ask("GET", "/healthz").status == 200


def test_without_passwords_a_header_is_nobodys_business(mirror: RunningMirror) -> None:
    assert mirror.ask("GET", "/v2/", headers=basic("whoever", "x")).status == 200
    assert push(mirror, "a", b"x", {"Authorization": "garbage"}) == 201


# rules


def test_rules_hold_for_each_repository(ruled: RunningMirror) -> None:
    assert push(ruled, "private/app", b"secret blob", ALICE) == 201
    assert push(ruled, "private/app", b"secret blob", BOB) == 403
    assert push(ruled, "open/app", b"x", {}) == 201

    path = f"/v2/private/app/blobs/{SECRET}"
    assert ruled.ask("GET", path, headers=ALICE).body == b"secret blob"
    denied = ruled.ask("GET", path, headers=BOB)
    assert (denied.status, denied.code) == (403, "DENIED")
    assert ruled.ask("HEAD", path).status == 401
    assert ruled.ask("GET", "/v2/private/app/tags/list").status == 401
    assert ruled.ask("GET", f"/v2/private/app/referrers/{SECRET}").status == 401
    assert ruled.ask("DELETE", path, headers=ALICE).status == 403


def test_the_list_of_repositories_is_for_those_who_may_see_all(ruled: RunningMirror) -> None:
    assert ruled.ask("GET", "/v2/_catalog").status == 401
    assert ruled.ask("GET", "/v2/_catalog", headers=BOB).status == 403
    assert ruled.ask("GET", "/v2/_catalog", headers=ALICE).status == 200


@pytest.mark.parametrize("source", ["&from=private/app", ""])
def test_a_hidden_blob_cannot_be_mounted_by_those_who_may_not_pull_it(
    ruled: RunningMirror, source: str
) -> None:
    push(ruled, "private/app", b"secret blob", ALICE)
    path = f"/v2/bobs/blobs/uploads/?mount={SECRET}{source}"

    assert ruled.ask("POST", path, headers=BOB).status == 202
    assert ruled.ask("GET", f"/v2/bobs/blobs/{SECRET}").status == 404
    assert ruled.ask("POST", path, headers=ALICE).status == 201


def test_another_registrys_name_is_no_way_around_the_rules(tmp_path: Path) -> None:
    guard = Guard(policy=Policy((Rule("docker.io/**", pull=(), push=("anyone",)),)))
    with RunningMirror(tmp_path / "root", guard=guard) as mirror:
        assert push(mirror, "docker.io/library/app", b"secret blob", {}) == 201

        assert mirror.ask("GET", f"/v2/docker.io/library/app/blobs/{SECRET}").status == 403
        assert mirror.ask("GET", f"/v2/library/app/blobs/{SECRET}?ns=docker.io").status == 403
        assert mirror.ask("GET", f"/v2/library/app/blobs/{SECRET}?ns=index.docker.io").status == 403
        assert mirror.ask("GET", f"/v2/library/app/blobs/{SECRET}?ns=%00").status == 400


@pytest.mark.parametrize(
    "path", ["/v2/private%2Fapp/blobs/", "/v2/x/../private/app/blobs/", "//v2/private/app/blobs/"]
)
def test_a_path_that_is_written_otherwise_is_no_way_around_the_rules(ruled: RunningMirror, path: str) -> None:
    push(ruled, "private/app", b"secret blob", ALICE)

    assert ruled.ask("GET", path + SECRET).status in (400, 401, 404)


# read-only


def test_a_read_only_mirror_serves_and_takes_nothing(tmp_path: Path) -> None:
    with RunningMirror(tmp_path / "root") as mirror:
        mirror.push_image("a", "v1")

    with RunningMirror(tmp_path / "root", guard=Guard(is_read_only=True)) as mirror:
        assert mirror.ask("GET", "/v2/a/manifests/v1").status == 200
        for method, path in [
            ("POST", "/v2/a/blobs/uploads/"),
            ("PUT", "/v2/a/manifests/v2"),
            ("DELETE", "/v2/a/manifests/v1"),
        ]:
            refused = mirror.ask(method, path, headers={"Content-Type": OCI_MANIFEST})
            assert (refused.status, refused.code) == (405, "UNSUPPORTED")
            assert "read-only" in refused.json["errors"][0]["message"]
            assert refused.headers["Allow"] == "GET, HEAD"
        assert mirror.ask("GET", "/v2/a/tags/list").json["tags"] == ["v1"]


# too many


def test_too_many_requests_are_told_when_to_come_back(tmp_path: Path) -> None:
    guard = Guard(limiter=RateLimiter(0.4, spares_loopback=False))
    with RunningMirror(tmp_path / "root", guard=guard) as mirror:
        answers = [mirror.ask("GET", "/v2/") for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 200, 429, 429]
    assert answers[-1].code == "TOOMANYREQUESTS"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 3


# the program


def test_the_options_reach_the_program(tmp_path: Path, htpasswd: Path) -> None:
    rules = tmp_path / "access.toml"
    rules.write_text('[[rule]]\nrepository = "private/**"\npull = ["alice"]\n')
    options = ("--htpasswd", str(htpasswd), "--access", str(rules), "--rate-limit", "0")
    with ServingMirror(tmp_path / "root", *options) as mirror:
        assert mirror.ask("POST", "/v2/a/blobs/uploads/").status == 401
        assert mirror.ask("POST", "/v2/a/blobs/uploads/", headers=BOB).status == 202
        assert mirror.ask("GET", "/v2/private/x/tags/list", headers=BOB).status == 403

    with ServingMirror(tmp_path / "root", "--read-only", "--rate-limit", "1") as mirror:
        statuses = [mirror.ask("POST", "/v2/a/blobs/uploads/").status for _ in range(8)]
        assert statuses[:5] == [405] * 5
        assert 429 in statuses


@pytest.mark.parametrize(
    ("option", "content", "said"),
    [
        ("--htpasswd", "alice:plain\n", "line 1"),
        ("--access", "rules", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_stops_the_start(tmp_path: Path, option: str, content: str, said: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)

    with pytest.raises(AssertionError, match=said):
        ServingMirror(tmp_path / "root", option, str(path))


@pytest.mark.interop
def test_skopeo_signs_in_to_push_and_needs_not_to_pull(guarded: RunningMirror, tmp_path: Path) -> None:
    for content in (b"{}", b"layer"):
        assert push(guarded, "src", content, ALICE) == 201
    manifest = image_manifest(b"{}", b"layer")
    put = guarded.ask(
        "PUT", "/v2/src/manifests/v1", manifest, headers={**ALICE, "Content-Type": OCI_MANIFEST}
    )
    assert put.status == 201
    source = f"docker://127.0.0.1:{guarded.port}/src:v1"
    copy = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"]

    pulled = subprocess.run([*copy, source, f"dir:{tmp_path / 'out'}"], check=False)
    target = f"docker://127.0.0.1:{guarded.port}/dst:v1"
    refused = subprocess.run([*copy, source, target], check=False, capture_output=True)
    pushed = subprocess.run([*copy, "--dest-creds", "alice:a-pass", source, target], check=False)

    assert (pulled.returncode, pushed.returncode) == (0, 0)
    assert refused.returncode != 0
    assert guarded.ask("GET", "/v2/dst/manifests/v1").body == manifest
