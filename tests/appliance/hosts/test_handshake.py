"""The conversation's appliance side, event by event, without a socket."""

import json
from collections.abc import Callable, Iterator
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from agent.protocol.client_config import Config, parse_config
from agent.protocol.endorsement import hash_endorsement_key, hash_identifier
from agent.protocol.messages import (
    MAX_MESSAGE_BYTES,
    Challenge,
    MessageType,
    parse_challenge,
    parse_error,
    render_challenge_answer,
)
from agent.protocol.token import PlainToken, render_authorization
from agent.tpm.primes import derive_rsa_key
from agent.tpm.software import SoftwareTpm, attest_key
from appliance.hosts.handshake import (
    Admit,
    Admitted,
    Close,
    Command,
    Event,
    FindMachine,
    Handshake,
    Machine,
    MachineLookedUp,
    NotAdmitted,
    Opened,
    Policy,
    Received,
    RefuseUpgrade,
    Registrant,
    Send,
    TimePassed,
    Upgrade,
)
from appliance.hosts.policy import RegistrationPolicy
from tests.agent.protocol import vectors

RSA_KEY = derive_rsa_key(b"endorsement")
ATTESTATION = attest_key(derive_rsa_key(b"attestation"))
READY = Send(b"\x01")
VERSION_12 = b"\x05\x0c"
SECRET = bytes(range(32))


@cache
def tpm() -> SoftwareTpm:
    return SoftwareTpm(RSA_KEY, attestation=ATTESTATION)


@cache
def header() -> str:
    return render_authorization(tpm().attest())


def asking(auth: str, *, enforces_auth: bool = True) -> Policy:
    return Policy(RegistrationPolicy(auth=auth, enforces_auth=enforces_auth))  # type: ignore[arg-type]


def opened(*, policy: Policy | None = None) -> tuple[Handshake, Challenge]:
    handshake = Handshake(policy or Policy())
    upgrade, sent = handshake.receive(Opened(header()), now=0.0)
    assert upgrade == Upgrade()
    assert isinstance(sent, Send)
    return handshake, parse_challenge(sent.data)


def proved() -> Handshake:
    handshake, challenge = opened()
    answer = render_challenge_answer(tpm().activate(challenge))
    assert handshake.receive(Received(answer), now=0.0) == [READY]
    return handshake


def talking(version: int | None = 12) -> Handshake:
    handshake = proved()
    if version is not None:
        assert hear(handshake, bytes([5, version])) == [Send(bytes([5, min(version, 12)]))]
    return handshake


def hear(handshake: Handshake, data: bytes | str, *, now: float = 0.0) -> list[Command]:
    return handshake.receive(Received(data), now=now)


def registrant(commands: list[Command]) -> Registrant:
    (command,) = commands
    assert isinstance(command, Admit)
    return command.registrant


def refusal(commands: list[Command]) -> str:
    """The words sent before the close."""
    sent, closed = commands
    assert isinstance(sent, Send)
    assert sent.data[0] == MessageType.ERROR
    text = parse_error(sent.data[1:])
    assert closed == Close(text)
    return text


