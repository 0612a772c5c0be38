"""Pairing as values: every message dropped, replayed, swapped, and nobody without the code gets through."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import Denied
from agent.pairing import (
    CODE_SECONDS,
    FREE_FAILURES,
    MAX_LOCK_SECONDS,
    RUN_SECONDS,
    Draw,
    Pairing,
    answer_finish,
    answer_start,
    describe,
    tick,
)
from agent.protocol.client_config import Registration, render_registration
from agent.protocol.errors import ProtocolError
from agent.protocol.pairing import (
    MAX_MESSAGE_BYTES,
    Finish,
    Finished,
    Hello,
    Start,
    Started,
    parse_message,
)
from agent.protocol.pake import EXPONENT_BYTES, ORDER, PRIME, SHARE_BYTES
from appliance.credentials import Authority
from appliance.discovery.pairing import Attempt, Self, begin, check_finished, check_hello, prove_and_seal
from appliance.errors import Refused

CODE = "493028"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("other"))


def draw(number: int = 1, code: str = CODE) -> Draw:
    return Draw(code, f"session{number}", bytes([number]) * EXPONENT_BYTES)


def fresh_host(number: int = 1, code: str = CODE, *, id: str = "host1") -> Pairing:
    return Pairing(id=id, name="new-host1", draw=draw(number, code), since=0.0)


NEXT = draw(9, "111111")


def myself(authority: Authority) -> Self:
    return Self(id="box1", site="Plant 3", fingerprint=authority.fingerprint)


def document(authority: Authority) -> bytes:
    url = "https://10.0.0.1:8443/elemental/registration/t0ken"
    return render_registration(Registration(url=url, ca_cert=authority.certificate_pem))


def start_run(
    host: Pairing, authority: Authority, *, code: str = CODE, number: int = 7
) -> tuple[Attempt, Start]:
    hello = describe(host, nonce="n", now=1.0)
    return begin(hello, code, own=myself(authority), exponent=bytes([number]) * EXPONENT_BYTES)


def started(host: Pairing, message: Start, *, now: float = 1.0) -> tuple[Pairing, Started]:
    host, answer = answer_start(host, message, draw=NEXT, now=now)
    assert isinstance(answer, Started)
    return host, answer


def test_with_the_code_the_host_trusts_that_appliance_and_the_appliance_knows_that_host(
    authority: Authority,
) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority)
    host, answer = started(host, start)
    attempt, finish = prove_and_seal(attempt, answer, document=document(authority))

    host, finished = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert isinstance(finished, Finished)
    check_finished(attempt, finished)
    assert host.paired is not None
    assert host.paired.registration.ca_cert == authority.certificate_pem
    assert host.paired.appliance == "Plant 3"
    assert host.failures == 0


def test_a_wrong_code_burns_the_code_and_hands_over_nothing(authority: Authority) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority, code="493029")
    host, answer = started(host, start)
    attempt, finish = prove_and_seal(attempt, answer, document=document(authority))

    host, refusal = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert "not the one" in str(refusal)
    assert (host.paired, host.draw, host.failures) == (None, NEXT, 1)


def test_an_impostor_appliance_does_not_get_a_second_guess_at_a_code(authority: Authority) -> None:
    host = fresh_host()
    for guess in ("000001", CODE):
        attempt, start = start_run(fresh_host(), authority, code=guess)
        host, answer = answer_start(host, start, draw=NEXT, now=1.0)
        if isinstance(answer, Denied):
            continue
        _, finish = prove_and_seal(attempt, answer, document=document(authority))
        host, _ = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert host.paired is None


def test_an_impostor_host_cannot_convince_and_cannot_read_the_registration(authority: Authority) -> None:
    """It announces the host's id and answers with a code of its own guessing."""
    impostor = fresh_host(2, code="000000")
    attempt, start = start_run(impostor, authority)
    impostor, answer = started(impostor, start)
    attempt, finish = prove_and_seal(attempt, answer, document=document(authority))

    impostor, refusal = answer_finish(impostor, finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert b"t0ken" not in finish.sealed
    with pytest.raises(Refused, match="another machine"):
        check_finished(attempt, Finished(proof=bytes(32)))
    with pytest.raises(Refused, match="another machine"):
        check_finished(attempt, Finished(proof=finish.proof))


def test_whoever_stands_between_and_changes_the_fingerprint_is_noticed(
    authority: Authority, other_authority: Authority
) -> None:
    """The man in the middle passes everything on, with a CA of his own."""
    host = fresh_host()
    attempt, start = start_run(host, authority)
    swapped = msgspec.structs.replace(start, fingerprint=other_authority.fingerprint)
    host, answer = started(host, swapped)
    _, finish = prove_and_seal(attempt, answer, document=document(authority))

    host, refusal = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert host.paired is None


def test_an_appliance_cannot_hand_over_another_ca_than_it_paired_with(
    authority: Authority, other_authority: Authority
) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority)
    host, answer = started(host, start)
    _, finish = prove_and_seal(attempt, answer, document=document(other_authority))

    host, refusal = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert "not the one that the appliance paired with" in str(refusal)
    assert host.failures == 1


