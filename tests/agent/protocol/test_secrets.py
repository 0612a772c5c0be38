"""A secret shows only to those who ask for it by name."""

import json
import traceback

import pytest

from agent.protocol.secrets import SecretText

SECRET = SecretText("hunter2")


@pytest.mark.parametrize(
    "shown",
    [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET!r}", f"{SECRET:>9}", f"{[SECRET]}", f"%s {SECRET}"],
)
def test_no_representation_shows_it(shown: str) -> None:
    assert "hunter2" not in shown
    assert "****" in shown


def test_it_is_revealed_when_asked() -> None:
    assert SECRET.reveal() == "hunter2"


def test_it_does_not_travel_by_accident() -> None:
    with pytest.raises(TypeError) as caught:
        json.dumps({"token": SECRET})
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_equal_texts_are_equal_secrets() -> None:
    assert SecretText("a") == SecretText("a") != SecretText("b")
    assert SecretText("a") != "a"
    assert len({SecretText("a"), SecretText("a")}) == 1
    assert SecretText("a")
    assert not SecretText("")