class TestOpening:
    def test_a_tpm_is_challenged_in_one_short_message(self) -> None:
        handshake = Handshake(Policy())

        commands = handshake.receive(Opened(header()), now=0.0)

        assert commands[0] == Upgrade()
        assert isinstance(commands[1], Send)
        assert len(commands[1].data) == 476
        assert handshake.machine is None

    @pytest.mark.parametrize("auth", ["tpm", "mac", "sys-uuid"])
    def test_a_tpm_is_welcome_on_every_registration_that_does_not_insist(self, auth: str) -> None:
        opened(policy=asking(auth, enforces_auth=False))

    @pytest.mark.parametrize("auth", ["mac", "sys-uuid"])
    def test_a_tpm_is_refused_where_another_proof_is_asked_for(self, auth: str) -> None:
        (command,) = Handshake(asking(auth)).receive(Opened(header()), now=0.0)

        assert isinstance(command, RefuseUpgrade)
        assert "not for a TPM" in command.message

    def test_the_real_clients_header_is_challenged(self) -> None:
        commands = Handshake(Policy()).receive(Opened(vectors.AUTHORIZATION), now=0.0)

        assert [type(command) for command in commands] == [Upgrade, Send]

    @pytest.mark.parametrize("auth", ["mac", "sys-uuid"])
    def test_an_identifier_is_ready_at_once_where_it_is_asked_for(self, auth: str) -> None:
        handshake = Handshake(asking(auth, enforces_auth=False))

        commands = handshake.receive(Opened("Bearer PLAIN" + vectors.IDENTIFIER), now=0.0)

        assert commands == [Upgrade(), READY]
        assert handshake.machine == Machine("plain", vectors.IDENTIFIER_HASH)

    @pytest.mark.parametrize(
        ("authorization", "message"),
        [
            (None, "no Authorization header"),
            ("", "no Authorization header"),
            ("Basic dXNlcg==", "no known scheme"),
            ("Bearer TPM!", "not base64"),
            ("Bearer TPMe30=", "not base64 text"),
            ("Bearer TPM" + "A" * 40_000, "longer than"),
            ("Bearer PLAIN" + vectors.IDENTIFIER, "asks for a TPM"),
            ("Bearer PLAINunknown", "unknown"),
        ],
    )
    def test_a_header_that_proves_nothing_is_refused_before_the_upgrade(
        self, authorization: str | None, message: str
    ) -> None:
        handshake = Handshake(Policy())

        (command,) = handshake.receive(Opened(authorization), now=0.0)

        assert isinstance(command, RefuseUpgrade)
        assert command.status == 401
        assert message in command.message
        assert handshake.finished

    def test_a_tampered_attestation_is_refused_with_the_check_that_failed(self) -> None:
        token = tpm().attest()
        key = token.attestation_key
        other = type(key)(
            key.public, key.create_data, key.create_attestation, key.create_signature[:-1] + b"x"
        )

        (command,) = Handshake(Policy()).receive(
            Opened(render_authorization(type(token)(token.endorsement, other))), now=0.0
        )

        assert isinstance(command, RefuseUpgrade)
        assert "signature check" in command.message

    def test_an_endorsement_key_too_large_to_challenge_is_refused(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
        large = SoftwareTpm(key, attestation=ATTESTATION)

        (command,) = Handshake(Policy()).receive(Opened(render_authorization(large.attest())), now=0.0)

        assert isinstance(command, RefuseUpgrade)
        assert "512" in command.message

    @pytest.mark.parametrize(
        "event",
        [Received(b"\x04"), TimePassed(), MachineLookedUp(known=True), Admitted(Config()), NotAdmitted("x")],
    )
    def test_nothing_comes_before_the_header(self, event: Event) -> None:
        handshake = Handshake(Policy())

        commands = handshake.receive(event, now=0.0)

        assert all(isinstance(command, RefuseUpgrade) for command in commands)
        assert handshake.deadline is None

    def test_a_connection_opens_once(self) -> None:
        handshake, _ = opened()

        assert "another one was being answered" in refusal(handshake.receive(Opened(header()), now=0.0))


class TestChallenge:
    def test_the_right_answer_proves_the_machine(self) -> None:
        handshake = proved()

        assert handshake.machine == Machine("tpm", hash_endorsement_key(RSA_KEY.public_key()))

    def test_the_answer_may_come_as_text(self) -> None:
        handshake, challenge = opened()

        answer = render_challenge_answer(tpm().activate(challenge)).decode()

        assert hear(handshake, answer) == [READY]

    @pytest.mark.parametrize("key", [ec.SECP256R1(), ec.SECP384R1()], ids=["P-256", "P-384"])
    def test_a_tpm_with_an_elliptic_curve_key_proves_itself(self, key: ec.EllipticCurve) -> None:
        curve_tpm = SoftwareTpm(ec.generate_private_key(key), attestation=ATTESTATION)
        handshake = Handshake(Policy())
        _, sent = handshake.receive(Opened(render_authorization(curve_tpm.attest())), now=0.0)
        assert isinstance(sent, Send)

        answer = render_challenge_answer(curve_tpm.activate(parse_challenge(sent.data)))

        assert hear(handshake, answer) == [READY]

    @pytest.mark.parametrize("secret", [b"", bytes(31), bytes(32), bytes(33)])
    def test_a_wrong_answer_ends_it(self, secret: bytes) -> None:
        handshake, _ = opened()

        assert "wrong" in refusal(hear(handshake, render_challenge_answer(secret)))
        assert handshake.machine is None

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"Secret":1}', b'{"Secret":"!"}', "ü"])
    def test_an_answer_that_is_none_ends_it(self, data: bytes | str) -> None:
        handshake, _ = opened()

        assert "answer to the challenge" in refusal(hear(handshake, data))

    def test_an_oversized_answer_ends_it(self) -> None:
        handshake, _ = opened()

        assert "at most 512" in refusal(hear(handshake, b" " * 513))

    def test_an_answer_recorded_from_another_connection_is_wrong_here(self) -> None:
        _, challenge = opened()
        recorded = render_challenge_answer(tpm().activate(challenge))
        handshake, _ = opened()

        assert "wrong" in refusal(hear(handshake, recorded))

    def test_a_secret_answers_once(self) -> None:
        handshake, challenge = opened()
        answer = render_challenge_answer(tpm().activate(challenge))
        assert hear(handshake, answer) == [READY]

        assert "no message type" in refusal(hear(handshake, answer))

    def test_a_right_answer_after_a_wrong_one_is_too_late(self) -> None:
        handshake, challenge = opened()
        refusal(hear(handshake, render_challenge_answer(bytes(32))))

        assert hear(handshake, render_challenge_answer(tpm().activate(challenge))) == []
        assert handshake.machine is None

    def test_every_connection_has_its_own_secret(self) -> None:
        secrets = {tpm().activate(opened()[1]) for _ in range(3)}

        assert len(secrets) == 3
        assert {len(secret) for secret in secrets} == {32}

    def test_randomness_is_the_callers(self) -> None:
        draws: Iterator[bytes] = iter([SECRET, bytes(16)])
        handshake = Handshake(Policy(), random=lambda count: next(draws)[:count])

        handshake.receive(Opened(header()), now=0.0)

        assert hear(handshake, render_challenge_answer(SECRET)) == [READY]


