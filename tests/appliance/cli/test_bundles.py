"""`skerry bundle`: the whole way across the air gap, and each refusal on it."""

import json
from pathlib import Path

import pytest

from appliance.resources.core import CONFIG_MAP
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from bundles.images.small import build_small_image
from tests.appliance.bundling import make_bundle
from tests.appliance.cli.typing_in import Terminal
from tests.appliance.running import Appliance
from tests.mirror.running import RunningMirror


def test_from_key_to_mirror(skerry: Terminal, appliance: Appliance, tmp_path: Path) -> None:
    digest = build_small_image(tmp_path / "layout", name="way", version="v1")
    key, public, bundle = (str(tmp_path / name) for name in ("floor.key", "floor.pub", "way.bundle"))

    assert skerry("bundle", "keygen", str(tmp_path / "floor")).code == 0
    packed = skerry(
        "bundle",
        "pack",
        f"{tmp_path}/layout=skerry/way-os:v1",
        "--key",
        key,
        "--output",
        bundle,
        "--name",
        "way",
    )
    verified = skerry("bundle", "verify", bundle, "--trust", public)
    trusted = skerry("bundle", "trust", public)
    dry = skerry("bundle", "load", bundle, "--dry-run")
    loaded = skerry("bundle", "load", bundle)
    listed = skerry("bundle", "list", "-o", "wide")
    again = skerry("bundle", "load", bundle, "-o", "json", "--wait")

    assert packed.out.startswith("bundle/way packed: 1 images, ")
    assert digest in packed.out
    assert verified.out.startswith("bundle/way verified: ")
    assert trusted.out.startswith("key/floor ")
    assert dry.code == 0
    assert [line.split()[:3] for line in dry.out.splitlines()[2:]] == [["skerry/way-os:v1", "v1", "new"]]
    assert "would be copied; 0 are there (dry run)" in dry.err
    assert loaded.code == 0
    assert loaded.out.split()[1:] == ["load-bundle", "succeeded"]
    assert [line.split()[0] for line in listed.out.splitlines() if "way-os:v1" in line] == ["way"]
    result = json.loads(again.out)["result"]
    assert (result["blobsWritten"], result["images"]) == (0, ["skerry/way-os:v1"])
    version = appliance.client().get_object(MANAGED_OS_VERSION, "way-os-v1")
    assert version["spec"]["metadata"]["upgradeImage"] == f"{appliance.mirror}/skerry/way-os@{digest}"


def test_an_image_of_a_registry_is_packed(skerry: Terminal, tmp_path: Path) -> None:
    assert skerry("bundle", "keygen", str(tmp_path / "floor")).code == 0
    (tmp_path / "out").mkdir()
    with RunningMirror(tmp_path / "root") as registry:
        digest = registry.push_image("upstream/app", "1.2")

        packed = skerry(
            *("bundle", "pack", f"docker://{registry.address}/upstream/app:1.2=apps/app:v1", "--plain-http"),
            *("--key", str(tmp_path / "floor.key"), "--output", str(tmp_path / "out/b"), "--name", "b"),
        )

    assert packed.code == 0, packed.err
    assert packed.out.splitlines()[2].split() == ["apps/app:v1", "v1", digest]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    verified = skerry("bundle", "verify", str(tmp_path / "out/b"), "--trust", str(tmp_path / "floor.pub"))
    assert verified.code == 0


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("docker://127.0.0.1:1/a:v1=a:v1", 1, "127.0.0.1:1"),
        ("docker://a:v1=a:v1", 2, "names no registry"),
        ("docker://127.0.0.1:1/a:v1", 2, "is not SOURCE=REPOSITORY:TAG"),
    ],
)
def test_a_registry_that_cannot_be_used_leaves_nothing(
    skerry: Terminal, tmp_path: Path, source: str, code: int, said: str
) -> None:
    assert skerry("bundle", "keygen", str(tmp_path / "floor")).code == 0

    refused = skerry(
        *("bundle", "pack", source, "--plain-http", "--key", str(tmp_path / "floor.key")),
        *("--output", str(tmp_path / "b"), "--name", "b"),
    )

    assert (refused.code, said in refused.err) == (code, True), refused.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["floor.key", "floor.pub"]


def test_progress_is_talk_and_the_outcome_is_data(
    skerry: Terminal, appliance: Appliance, tmp_path: Path
) -> None:
    made = make_bundle(tmp_path, name="talk")
    appliance.client().trust("talk", made.public_key)

    outcome = skerry("bundle", "load", str(made.path), "-o", "json", "--wait")

    assert json.loads(outcome.out)["state"] == "succeeded"
    for line in outcome.err.splitlines():
        assert json.loads(line)["state"] in ("queued", "running", "succeeded")


