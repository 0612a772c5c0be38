"""Other registries, played by a mirror of our own and by servers that misbehave."""

import base64
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mirror.copying import LocalRepository, copy_image
from mirror.errors import DigestInvalid, ManifestUnknown, NameInvalid, TooLarge, TransferFailed
from mirror.layout import Layout
from mirror.oci import OCI_MANIFEST, Descriptor, digest_of
from mirror.registry import Registry
from mirror.transfer import ATTEMPTS, Endpoint, RemoteRepository
from tests.mirror.certificates import make_certificate
from tests.mirror.running import RunningMirror, image_manifest

LAYER = bytes(range(256)) * 20_000


@contextmanager
def remote(address: str, repository: str = "a", **options: Any) -> Iterator[RemoteRepository]:
    opened = RemoteRepository(Endpoint(address, **{"plain_http": True, **options}), repository)
    yield opened
    opened.close()


@contextmanager
def answering(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers every GET as it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_image_goes_from_registry_to_layout_to_registry(
    mirror: RunningMirror, registry: Registry, tmp_path: Path
) -> None:
    digest = mirror.push_image("a", "v1", payload=LAYER)
    layout = Layout(tmp_path / "layout")

    with remote(mirror.address) as source, remote(mirror.address, "b/c") as target:
        assert copy_image(source, layout, "v1", tag="here").digest == digest
        assert copy_image(layout, target, "here", tag="v2").digest == digest
    layout.close()

    assert mirror.ask("GET", "/v2/b/c/manifests/v2").headers["Docker-Content-Digest"] == digest
    assert mirror.ask("GET", f"/v2/b/c/blobs/{digest_of(LAYER)}").body == LAYER


def test_an_image_goes_over_tls_with_the_authority_that_was_named(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path / "pki")
    with RunningMirror(tmp_path / "far", tls=certificate.context) as far:
        source = LocalRepository(far.registry, "a")
        layout = Layout(tmp_path / "layout")
        upload = far.registry.open_upload("a")
        upload.write(b"config")
        upload.commit(digest_of(b"config"))
        far.registry.put_manifest("a", image_manifest(b"config"), OCI_MANIFEST, reference="v1")

        trusting: dict[str, Any] = {"plain_http": False, "ca_file": certificate.certificate}
        with remote(far.address, **trusting) as trusted:
            copy_image(trusted, layout, "v1", tag="v1")
        with remote(far.address, plain_http=False) as untrusted, pytest.raises(TransferFailed):
            untrusted.read_manifest("v1")

        assert layout.read_manifest("v1") == source.read_manifest("v1")
        layout.close()


def test_what_the_other_registry_lacks_is_unknown(mirror: RunningMirror) -> None:
    with remote(mirror.address) as source, pytest.raises(ManifestUnknown, match="has no v1"):
        source.read_manifest("v1")


def test_a_registry_that_is_not_there_fails_at_once() -> None:
    with remote("127.0.0.1:1") as source, pytest.raises(TransferFailed) as failure:
        source.read_manifest("v1")
    assert failure.value.hint


def test_a_bad_repository_is_never_asked_for() -> None:
    with pytest.raises(NameInvalid):
        RemoteRepository(Endpoint("127.0.0.1:1", plain_http=True), "../etc")


def test_a_pull_that_breaks_is_taken_up_by_range(registry: Registry) -> None:
    asked: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        """Sends a part, then breaks off, every time but the last."""
        header = request.headers.get("Range", "")
        asked.append(header)
        offset = int(header.removeprefix("bytes=").removesuffix("-")) if header else 0
        request.send_response(206 if header else 200)
        request.send_header("Content-Length", str(len(LAYER) - offset))
        request.end_headers()
        request.wfile.write(LAYER[offset:] if len(asked) == 3 else LAYER[offset : offset + 2_000_000])

    with answering(answer) as address, remote(address) as source:
        blob = Descriptor(media_type="a/b", digest=digest_of(LAYER), size=len(LAYER))
        LocalRepository(registry, "a").put_blob(blob, source.read_blob(blob))

    assert registry.has_blob(digest_of(LAYER), "a")
    assert asked[0] == ""
    assert len(asked) == 3
    assert all(header.startswith("bytes=") for header in asked[1:])


def test_a_pull_that_breaks_again_and_again_is_given_up() -> None:
    asked: list[int] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(1)
        request.send_response(200)
        request.send_header("Content-Length", str(len(LAYER)))
        request.end_headers()

    with answering(answer) as address, remote(address) as source:
        blob = Descriptor(media_type="a/b", digest=digest_of(LAYER), size=len(LAYER))
        with pytest.raises(TransferFailed, match=f"{ATTEMPTS} times"):
            list(source.read_blob(blob))
    assert len(asked) == ATTEMPTS


def test_a_manifest_without_end_is_refused() -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b" " * 1024 * 1024)
        except OSError:
            pass

    with answering(answer) as address, remote(address) as source, pytest.raises(TooLarge):
        source.read_manifest("v1")


def test_another_manifest_than_was_asked_for_by_digest_is_refused(registry: Registry) -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        body = image_manifest(b"other")
        request.send_response(200)
        request.send_header("Content-Type", OCI_MANIFEST)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as address, remote(address) as source, pytest.raises(DigestInvalid):
        copy_image(source, LocalRepository(registry, "a"), digest_of(b"wanted"))


def test_the_words_of_a_refusal_are_passed_on() -> None:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(503)
        request.end_headers()
        request.wfile.write(b"down for maintenance")

    with (
        answering(answer) as address,
        remote(address) as source,
        pytest.raises(TransferFailed, match=r"503 .*down for maintenance"),
    ):
        source.read_manifest("v1")


def test_a_registry_that_wants_a_password_gets_it() -> None:
    wanted = "Basic " + base64.b64encode(b"user:word").decode()
    body = image_manifest(b"config")

    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        is_known = request.headers.get("Authorization") == wanted
        request.send_response(200 if is_known else 401)
        request.send_header("WWW-Authenticate", 'Basic realm="x"')
        request.send_header("Content-Type", OCI_MANIFEST)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    with answering(answer) as address:
        with remote(address, username="user", password="word") as source:
            assert source.read_manifest("v1").content == body
        with remote(address) as stranger, pytest.raises(TransferFailed):
            stranger.read_manifest("v1")


def test_a_password_is_not_shown() -> None:
    assert "word" not in repr(Endpoint("box:5000", username="user", password="word"))