class TestVersion:
    @pytest.mark.parametrize(
        ("offered", "answered"), [(5, 5), (6, 6), (11, 11), (12, 12), (13, 12), (255, 12)]
    )
    def test_the_lower_of_both_is_answered(self, offered: int, answered: int) -> None:
        assert hear(proved(), bytes([5, offered])) == [Send(bytes([5, answered]))]

    @pytest.mark.parametrize("offered", [0, 1, 4])
    def test_a_client_too_old_for_errors_is_dropped(self, offered: int) -> None:
        (command,) = hear(proved(), bytes([5, offered]))

        assert isinstance(command, Close)
        assert "too old" in command.reason

    @pytest.mark.parametrize("payload", [b"", b"\x0c\x0c"])
    def test_a_version_of_another_length_ends_it(self, payload: bytes) -> None:
        assert "one byte" in refusal(hear(proved(), b"\x05" + payload))


class TestData:
    def test_everything_a_machine_says_is_given_to_admission(self) -> None:
        handshake = talking()
        for data in (
            b'\x02{"System Information":{"UUID":"u"},"BIOS":{"Vendor":"old"}}\n',
            b'\x0b{"BIOS":{"Vendor":"new"},"Runtime":{"Hostname":"vm"}}',
            b'\x09{"auth":"tpm"}',
            b'\x03{"foo":"bar"}',
        ):
            assert hear(handshake, data) == [READY]

        assert registrant(hear(handshake, b"\x04")) == Registrant(
            machine=Machine("tpm", hash_endorsement_key(RSA_KEY.public_key())),
            version=12,
            labels={"foo": "bar"},
            annotations={"auth": "tpm"},
            data={
                "System Information": {"UUID": "u"},
                "BIOS": {"Vendor": "new"},
                "Runtime": {"Hostname": "vm"},
            },
        )

    def test_an_old_clients_inventory_becomes_the_tree_of_templates(self) -> None:
        handshake = talking(6)
        assert hear(handshake, b'\x06{"runtime":{"hostname":"vm"}}') == [READY]

        data = registrant(hear(handshake, b"\x04")).data

        assert data == {"System Data": {"Runtime": {"Hostname": "vm"}}}

    @pytest.mark.parametrize("type", [2, 3, 6, 9, 11])
    @pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff", b'{"a":' * 1000])
    def test_malformed_data_ends_it(self, type: int, payload: bytes) -> None:
        assert "JSON" in refusal(hear(talking(), bytes([type]) + payload))

    @pytest.mark.parametrize("type", [3, 9])
    def test_labels_and_annotations_are_strings(self, type: int) -> None:
        assert "strings" in refusal(hear(talking(), bytes([type]) + b'{"a":1}'))

    @pytest.mark.parametrize(("type", "size"), [(2, 2**20), (6, 2**20), (11, 2**20), (3, 2**16), (9, 2**16)])
    def test_oversized_data_ends_it(self, type: int, size: int) -> None:
        payload = json.dumps({"a": "x" * size}).encode()

        assert f"at most {size}" in refusal(hear(talking(), bytes([type]) + payload))

    def test_an_oversized_message_ends_it(self) -> None:
        assert "at most" in refusal(hear(talking(), b"\x02" + bytes(MAX_MESSAGE_BYTES)))

    @pytest.mark.parametrize("data", [b"", b"\x00", b"\x0c", b"\xff"])
    def test_a_message_of_no_known_type_ends_it(self, data: bytes) -> None:
        assert "type" in refusal(hear(talking(), data))

    @pytest.mark.parametrize("data", [b"\x01", b"\x07{}", b"\x08message: x"])
    def test_the_appliances_own_messages_are_not_the_clients(self, data: bytes) -> None:
        assert "the appliance's to say" in refusal(hear(talking(), data))

    def test_a_text_message_ends_it(self) -> None:
        assert "text message" in refusal(hear(talking(), "\x04"))

    def test_a_talkative_client_is_cut_off(self) -> None:
        handshake = talking()
        commands: list[Command] = [READY]
        count = 0
        while commands == [READY]:
            commands = hear(handshake, b"\x03{}")
            count += 1

        assert "more messages" in refusal(commands)
        assert count < 70

    def test_a_flood_of_data_is_cut_off(self) -> None:
        handshake = talking()
        payload = b"\x02" + json.dumps({"a": "x" * 1_000_000}).encode()
        commands: list[Command] = [READY]
        count = 0
        while commands == [READY]:
            commands = hear(handshake, payload)
            count += 1

        assert "more messages" in refusal(commands)
        assert count < 10

    @pytest.mark.parametrize("version", [5, 6, 7])
    def test_a_client_without_error_messages_is_only_closed(self, version: int) -> None:
        (command,) = hear(talking(version), b"\x03[]")

        assert isinstance(command, Close)
        assert "labels" in command.reason


