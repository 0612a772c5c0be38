"""The file that remembers a registration, shared with Elemental's client."""

import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from agent.errors import StateInvalid
from agent.registration_state import RegistrationState, load_state, mark_registered, write_state


def test_upstreams_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.yaml"
    path.write_text(
        "initialRegistration: 2026-11-20T19:05:01.894092196Z\nemulatedTPM: true\nemulatedTPMSeed: 42\n"
    )

    state = load_state(path)

    assert state == RegistrationState(
        initial_registration="2026-11-20T19:05:01.894092196Z", emulated_tpm=True, emulated_tpm_seed=42
    )
    assert state.is_registered


@pytest.mark.parametrize("content", [None, "", "{}\n", "initialRegistration: 0001-01-01T00:00:00Z\n"])
def test_a_host_that_never_registered_has_no_time(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "state.yaml"
    if content is not None:
        path.write_text(content)

    assert not load_state(path).is_registered


def test_what_is_written_is_read_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "registration" / "state.yaml"
    state = RegistrationState(initial_registration="2026-11-20T19:05:01Z", emulated_tpm_seed=-5)

    write_state(path, state)

    assert load_state(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_first_success_gives_the_time_and_it_stays() -> None:
    first = mark_registered(
        RegistrationState(), at=datetime(2026, 11, 20, 20, 5, tzinfo=timezone(timedelta(hours=1)))
    )
    later = mark_registered(first, at=datetime(2027, 1, 1, tzinfo=UTC))

    assert first.initial_registration == "2026-11-20T19:05:00Z"
    assert later == first


@pytest.mark.parametrize(
    "content", [b"[", b"[]", b"emulatedTPMSeed: many", b"\xff", b"a: &a 1\nb: *a", b"#" * 70_000]
)
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.yaml"
    path.write_bytes(content)

    with pytest.raises(StateInvalid, match="registration state") as caught:
        load_state(path)

    assert "from scratch" in caught.value.hint
