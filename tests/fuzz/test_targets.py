"""A bounded share of the fuzzing with every run of the tests, and what fuzzing once found."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import change
from tests.fuzz.targets import TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
@given(st.binary(max_size=600))
def test_bytes_of_any_kind_bring_nothing_but_the_declared_errors(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@given(st.randoms(use_true_random=False))
def test_honest_inputs_with_changes_bring_nothing_but_the_declared_errors(
    name: str, chance: random.Random
) -> None:
    TARGETS[name](change(chance.choice(seeds(name)), chance))


@pytest.mark.parametrize("name", TARGETS)
def test_honest_inputs_keep_every_promise(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)