class TestUpdate:
    def test_a_known_machine_updates(self) -> None:
        handshake = talking()

        (lookup,) = hear(handshake, b"\x0a")
        assert lookup == FindMachine(Machine("tpm", hash_endorsement_key(RSA_KEY.public_key())))
        assert handshake.receive(MachineLookedUp(known=True), now=0.0) == [READY]

        assert registrant(hear(handshake, b"\x04")).updating

    def test_an_unknown_machine_is_told_so_in_upstreams_words(self) -> None:
        handshake = talking()
        hear(handshake, b"\x0a")

        commands = handshake.receive(MachineLookedUp(known=False), now=0.0)

        assert commands[0] == Send(b"\x08message: MachineInventory not found\n")
        assert isinstance(commands[1], Close)

    def test_nothing_is_heard_while_a_machine_is_looked_up(self) -> None:
        handshake = talking()
        hear(handshake, b"\x0a")

        assert "another one was being answered" in refusal(hear(handshake, b"\x04"))

    def test_a_lookup_that_was_not_asked_for_ends_it(self) -> None:
        assert refusal(talking().receive(MachineLookedUp(known=True), now=0.0))


class TestGet:
    @pytest.mark.parametrize("version", [7, 8, 11, 12, 13])
    def test_an_admitted_machine_gets_its_configuration_and_the_end(self, version: int) -> None:
        handshake = talking(version)
        registrant(hear(handshake, b"\x04"))

        sent, closed = handshake.receive(Admitted(Config(cloud_config={"a": 1})), now=0.0)

        assert isinstance(sent, Send)
        assert sent.data[0] == MessageType.CONFIG
        assert parse_config(sent.data[1:]).cloud_config == {"a": 1}
        assert closed == Close()
        assert handshake.finished

    @pytest.mark.parametrize("version", [None, 5, 6])
    def test_an_old_client_gets_the_bare_document(self, version: int | None) -> None:
        handshake = talking(version)
        registrant(hear(handshake, b"\x04"))

        sent, closed = handshake.receive(Admitted(Config(cloud_config={"a": 1})), now=0.0)

        assert isinstance(sent, Send)
        assert parse_config(sent.data).cloud_config == {"a": 1}
        assert closed == Close()

    def test_a_machine_that_is_not_admitted_is_told_why(self) -> None:
        handshake = talking()
        registrant(hear(handshake, b"\x04"))

        commands = handshake.receive(NotAdmitted("waiting for approval: m-1"), now=0.0)

        assert refusal(commands) == "waiting for approval: m-1"

    def test_a_client_that_never_said_its_version_is_still_told_why(self) -> None:
        handshake = proved()
        registrant(hear(handshake, b"\x04"))

        assert refusal(handshake.receive(NotAdmitted("refused: no"), now=0.0)) == "refused: no"

    def test_admission_is_asked_once(self) -> None:
        handshake = talking()
        registrant(hear(handshake, b"\x04"))

        assert "another one was being answered" in refusal(hear(handshake, b"\x04"))
        assert handshake.receive(Admitted(Config()), now=0.0) == []

    @pytest.mark.parametrize("event", [Admitted(Config()), NotAdmitted("no")])
    def test_an_admission_that_was_not_asked_for_ends_it(self, event: Event) -> None:
        assert "another one was being answered" in refusal(talking().receive(event, now=0.0))

    def test_a_configuration_does_not_show_in_a_log(self) -> None:
        assert "secret" not in repr(Send(b"secret"))

    def test_an_identifier_registers_to_the_end(self) -> None:
        handshake = Handshake(asking("mac"))
        handshake.receive(Opened(render_authorization(PlainToken("02:00:00:00:00:07"))), now=0.0)
        hear(handshake, VERSION_12)

        machine = registrant(hear(handshake, b"\x04")).machine

        assert machine == Machine("plain", hash_identifier("02:00:00:00:00:07"))


