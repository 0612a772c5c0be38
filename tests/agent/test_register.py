"""The host's side of registering: against the real handshake in memory, and over real sockets."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from agent.errors import AgentError, ConfigInvalid, Denied, Unreachable
from agent.facts import Facts
from agent.host import Host
from agent.identity import Identity, PlainIdentity, TpmIdentity
from agent.protocol.approval import render_refused, render_waiting
from agent.protocol.client_config import Config, Elemental, Install, Registration, render_config
from agent.protocol.messages import MAX_MESSAGE_BYTES, Challenge, MessageType
from agent.register import (
    Outcome,
    Refused,
    Registered,
    WaitingForApproval,
    authorize,
    converse,
    read_reply,
    register,
    register_host,
)
from agent.registration_state import RegistrationState, load_state, write_state
from agent.tpm.primes import derive_rsa_key
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.hosts.handshake import Policy, Registrant
from appliance.hosts.policy import RegistrationPolicy
from tests.agent.machines import make_machine
from tests.simulators.appliance_end import ApplianceEnd

CONFIG = Config(elemental=Elemental(install=Install(device="/dev/sda")), cloud_config={"a": 1})
FACTS = Facts(
    smbios={"System Information": {"UUID": "u"}},
    system_data={"Runtime": {"Hostname": "vm"}},
    inventory={"runtime": {"hostname": "vm"}},
)
ATTESTATION = attest_key(derive_rsa_key(b"attestation"))
TPM = SoftwareTpm(derive_rsa_key(b"endorsement"), attestation=ATTESTATION)
IDENTITY = TpmIdentity(TPM)
MAC = PlainIdentity("02:fc:00:00:00:01", "mac")
EITHER = Policy(RegistrationPolicy(auth="mac", enforces_auth=False))  # a TPM may come, too


def admit(registrant: Registrant) -> Config:
    return CONFIG


def talk(
    end: ApplianceEnd,
    identity: Identity = IDENTITY,
    *,
    facts: Facts = FACTS,
    updating: bool = False,
    local: Registration | None = None,
) -> Outcome:
    return converse(
        end,
        identity,
        facts=facts,
        annotations={"auth": "emulated-tpm"},
        labels={"foo": "bar"},
        updating=updating,
        local=local or Registration(),
    )


def appliance(
    identity: Identity = IDENTITY,
    *,
    admit: Callable[[Registrant], Config | str] = admit,
    known: bool = False,
    policy: Policy | None = None,
) -> ApplianceEnd:
    return ApplianceEnd(authorize(identity), admit=admit, known=known, policy=policy)


class TestConversation:
    def test_a_host_registers(self) -> None:
        end = appliance()

        assert talk(end) == Registered(CONFIG, 12)

        (registrant,) = end.registrants
        assert registrant.labels == {"foo": "bar"}
        assert registrant.annotations == {"auth": "emulated-tpm"}
        assert registrant.data == {**FACTS.smbios, **FACTS.system_data}
        assert end.close_reason == ""

    def test_messages_come_in_upstreams_order(self) -> None:
        end = appliance(known=True)

        talk(end, updating=True)

        answer, *messages = end.heard
        assert answer.startswith(b'{"Secret":"')
        assert [MessageType(data[0]).name for data in messages] == [
            "VERSION", "UPDATE", "SMBIOS", "SYSTEM_DATA_V2", "ANNOTATIONS", "LABELS", "GET",
        ]  # fmt: skip

    def test_a_host_without_facts_sends_none(self) -> None:
        end = appliance()

        talk(end, facts=Facts())

        assert [data[0] for data in end.heard[1:]] == [5, 9, 3, 4]

    def test_a_host_registers_by_its_mac_address(self) -> None:
        end = appliance(MAC, policy=EITHER)

        assert talk(end, MAC) == Registered(CONFIG, 12)
        assert end.registrants[0].machine.kind == "plain"

    def test_waiting_and_refusal_are_outcomes(self) -> None:
        waiting = render_waiting("m-1", tpm_hash="0" * 64)

        assert talk(appliance(admit=lambda _: waiting)) == WaitingForApproval(waiting)
        assert talk(appliance(admit=lambda _: render_refused("no"))) == Refused("refused: no")

    def test_any_other_error_is_the_appliances_no(self) -> None:
        with pytest.raises(Denied, match="already exists"):
            talk(appliance(admit=lambda _: "m-1 already exists"))

    def test_an_update_of_a_forgotten_machine_is_denied_in_upstreams_words(self) -> None:
        with pytest.raises(Denied, match="MachineInventory not found"):
            talk(appliance(known=False), updating=True)

    def test_another_tpm_cannot_answer(self) -> None:
        class Impostor(SoftwareTpm):
            def activate(self, challenge: Challenge) -> bytes:
                return bytes(32)

        impostor = TpmIdentity(Impostor(derive_rsa_key(b"endorsement"), attestation=ATTESTATION))
        end = appliance(impostor)

        with pytest.raises(Denied, match="answer to the challenge is wrong"):
            talk(end, impostor)
        assert end.registrants == []

    def test_a_challenge_for_another_tpm_is_not_answered(self) -> None:
        other = SoftwareTpm(derive_rsa_key(b"other"), attestation=ATTESTATION)

        with pytest.raises(Denied, match="another TPM"):
            talk(appliance(), TpmIdentity(other))

    def test_local_values_stay_where_the_reply_has_none(self) -> None:
        outcome = talk(appliance(), local=Registration(url="u", ca_cert="c"))

        assert isinstance(outcome, Registered)
        assert outcome.config.elemental.registration == Registration(url="u", ca_cert="c")


class Script:
    """A server that says these messages whatever it hears."""

    def __init__(self, *messages: bytes | str) -> None:
        self._messages = iter(messages)
        self.heard: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.heard.append(message)

    def recv(self) -> bytes | str:
        return next(self._messages, b"")


def follow(script: Script, *, updating: bool = False) -> Outcome:
    return converse(
        script,
        MAC,
        facts=FACTS,
        annotations={"auth": "mac"},
        labels={},
        updating=updating,
        local=Registration(),
    )


class TestOtherServers:
    @pytest.mark.parametrize(
        ("version", "types"),
        [
            (4, [5, 2, 4]),
            (5, [5, 2, 4]),
            (6, [5, 2, 6, 4]),
            (8, [5, 2, 6, 4]),
            (9, [5, 2, 6, 9, 4]),
            (10, [5, 2, 6, 9, 4]),
            (11, [5, 2, 11, 9, 4]),
        ],
    )
    def test_an_older_server_is_spoken_to_in_its_version(self, version: int, types: list[int]) -> None:
        reply = render_config(CONFIG)
        readies = [b"\x01"] * (len(types) - 2)
        script = Script(b"\x01", bytes([5, version]), *readies, b"\x07" + reply if version >= 7 else reply)

        assert follow(script) == Registered(CONFIG, version)
        assert [data[0] for data in script.heard] == types

    def test_a_server_cannot_choose_a_version_that_was_not_offered(self) -> None:
        with pytest.raises(Denied, match="version 13"):
            follow(Script(b"\x01", b"\x05\x0d"))

    def test_a_server_without_updates_cannot_be_updated(self) -> None:
        with pytest.raises(Denied, match="has no updates"):
            follow(Script(b"\x01", b"\x05\x09"), updating=True)

    @pytest.mark.parametrize(
        "script",
        [
            [b""],
            [b"\x04"],
            ["\x01"],
            [b"\x01", b"\x05"],
            [b"\x01", b"\x05\x0c\x0c"],
            [b"\x01", b"\x01"],
            [b"\x01", b"\x05\x0c", b"\x08message: no"],
            [b"\x01", b"\x05\x0c", b"\x01", b"\x01", b"\x01", b"\x07["],
            [b"\x01", b"\x05\x0c", b"\x01", b"\x01", b"\x01", b"\x01"],
        ],
    )
    def test_a_server_that_breaks_the_protocol_is_denied(self, script: list[bytes | str]) -> None:
        with pytest.raises(Denied, match=r"registering failed: \S"):
            follow(Script(*script))

    @given(st.lists(st.binary(max_size=20) | st.text(max_size=5) | st.just(b"\x01"), max_size=6))
    def test_whatever_a_server_says_ends_in_our_own_error(self, messages: list[bytes | str]) -> None:
        with pytest.raises(AgentError):
            follow(Script(b"\x01", b"\x05\x0c", *messages))

    @given(data=st.binary(max_size=60), version=st.integers(0, 12))
    def test_any_reply_is_read_or_is_our_own_error(self, data: bytes, version: int) -> None:
        connection = Script(b"\x01", bytes([5, version]), *[b"\x01"] * 3, data)
        try:
            follow(connection)
        except AgentError:
            return

    def test_a_bare_document_is_the_reply_of_an_old_server(self) -> None:
        outcome = read_reply(render_config(CONFIG), version=6, local=Registration())

        assert outcome == Registered(CONFIG, 6)


Serve = Callable[[ServerConnection], None]


@contextmanager
def serving(
    conversation: Serve,
    *,
    tls: ssl.SSLContext | None = None,
    refuse: Callable[[ServerConnection, Request], Response | None] | None = None,
) -> Iterator[str]:
    """A WebSocket server on a free port of loopback; yields its registration URL."""
    server: Server = serve(conversation, "127.0.0.1", 0, ssl=tls, process_request=refuse, compression=None)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    port = server.socket.getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/elemental/registration/tok"
    finally:
        server.shutdown()
        thread.join()


def be_appliance(connection: ServerConnection) -> None:
    """The real handshake behind a real socket."""
    assert connection.request is not None
    end = ApplianceEnd(connection.request.headers["Authorization"], admit=admit, policy=EITHER)
    sent = 0
    while True:
        for data in end.sent[sent:]:
            connection.send(data)
        sent = len(end.sent)
        if end.close_reason is not None:
            return
        message = connection.recv()
        assert isinstance(message, bytes)
        end.send(message)


class Authority:
    """A CA for one test, and a server certificate of it for a name."""

    def __init__(self, directory: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self._directory = directory
        self.pem = (
            self._issue(self._key.public_key(), self._name, ca=True).public_bytes(Encoding.PEM).decode()
        )

    def server(self, address: str) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._issue(key.public_key(), name, ca=False, address=address)
        path = self._directory / "server.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + certificate.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _issue(
        self, key: ec.EllipticCurvePublicKey, name: x509.Name, *, ca: bool, address: str = ""
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if address:
            names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(address))])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def wait_for_nothing(connection: ServerConnection) -> None:
    for _ in connection:
        pass


def answer(status: int, text: str) -> Callable[[ServerConnection, Request], Response]:
    body = text.encode()
    return lambda connection, request: Response(
        status, "No", Headers({"Content-Length": str(len(body))}), body
    )


class TestNetwork:
    def test_a_host_registers_over_a_socket(self) -> None:
        with serving(be_appliance) as url:
            outcome = register(Registration(url=url), MAC, facts=FACTS, labels={"foo": "bar"})

        assert isinstance(outcome, Registered)
        assert outcome.version == 12
        assert outcome.config.cloud_config == {"a": 1}
        assert outcome.config.elemental == Elemental(
            install=Install(device="/dev/sda"), registration=Registration(url=url)
        )

    def test_a_host_registers_over_tls_with_the_appliances_own_ca(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        with serving(be_appliance, tls=authority.server("127.0.0.1")) as url:
            outcome = register(Registration(url=url, ca_cert=authority.pem), IDENTITY)

        assert isinstance(outcome, Registered)

    def test_an_unknown_ca_is_not_trusted(self, tmp_path: Path) -> None:
        with (
            serving(be_appliance, tls=Authority(tmp_path).server("127.0.0.1")) as url,
            pytest.raises(Denied, match="not to be trusted") as caught,
        ):
            register(Registration(url=url), IDENTITY)
        assert "--registration-ca-cert" in caught.value.hint

    def test_a_certificate_for_another_host_is_not_trusted(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        with (
            serving(be_appliance, tls=authority.server("127.0.0.2")) as url,
            pytest.raises(Denied, match="not to be trusted"),
        ):
            register(Registration(url=url, ca_cert=authority.pem), IDENTITY)

    def test_a_ca_certificate_that_is_none_is_a_matter_of_configuration(self) -> None:
        with pytest.raises(ConfigInvalid, match="ca-cert"):
            register(Registration(url="https://127.0.0.1:1/x", ca_cert="nonsense"), IDENTITY)

    @pytest.mark.parametrize("url", ["", "ftp://x/y", "not a URL", "http://"])
    def test_a_url_that_is_none_is_a_matter_of_configuration(self, url: str) -> None:
        with pytest.raises(ConfigInvalid, match="not a registration URL"):
            register(Registration(url=url), MAC)

    def test_a_refusal_before_the_upgrade_shows_its_text(self) -> None:
        with (
            serving(be_appliance, refuse=answer(401, "this registration asks for a TPM")) as url,
            pytest.raises(Denied, match=r"^this registration asks for a TPM$") as caught,
        ):
            register(Registration(url=url), MAC)
        assert caught.value.status == 401

    def test_an_unknown_registration_says_so(self) -> None:
        with (
            serving(be_appliance, refuse=answer(404, "failed to find machine registration")) as url,
            pytest.raises(Denied, match="failed to find machine registration") as caught,
        ):
            register(Registration(url=url), MAC)
        assert caught.value.hint == "check the URL"

    def test_a_status_without_words_is_named(self) -> None:
        with (
            serving(be_appliance, refuse=answer(503, "")) as url,
            pytest.raises(Denied, match="answered 503"),
        ):
            register(Registration(url=url), MAC)

    def test_a_dropped_connection_is_unreachable(self) -> None:
        with (
            serving(lambda connection: connection.socket.close()) as url,
            pytest.raises(Unreachable, match="closed the connection"),
        ):
            register(Registration(url=url), MAC)

    def test_a_silent_server_is_unreachable_in_time(self) -> None:
        with (
            serving(wait_for_nothing) as url,
            pytest.raises(Unreachable, match=r"within 0\.2 s"),
        ):
            register(Registration(url=url), MAC, timeout=0.2)

    def test_nobody_listening_is_unreachable(self) -> None:
        with serving(be_appliance) as url:
            pass

        with pytest.raises(Unreachable, match="cannot reach"):
            register(Registration(url=url), MAC)

    def test_an_oversized_message_is_not_swallowed(self) -> None:
        def flood(connection: ServerConnection) -> None:
            connection.send(bytes(MAX_MESSAGE_BYTES + 1))

        with serving(flood) as url, pytest.raises(Unreachable):
            register(Registration(url=url), MAC)

    def test_a_proxy_of_the_environment_is_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")

        with serving(be_appliance) as url:
            assert isinstance(register(Registration(url=url), MAC), Registered)


class TestHost:
    def test_a_success_is_remembered_and_the_next_time_is_an_update(self, tmp_path: Path) -> None:
        host, state_path = make_machine(tmp_path / "root"), tmp_path / "state.yaml"
        heard: list[list[int]] = []

        def be_listening(connection: ServerConnection) -> None:
            assert connection.request is not None
            end = ApplianceEnd(connection.request.headers["Authorization"], admit=admit, known=True)
            sent = 0
            while end.close_reason is None:
                for data in end.sent[sent:]:
                    connection.send(data)
                sent = len(end.sent)
                message = connection.recv()
                assert isinstance(message, bytes)
                end.send(message)
            heard.append([data[0] for data in end.heard[1:]])
            connection.send(end.sent[-1])

        with serving(be_listening) as url:
            registration = Registration(url=url, emulate_tpm=True, emulated_tpm_seed=-1)
            for _ in range(2):
                outcome = register_host(
                    host, registration, state_path=state_path, labels={}, software="0.1.0"
                )
                assert isinstance(outcome, Registered)
            state = load_state(state_path)
            register_host(
                host, registration, state_path=state_path, labels={}, software="0.1.0", from_scratch=True
            )

        assert heard == [[5, 2, 11, 9, 4], [5, 10, 2, 11, 9, 4], [5, 2, 11, 9, 4]]
        assert state.is_registered
        assert state.emulated_tpm_seed > 1
        assert load_state(state_path) == state

    def test_a_random_seed_is_remembered_before_it_is_used(self, tmp_path: Path) -> None:
        state_path = tmp_path / "state.yaml"
        registration = Registration(url="http://127.0.0.1:1/x", emulate_tpm=True, emulated_tpm_seed=-1)

        for _ in range(2):
            with pytest.raises(Unreachable):
                register_host(
                    Host(tmp_path), registration, state_path=state_path, labels={}, software="0.1.0"
                )
            seed = load_state(state_path).emulated_tpm_seed
            write_state(state_path, load_state(state_path))

        assert seed > 1
        assert not load_state(state_path).is_registered
        assert load_state(state_path) == RegistrationState(emulated_tpm=True, emulated_tpm_seed=seed)

    def test_facts_stay_at_home_when_the_registration_says_so(self, tmp_path: Path) -> None:
        host = make_machine(tmp_path / "root")
        with serving(be_appliance) as url:
            outcome = register_host(
                host,
                Registration(url=url, auth="mac", no_smbios=True),
                state_path=tmp_path / "state.yaml",
                labels={"a": "b"},
                software="0.1.0",
            )

        assert isinstance(outcome, Registered)
        assert not load_state(tmp_path / "state.yaml").emulated_tpm
