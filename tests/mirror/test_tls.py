"""The same API inside TLS: whole blobs, parts of them, clients that leave, clients that speak plain HTTP."""

import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.errors import SettingInvalid
from mirror.limits import Patience
from mirror.oci import digest_of
from mirror.tls import load_tls
from tests.mirror.certificates import Certificate, make_certificate
from tests.mirror.running import RunningMirror, wait_until
from tests.mirror.serving import ServingMirror

BIG = os.urandom(5 * 1024 * 1024 + 17)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "pki")


@pytest.fixture
def tls_mirror(tmp_path: Path, certificate: Certificate) -> Iterator[RunningMirror]:
    with RunningMirror(tmp_path / "root", tls=certificate.context) as running:
        yield running


def connect(address: str, certificate: Certificate) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=certificate.certificate)
    return http.client.HTTPSConnection(address, context=context, timeout=30)


def test_a_blob_goes_in_and_comes_back(tls_mirror: RunningMirror, certificate: Certificate) -> None:
    connection = connect(tls_mirror.address, certificate)
    connection.request("POST", f"/v2/a/blobs/uploads/?digest={digest_of(BIG)}", BIG)
    response = connection.getresponse()
    location = response.headers["Location"]
    assert (response.status, response.read()) == (201, b"")

    for part, wanted in (({}, BIG), ({"Range": "bytes=1000000-"}, BIG[1_000_000:])):
        connection.request("GET", location, headers=part)
        assert connection.getresponse().read() == wanted
    connection.close()


def test_a_client_that_leaves_disturbs_nobody(tls_mirror: RunningMirror, certificate: Certificate) -> None:
    upload = tls_mirror.registry.open_upload("a")
    upload.write(BIG)
    digest = upload.commit(digest_of(BIG))
    for _ in range(3):
        connection = connect(tls_mirror.address, certificate)
        connection.request("GET", f"/v2/a/blobs/{digest}")
        connection.sock.recv(100)
        connection.sock.close()

    connection = connect(tls_mirror.address, certificate)
    connection.request("GET", f"/v2/a/blobs/{digest}")
    assert connection.getresponse().read() == BIG
    connection.close()