class TestTime:
    def test_the_whole_exchange_has_ten_seconds(self) -> None:
        handshake = Handshake(Policy())
        handshake.receive(Opened(header()), now=100.0)

        assert handshake.deadline == 110.0
        assert handshake.receive(TimePassed(), now=109.9) == []
        assert "longer than 10 s" in refusal(handshake.receive(TimePassed(), now=110.0))
        assert handshake.deadline is None

    def test_talking_does_not_extend_it(self) -> None:
        handshake = talking()

        assert hear(handshake, b"\x03{}", now=9.9) == [READY]
        assert "longer than 10 s" in refusal(hear(handshake, b"\x03{}", now=10.0))

    def test_a_configuration_that_comes_too_late_is_not_sent(self) -> None:
        handshake = talking()
        hear(handshake, b"\x04")

        assert "longer than 10 s" in refusal(handshake.receive(Admitted(Config()), now=10.5))

    @pytest.mark.parametrize(
        "event",
        [Opened("x"), Received(b"\x04"), TimePassed(), MachineLookedUp(known=True), Admitted(Config())],
    )
    def test_nothing_happens_after_the_end(self, event: Event) -> None:
        handshake = Handshake(Policy())
        handshake.receive(Opened(None), now=0.0)

        assert handshake.receive(event, now=99.0) == []


messages = st.binary(max_size=40) | st.sampled_from(
    [VERSION_12, b"\x04", b"\x0a", b"\x03{}", b"\x02{}", b"\x09{}", b"\x05\x06", b"\x01"]
)
events: st.SearchStrategy[Event] = st.one_of(
    messages.map(Received),
    st.text(max_size=5).map(Received),
    st.just(TimePassed()),
    st.booleans().map(lambda known: MachineLookedUp(known=known)),
    st.just(Admitted(Config())),
    st.just(NotAdmitted("no")),
    st.just(Opened(None)),
)


@pytest.mark.parametrize("start", [Handshake, None], ids=["from nothing", "from a proved machine"])
@given(story=st.lists(events, max_size=12))
def test_whatever_happens_only_admission_gives_a_configuration(
    start: Callable[[Policy], Handshake] | None, story: list[Event]
) -> None:
    handshake = start(Policy()) if start else proved()
    asked = 0

    for event in story:
        commands = handshake.receive(event, now=0.0)
        asked += sum(isinstance(command, Admit) for command in commands)
        for command in commands:
            if isinstance(command, Send) and command.data[:1] in (b"\x07", b"{"):
                assert asked == 1
                assert isinstance(event, Admitted)
        if any(isinstance(command, Close | RefuseUpgrade) for command in commands):
            assert handshake.finished
    assert asked <= 1