def test_with_json_a_load_is_not_waited_for_unless_asked(
    skerry: Terminal, appliance: Appliance, tmp_path: Path
) -> None:
    made = make_bundle(tmp_path, name="nowait")
    appliance.client().trust("nowait", made.public_key)

    started = json.loads(skerry("bundle", "load", str(made.path), "-o", "json").out)
    followed = skerry("operation", "follow", started["id"])

    assert started["kind"] == "load-bundle"
    assert (followed.code, followed.out) == (0, f"operation/{started['id']} load-bundle succeeded\n")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage_blob(bundle: Path) -> None:
    flip(max((bundle / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size))


def remove_blob(bundle: Path) -> None:
    max((bundle / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size).unlink()


def damage_manifest(bundle: Path) -> None:
    flip(bundle / "bundle.json")


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("flipped", damage_blob, "DigestMismatch"),
        ("missing", remove_blob, "MissingBlob"),
        ("altered", damage_manifest, "BadSignature"),
    ],
)
def test_a_spoiled_bundle_is_exit_code_6_and_leaves_no_trace(
    skerry: Terminal, appliance: Appliance, tmp_path: Path, name: str, spoil: object, reason: str
) -> None:
    made = make_bundle(tmp_path, name=name)
    appliance.client().trust(name, made.public_key)
    assert callable(spoil)
    spoil(made.path)

    outcome = skerry("bundle", "load", str(made.path), "-o", "json", "--wait")
    public = tmp_path / "signer.pub"
    public.write_text(made.public_key)
    verified = skerry("bundle", "verify", str(made.path), "--trust", str(public))

    assert (outcome.code, verified.code) == (6, 6)
    assert json.loads(outcome.err.splitlines()[-1])["reason"] == reason
    client = appliance.client()
    assert client.list_objects(MANAGED_OS_VERSION, labels=f"skerry.dev/bundle={name}") == []
    assert client.list_objects(CONFIG_MAP, labels=f"skerry.dev/bundle={name}") == []


def test_an_unknown_signer_is_exit_code_6(skerry: Terminal, tmp_path: Path) -> None:
    made = make_bundle(tmp_path, name="stranger")

    outcome = skerry("bundle", "load", str(made.path))

    assert outcome.code == 6
    assert "does not trust" in outcome.err


def test_what_is_no_bundle_is_refused(skerry: Terminal, tmp_path: Path) -> None:
    assert skerry("bundle", "load", str(tmp_path)).code == 6
    assert skerry("bundle", "load", str(tmp_path / "nothing")).code == 6


@pytest.mark.parametrize(
    "content", [b"", b"not a key", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\n" + b"A" * 20000]
)
def test_what_is_no_key_is_not_trusted(skerry: Terminal, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pub").write_bytes(content)

    outcome = skerry("bundle", "trust", str(tmp_path / "bad.pub"))

    assert (outcome.code, outcome.out) == (1, "")
    names = [item["name"] for item in json.loads(skerry("bundle", "trust", "-o", "json").out)["items"]]
    assert "bad" not in names


@pytest.mark.parametrize("name", ["../../etc/cron", ".hidden", "a/b", "a b", "x" * 100])
def test_a_keys_name_cannot_leave_its_directory(
    skerry: Terminal, appliance: Appliance, tmp_path: Path, name: str
) -> None:
    (tmp_path / "k.pub").write_text(make_bundle(tmp_path, name="named").public_key)

    outcome = skerry("bundle", "trust", str(tmp_path / "k.pub"), "--name", name)

    assert outcome.code == 1
    assert not (appliance.data.parent / "etc").exists()


def test_packing_says_what_is_wrong_with_its_sources(lonely: Terminal, tmp_path: Path) -> None:
    lonely("bundle", "keygen", str(tmp_path / "k"))
    key = str(tmp_path / "k.key")

    shapeless = lonely(
        "bundle", "pack", "layout", "--key", key, "--output", str(tmp_path / "b"), "--name", "b"
    )
    missing = lonely(
        "bundle", "pack", f"{tmp_path}/no=a:b", "--key", key, "--output", str(tmp_path / "b"), "--name", "b"
    )
    no_key = lonely(
        "bundle", "pack", "x=a:b", "--key", f"{tmp_path}/no", "--output", str(tmp_path / "b"), "--name", "b"
    )

    assert (shapeless.code, missing.code, no_key.code) == (2, 1, 1)
    assert not (tmp_path / "b").exists()


def test_verify_needs_to_know_whom_to_trust(lonely: Terminal, tmp_path: Path) -> None:
    assert lonely("bundle", "verify", str(tmp_path)).code == 2