def test_plain_http_on_the_tls_port_is_refused_quietly(
    tls_mirror: RunningMirror, certificate: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", tls_mirror.port), timeout=10) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            received = sock.recv(1000)
        except ConnectionResetError:
            received = b""

    assert not received.startswith(b"HTTP/1.1 200")
    assert [record.levelname for record in caplog.records if record.levelno >= 40] == []
    connection = connect(tls_mirror.address, certificate)
    connection.request("GET", "/v2/")
    assert connection.getresponse().read() == b"{}"
    connection.close()


def stored(mirror: RunningMirror, content: bytes) -> str:
    upload = mirror.registry.open_upload("a")
    upload.write(content)
    return f"/v2/a/blobs/{upload.commit(digest_of(content))}"


def test_a_request_that_comes_while_a_blob_is_sent_is_answered_after_it(
    tls_mirror: RunningMirror, certificate: Certificate
) -> None:
    request = f"GET {stored(tls_mirror, BIG)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    context = ssl.create_default_context(cafile=certificate.certificate)
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", tls_mirror.port), timeout=20), server_hostname="localhost"
    ) as sock:
        sock.sendall(request)
        received = bytearray(sock.recv(1000))
        sock.sendall(request + b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        while data := sock.recv(1 << 20):
            received += data

    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.count(BIG) == 2
    assert received.endswith(b"{}")


def test_more_slow_clients_than_threads_do_not_stop_a_quick_one(
    tls_mirror: RunningMirror, certificate: Certificate
) -> None:
    path = stored(tls_mirror, BIG * 4)
    slow = [connect(tls_mirror.address, certificate) for _ in range(12)]
    for connection in slow:
        connection.request("GET", path)
        connection.sock.recv(100)

    quick = connect(tls_mirror.address, certificate)
    quick.request("GET", path)
    assert quick.getresponse().read() == BIG * 4
    for connection in (*slow, quick):
        connection.close()


def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path, certificate: Certificate) -> None:
    patience = Patience(in_reading=0.3)
    with RunningMirror(tmp_path / "root", tls=certificate.context, patience=patience) as mirror:
        path = stored(mirror, BIG * 4)
        connection = connect(mirror.address, certificate)
        connection.request("GET", path)

        wait_until(lambda: mirror.connections == 1)
        wait_until(lambda: mirror.connections == 0)
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello", b"\x00" * 1000])
def test_a_handshake_that_comes_to_nothing_disturbs_nobody(
    tls_mirror: RunningMirror, certificate: Certificate, sent: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", tls_mirror.port), timeout=10) as sock:
        sock.sendall(sent)

    connection = connect(tls_mirror.address, certificate)
    connection.request("GET", "/v2/")
    assert connection.getresponse().read() == b"{}"
    connection.close()


def test_the_end_of_an_answer_is_told_from_a_broken_connection(
    tls_mirror: RunningMirror, certificate: Certificate
) -> None:
    context = ssl.create_default_context(cafile=certificate.certificate)
    with context.wrap_socket(
        socket.create_connection(("127.0.0.1", tls_mirror.port), timeout=20),
        server_hostname="localhost",
        suppress_ragged_eofs=False,
    ) as sock:
        sock.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while data := sock.recv(1000):
            received += data

    assert received.endswith(b"{}")


def test_a_slow_client_gets_every_byte_in_its_place(
    tls_mirror: RunningMirror, certificate: Certificate
) -> None:
    content = b"".join(os.urandom(1024) + BIG for _ in range(4))
    connection = connect(tls_mirror.address, certificate)
    connection.request("GET", stored(tls_mirror, content))
    response = connection.getresponse()

    received = bytearray()
    while data := response.read(3 * 1024 * 1024):
        received += data
        time.sleep(0.06)  # longer than a burst is patient

    assert received == content
    connection.close()


@pytest.mark.parametrize(
    ("version", "suite"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (ssl.TLSVersion.TLSv1_3, "TLS_AES_128_GCM_SHA256"),
    ],
    ids=["1.2", "1.3"],
)
def test_both_ends_spend_little_on_encryption(
    tls_mirror: RunningMirror, certificate: Certificate, version: ssl.TLSVersion, suite: str
) -> None:
    context = ssl.create_default_context(cafile=certificate.certificate)
    context.maximum_version = version
    connection = http.client.HTTPSConnection(tls_mirror.address, context=context, timeout=30)
    connection.request("GET", stored(tls_mirror, BIG))

    assert connection.getresponse().read() == BIG
    assert isinstance(connection.sock, ssl.SSLSocket)
    cipher = connection.sock.cipher()
    assert cipher is not None
    assert cipher[0] == suite
    connection.close()


def test_what_is_older_than_tls_1_2_is_refused(tls_mirror: RunningMirror, certificate: Certificate) -> None:
    context = ssl.create_default_context(cafile=certificate.certificate)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection(tls_mirror.address, context=context, timeout=30)

    with pytest.raises(ssl.SSLError):
        connection.request("GET", "/v2/")


def test_a_key_that_is_not_the_certificates_is_said_so(tmp_path: Path, certificate: Certificate) -> None:
    other = make_certificate(tmp_path / "other")
    with pytest.raises(SettingInvalid, match=r"ca\.crt with the key .*other/server\.key cannot be used"):
        load_tls(certificate.certificate, other.key)

    certificate.certificate.write_text("no certificate")
    with pytest.raises(SettingInvalid, match="cannot be used"):
        load_tls(certificate.certificate, certificate.key)
    with pytest.raises(FileNotFoundError):
        load_tls(certificate.certificate, tmp_path / "none")


def test_a_chain_and_its_key_may_be_one_file(certificate: Certificate) -> None:
    both = certificate.key.read_bytes() + certificate.certificate.read_bytes()
    certificate.certificate.write_bytes(both)

    load_tls(certificate.certificate)


def test_the_program_serves_tls(tmp_path: Path, certificate: Certificate) -> None:
    options = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with ServingMirror(tmp_path / "root", *options) as mirror:
        connection = connect(mirror.address, certificate)
        connection.request("GET", "/v2/")
        assert connection.getresponse().read() == b"{}"
        connection.close()

        assert mirror.stop() == (0, "")
