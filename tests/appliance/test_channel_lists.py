"""Lists from the mirror and from a web server: what is read, and what is refused in words."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.channel_lists import ChannelLists
from appliance.controllers.settings import ListUnreadable
from appliance.controllers.version_list import MAX_LIST_BYTES, ListAddress
from appliance.credentials import Authority
from mirror.registry import Registry
from tests.appliance.mirrored import put_artifact, put_image

MIRROR = "10.0.0.1:5000"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(tmp_path / "mirror")
    yield opened
    opened.close()


class Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"/list": 200, "/large": 200, "/slow": 200, "/drip": 200, "/away": 302}.get(self.path, 404)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/list")
        self.end_headers()
        if self.path == "/large":
            self.wfile.write(b" " * (MAX_LIST_BYTES + 1))
        elif self.path == "/slow":
            for _ in range(200):
                self.wfile.write(b" " * 65536)
                time.sleep(0.02)
        elif self.path == "/drip":
            with suppress(OSError):
                while True:
                    self.wfile.write(b" ")
                    time.sleep(0.01)
        else:
            self.wfile.write(b"[]")

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_custom_channels_image_is_read_without_running_it(registry: Registry) -> None:
    config = {"Entrypoint": ["busybox", "cp", "/lists/edge.json", "/data/output"]}
    put_image(registry, "channel", [{"/lists/edge.json": b'["edge"]'}], config=config)

    assert ChannelLists(registry, MIRROR).read(ListAddress("channel:1", is_image=True)) == b'["edge"]'


@pytest.mark.parametrize("title", ["", "channel.json"])
def test_an_artifact_of_the_mirror_is_a_json_channels_list(registry: Registry, title: str) -> None:
    put_artifact(registry, "lists/edge", b"[]", "application/json", title=title)

    assert ChannelLists(registry, MIRROR).read(ListAddress("oci://lists/edge:1")) == b"[]"


def test_an_image_without_a_list_says_where_it_was_looked_for(registry: Registry) -> None:
    put_image(registry, "os", [{"/etc/os-release": b""}])

    with pytest.raises(ListUnreadable, match=r"no /channel\.json and no /data/output in it"):
        ChannelLists(registry, MIRROR).read(ListAddress("os:1", is_image=True))


def test_a_list_is_read_from_the_url_that_was_configured(registry: Registry, site: str) -> None:
    assert ChannelLists(registry, MIRROR).read(ListAddress(f"{site}/list")) == b"[]"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("/none", "answered 404"), ("/away", "answered 302"), ("/large", "is larger than the")],
    ids=["none", "away", "large"],
)
def test_an_answer_that_is_no_list_is_refused(
    registry: Registry, site: str, path: str, sentence: str
) -> None:
    with pytest.raises(ListUnreadable, match=sentence):
        ChannelLists(registry, MIRROR).read(ListAddress(f"{site}{path}"))


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_a_server_that_only_drips_is_given_up(registry: Registry, site: str, path: str) -> None:
    with pytest.raises(ListUnreadable, match=r"longer than 0\.1 s"):
        ChannelLists(registry, MIRROR).read(ListAddress(f"{site}{path}", timeout=timedelta(seconds=0.1)))


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://10.0.0.9/list", "http://127.0.0.1:1/list"])
def test_what_cannot_be_opened_is_refused(registry: Registry, uri: str) -> None:
    with pytest.raises(ListUnreadable, match=uri):
        ChannelLists(registry, MIRROR).read(ListAddress(uri))


def test_a_site_with_a_certificate_of_ours_is_trusted(registry: Registry, tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path / "pki")
    pair = authority.keep_server_certificate(tmp_path / "pki", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = ListAddress(f"https://127.0.0.1:{server.server_address[1]}/list")
    try:
        trusted = ChannelLists(registry, MIRROR, ca_pem=authority.certificate_pem).read(address)
        with pytest.raises(ListUnreadable, match="CERTIFICATE_VERIFY_FAILED"):
            ChannelLists(registry, MIRROR).read(address)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert trusted == b"[]"