@pytest.mark.parametrize("pem", ["", "junk", "two"])
def test_a_registration_without_exactly_one_ca_is_refused(pem: str, authority: Authority) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority)
    host, answer = started(host, start)
    text = authority.certificate_pem * 2 if pem == "two" else pem
    content = render_registration(Registration(url="https://h/", ca_cert=text))
    _, finish = prove_and_seal(attempt, answer, document=content)

    host, refusal = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert host.paired is None


@dataclass
class Wire:
    """The messages of one whole run, for somebody who recorded it."""

    hello: Hello
    start: Start
    answer: Started
    finish: Finish
    finished: Finished


def record(authority: Authority, number: int = 1) -> tuple[Pairing, Wire]:
    host = fresh_host(number)
    hello = describe(host, nonce="n", now=1.0)
    attempt, start = start_run(host, authority)
    host, answer = started(host, start)
    _, finish = prove_and_seal(attempt, answer, document=document(authority))
    host, finished = answer_finish(host, finish, draw=NEXT, now=2.0)
    assert isinstance(finished, Finished)
    return host, Wire(hello, start, answer, finish, finished)


def test_a_recording_does_not_pair_the_next_session(authority: Authority) -> None:
    _, wire = record(authority)
    host = fresh_host(2)

    host, refused_start = answer_start(host, wire.start, draw=NEXT, now=1.0)
    host, refused_finish = answer_finish(host, wire.finish, draw=NEXT, now=1.0)

    assert isinstance(refused_start, Denied)
    assert isinstance(refused_finish, Denied)
    assert (host.paired, host.failures) == (None, 0)


def test_a_recorded_finish_in_another_run_of_the_same_session_is_refused(authority: Authority) -> None:
    """Session and code alike, as if chance repeated itself; the appliance's share is another."""
    _, wire = record(authority)
    host = fresh_host()
    _, start = start_run(host, authority, number=8)
    host, _ = started(host, start)

    host, refusal = answer_finish(host, wire.finish, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert host.paired is None


def test_a_recorded_answer_does_not_convince_the_appliance(authority: Authority) -> None:
    _, wire = record(authority)
    attempt, _ = start_run(fresh_host(), authority, number=8)
    attempt, _ = prove_and_seal(attempt, wire.answer, document=document(authority))

    with pytest.raises(Refused):
        check_finished(attempt, wire.finished)


def test_a_lost_last_answer_is_given_again_and_nothing_else_is(authority: Authority) -> None:
    host, wire = record(authority)

    again, same = answer_finish(host, wire.finish, draw=NEXT, now=3.0)
    _, refused = answer_finish(host, msgspec.structs.replace(wire.finish, proof=b"x"), draw=NEXT, now=3.0)
    _, restarted = answer_start(host, wire.start, draw=NEXT, now=3.0)

    assert (again, same) == (host, wire.finished)
    assert isinstance(refused, Denied)
    assert isinstance(restarted, Denied)


def test_a_lost_start_costs_nothing_and_its_second_copy_burns_the_code(authority: Authority) -> None:
    host = fresh_host()
    _, start = start_run(host, authority)
    host, _ = started(host, start)

    host, refusal = answer_start(host, start, draw=NEXT, now=1.5)

    assert isinstance(refusal, Denied)
    assert (host.run, host.draw, host.failures) == (None, NEXT, 1)


def test_a_run_that_never_ends_is_a_failure_after_its_time(authority: Authority) -> None:
    host = fresh_host()
    _, start = start_run(host, authority)
    host, _ = started(host, start)

    waiting = tick(host, draw=NEXT, now=1.0 + RUN_SECONDS - 0.1)
    burnt = tick(host, draw=NEXT, now=1.0 + RUN_SECONDS)

    assert waiting == host
    assert (burnt.run, burnt.draw, burnt.failures) == (None, NEXT, 1)


def test_a_finish_before_its_start_is_refused(authority: Authority) -> None:
    _, wire = record(authority)

    host, refusal = answer_finish(fresh_host(), wire.finish, draw=NEXT, now=1.0)

    assert isinstance(refusal, Denied)
    assert host == fresh_host()


def test_a_code_that_stood_too_long_is_another_without_being_a_failure() -> None:
    host = tick(fresh_host(), draw=NEXT, now=CODE_SECONDS)

    assert (host.draw, host.failures, host.locked_until) == (NEXT, 0, 0.0)


def test_after_a_few_failures_the_host_refuses_for_longer_and_longer(authority: Authority) -> None:
    host, now, waits = fresh_host(), 0.0, []
    for number in range(2, 12):
        _, start = start_run(host, authority)
        host, _ = started(host, start, now=now)
        host = tick(host, draw=draw(number), now=now + RUN_SECONDS)
        waits.append(host.locked_until - (now + RUN_SECONDS) if host.locked_until else 0.0)
        now = max(host.locked_until, now + RUN_SECONDS)

    assert waits[:FREE_FAILURES] == [0.0] * FREE_FAILURES
    assert waits[FREE_FAILURES:] == sorted(waits[FREE_FAILURES:])
    assert waits[FREE_FAILURES] > 0
    assert waits[-1] == MAX_LOCK_SECONDS


def test_a_locked_host_says_so_and_starts_nothing(authority: Authority) -> None:
    host = replace(fresh_host(), locked_until=100.0)
    _, start = start_run(host, authority)

    after, refusal = answer_start(host, start, draw=NEXT, now=50.0)

    assert describe(host, nonce="n", now=50.0).state == "locked"
    assert isinstance(refusal, Denied)
    assert after == host


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(bytes(SHARE_BYTES), id="zero"),
        pytest.param((1).to_bytes(SHARE_BYTES, "big"), id="one"),
        pytest.param((PRIME - 1).to_bytes(SHARE_BYTES, "big"), id="minus-one"),
        pytest.param(PRIME.to_bytes(SHARE_BYTES, "big"), id="the-prime"),
        pytest.param((PRIME + 4).to_bytes(SHARE_BYTES, "big"), id="over-the-prime"),
        pytest.param(b"\x04", id="short"),
        pytest.param(b"", id="none"),
        pytest.param(b"\xff" * 1024, id="long"),
        pytest.param(
            next(n for n in range(2, 100) if pow(n, ORDER, PRIME) != 1).to_bytes(SHARE_BYTES, "big"),
            id="no-square",
        ),
    ],
)
def test_a_share_that_would_fix_the_secret_is_refused_by_both(share: bytes, authority: Authority) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority)

    host, refusal = answer_start(host, msgspec.structs.replace(start, share=share), draw=NEXT, now=1.0)

    assert isinstance(refusal, Denied)
    assert host.failures == 1
    with pytest.raises(ProtocolError):
        prove_and_seal(attempt, Started(share=share), document=b"")


