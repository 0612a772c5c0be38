"""Which repositories may answer for another registry's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import RequestInvalid
from mirror.upstreams import candidate_repositories, upstream_of

HOSTS = st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,3}(:[0-9]{1,5})?", fullmatch=True)


@pytest.mark.parametrize(
    ("namespace", "repository", "candidates"),
    [
        ("docker.io", "library/x", ("docker.io/library/x", "library/x")),
        ("registry-1.docker.io", "library/x", ("docker.io/library/x", "library/x")),
        ("index.docker.io", "library/x", ("docker.io/library/x", "library/x")),
        ("QUAY.io", "org/app", ("quay.io/org/app", "org/app")),
        ("box.local:5000", "app", ("box.local_5000/app", "app")),
        ("localhost:5000", "app", ("localhost_5000/app", "app")),
        ("10.0.0.7:443", "app", ("10.0.0.7_443/app", "app")),
        ("quay.io", "quay.io/app", ("quay.io/quay.io/app", "quay.io/app")),
    ],
)
def test_a_registrys_own_place_comes_before_the_plain_name(
    namespace: str, repository: str, candidates: tuple[str, ...]
) -> None:
    assert candidate_repositories(repository, namespace) == candidates


def test_a_name_that_would_be_too_long_is_looked_for_plainly() -> None:
    repository = "a" * 250

    assert candidate_repositories(repository, "quay.io") == (repository,)


@pytest.mark.parametrize(
    "namespace",
    [
        "",
        "quay.io/org",
        "https://quay.io",
        "../x",
        "quay.io:",
        "quay.io:123456",
        "a_b",
        "-a",
        "a..b",
        "a\n",
        "[::1]:5000",
    ],
)
def test_what_is_no_host_name_is_refused(namespace: str) -> None:
    with pytest.raises(RequestInvalid):
        upstream_of(namespace)


def test_a_host_name_of_any_length_is_answered_at_once() -> None:
    with pytest.raises(RequestInvalid):
        upstream_of("a" * 100_000)


@given(first=HOSTS, second=HOSTS)
def test_no_two_registries_share_a_place(first: str, second: str) -> None:
    assert (upstream_of(first) == upstream_of(second)) == (first == second)
