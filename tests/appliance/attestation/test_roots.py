"""The folder of TPM makers: what may be added, what is there, and that a change is seen."""

import os
from pathlib import Path

import pytest

from appliance.attestation.roots import (
    MAX_FILE_BYTES,
    RootsFault,
    TrustedRoots,
    add_roots,
    list_roots,
    load_roots,
    remove_root,
)
from tests.appliance.attestation.makers import issue, make_authority, pem, rsa_key

ROOT = make_authority("Maker Root")
MIDDLE = ROOT.authority("Maker CA")
LEAF = issue(MIDDLE, rsa_key(1).public_key())


def test_what_was_added_is_sorted_into_roots_intermediates_and_revocations(tmp_path: Path) -> None:
    added = add_roots(tmp_path, pem(ROOT.certificate, MIDDLE.certificate, MIDDLE.revoke(LEAF)))

    assert [root.kind for root in added] == ["root", "intermediate", "revocations"]
    loaded = load_roots(tmp_path)
    assert list(loaded.anchors) == [ROOT.certificate]
    assert list(loaded.intermediates) == [MIDDLE.certificate]
    assert len(loaded.revocations) == 1
    assert {root.name for root in list_roots(tmp_path)} == {"CN=Maker Root", "CN=Maker CA"}


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    add_roots(tmp_path, pem(ROOT.certificate))
    add_roots(tmp_path, pem(ROOT.certificate))

    assert len(list_roots(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "no certificate", id="empty"),
        pytest.param(b"\x30\x82" * 50, "no certificate", id="DER"),
        pytest.param(b"x" * (MAX_FILE_BYTES + 1), "over", id="too large"),
        pytest.param(
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read", id="garbage"
        ),
        pytest.param(pem(LEAF), "is no authority", id="a TPM's own"),
        pytest.param(pem(ROOT.certificate, LEAF), "is no authority", id="a good one and a bad one"),
    ],
)
def test_what_cannot_be_trusted_is_refused_whole(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(RootsFault, match=said):
        add_roots(tmp_path, content)

    assert list_roots(tmp_path) == []


def test_what_is_removed_is_gone_and_the_unknown_is_said(tmp_path: Path) -> None:
    (root,) = add_roots(tmp_path, pem(ROOT.certificate))

    assert remove_root(tmp_path, root.id) == root
    assert list_roots(tmp_path) == []
    for unknown in (root.id, "../../etc/passwd"):
        with pytest.raises(RootsFault, match="id"):
            remove_root(tmp_path, unknown)


def test_a_change_of_the_folder_is_seen(tmp_path: Path) -> None:
    trusted = TrustedRoots(tmp_path / "roots")
    assert not trusted.current().anchors

    add_roots(tmp_path / "roots", pem(ROOT.certificate))
    assert list(trusted.current().anchors) == [ROOT.certificate]
    assert trusted.current() is trusted.current()

    remove_root(tmp_path / "roots", list_roots(tmp_path / "roots")[0].id)
    os.utime(tmp_path / "roots", ns=(1, 1))  # whatever the clock's grain
    assert not trusted.current().anchors


def test_a_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    add_roots(tmp_path, pem(ROOT.certificate))
    (tmp_path / "x.pem").write_bytes(b"nothing")

    with pytest.raises(RootsFault, match=r"x\.pem is no certificate"):
        TrustedRoots(tmp_path).current()