def test_what_was_sealed_cannot_be_changed_on_its_way(authority: Authority) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority)
    host, answer = started(host, start)
    _, finish = prove_and_seal(attempt, answer, document=document(authority))
    flipped = msgspec.structs.replace(finish, sealed=finish.sealed[:-1] + bytes([finish.sealed[-1] ^ 1]))

    host, refusal = answer_finish(host, flipped, draw=NEXT, now=2.0)

    assert isinstance(refusal, Denied)
    assert host.paired is None


CHANGES: dict[str, Callable[[Hello], Hello]] = {
    "of-another-host": lambda hello: msgspec.structs.replace(hello, id="host2"),
    "an-old-one": lambda hello: msgspec.structs.replace(hello, echo="older"),
    "of-a-paired-host": lambda hello: msgspec.structs.replace(hello, state="paired"),
    "of-a-locked-host": lambda hello: msgspec.structs.replace(hello, state="locked"),
}


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_a_hello_is_of_that_host_and_of_now(name: str) -> None:
    hello = describe(fresh_host(), nonce="n", now=1.0)
    check_hello(hello, id="host1", nonce="n")

    with pytest.raises(Refused):
        check_hello(CHANGES[name](hello), id="host1", nonce="n")


PARSERS: list[Callable[[bytes], object]] = [
    lambda content: parse_message(content, Hello),
    lambda content: parse_message(content, Start),
    lambda content: parse_message(content, Started),
    lambda content: parse_message(content, Finish),
    lambda content: parse_message(content, Finished),
]


@given(st.binary(max_size=300))
def test_no_bytes_break_a_parser(content: bytes) -> None:
    for parse in PARSERS:
        with pytest.raises(ProtocolError):
            parse(b"\x00" + content)


def test_a_message_has_a_size() -> None:
    with pytest.raises(ProtocolError, match="over"):
        parse_message(b" " * (MAX_MESSAGE_BYTES + 1), Hello)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"session": "../x"}, id="session-no-id"),
        pytest.param({"session": "a" * 65}, id="session-long"),
        pytest.param({"fingerprint": "xyz"}, id="fingerprint-no-hex"),
        pytest.param({"site": "s" * 81}, id="site-long"),
    ],
)
def test_a_start_that_names_nonsense_is_refused(change: dict[str, str], authority: Authority) -> None:
    _, start = start_run(fresh_host(), authority)
    content = {**msgspec.to_builtins(start), **change}

    with pytest.raises(ProtocolError):
        parse_message(msgspec.json.encode(content), Start)


@settings(max_examples=15, deadline=None)
@given(guess=st.text("0123456789", min_size=6, max_size=6))
def test_only_the_code_itself_opens(guess: str, authority: Authority) -> None:
    host = fresh_host()
    attempt, start = start_run(host, authority, code=guess)
    host, answer = started(host, start)
    _, finish = prove_and_seal(attempt, answer, document=document(authority))

    host, _ = answer_finish(host, finish, draw=NEXT, now=2.0)

    assert (host.paired is not None) == (guess == CODE)
