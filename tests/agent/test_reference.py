"""Image references: what plans write is understood, everything else is refused."""

import pytest

from agent.errors import ImageInvalid
from agent.reference import ImageReference, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"10.0.0.1:5000/os/base@{DIGEST}", ImageReference("10.0.0.1:5000", "os/base", digest=DIGEST)),
        (f"oci://h:1/a:v1@{DIGEST}", ImageReference("h:1", "a", "v1", DIGEST)),
        ("oci:h/a/b:v1.2_3", ImageReference("h", "a/b", "v1.2_3")),
        ("docker:[::1]:5000/a", ImageReference("[::1]:5000", "a", "latest")),
    ],
)
def test_the_forms_in_use_are_read(text: str, expected: ImageReference) -> None:
    assert parse_reference(text) == expected


def test_the_digest_wins() -> None:
    assert parse_reference(f"h:1/a:v1@{DIGEST}").version == DIGEST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "debian",
        "h:1/",
        "h:1/A",
        "h:1/../etc",
        "h:1/a@sha256:short",
        f"h:1/a@sha512:{'a' * 128}",
        "h:1/a:",
        "h:1/a:-x",
        "user@h:1/a",
        "h:1/a\r\nX: y",
        "h:999999/a",
        "h/" + "a" * 2000,
        "dir:///run/rootfsbase",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ImageInvalid):
        parse_reference(text)
