"""Pulling by digest: all of it checked, interrupted pulls resumed, refusals with numbers and no leftovers."""

import os
import resource
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config import MirrorConfig
from agent.errors import Denied, DigestMismatch, ImageInvalid, NoSpace, Unreachable
from agent.host import Host
from agent.image import load_pulled, pull, resolve
from agent.reference import parse_reference
from agent.registry import MAX_MANIFEST_BYTES, Registry, open_registry
from tests.agent.registries import INDEX, LAYER, RunningRegistry, add_file, digest_of, make_layer


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    running = RunningRegistry()
    yield running
    running.close()


def client(registry: RunningRegistry) -> Registry:
    return Registry(registry.address, context=None, timeout=5)


def put_payload(registry: RunningRegistry, size: int = 300_000) -> tuple[str, str]:
    """Store an image of one incompressible layer; return its digest and the layer's."""
    layer = make_layer(lambda archive: add_file(archive, "payload", os.urandom(size)))
    return registry.content.put_image(layer, version="v1"), digest_of(layer[0])


def test_a_pull_leaves_verified_blobs_and_says_what_they_are(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    digest, layer = put_payload(registry)
    seen: list[int] = []

    image = pull(
        parse_reference(registry.reference(digest)),
        tmp_path / "pull",
        registry=client(registry),
        progress=seen.append,
    )

    assert (image.digest, image.version) == (digest, "v1")
    assert digest_of(image.layers[0].path.read_bytes()) == layer
    assert seen == sorted(seen)
    assert load_pulled(tmp_path / "pull") == image


def test_an_interrupted_blob_goes_on_where_it_stopped(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, layer = put_payload(registry)
    registry.content.limits[layer] = 100_000

    pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))

    ranges = [request.range for request in registry.content.requests if layer in request.path]
    assert ranges == ["", "bytes=100000-"]


def test_a_server_without_ranges_starts_the_blob_again(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, layer = put_payload(registry)
    registry.content.limits[layer] = 100_000
    registry.content.ignores_ranges = True

    image = pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))

    assert digest_of(image.layers[0].path.read_bytes()) == layer


def test_what_is_there_is_not_fetched_again(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, _ = put_payload(registry)
    reference = parse_reference(registry.reference(digest))
    pull(reference, tmp_path, registry=client(registry))
    registry.content.requests.clear()

    pull(reference, tmp_path, registry=client(registry))

    assert not [request for request in registry.content.requests if "/blobs/" in request.path]


def test_a_pull_of_another_image_drops_what_the_last_one_left(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    first, layer = put_payload(registry)
    pull(parse_reference(registry.reference(first)), tmp_path, registry=client(registry))
    second, _ = put_payload(registry)

    pull(parse_reference(registry.reference(second)), tmp_path, registry=client(registry))

    assert layer.removeprefix("sha256:") not in {path.name for path in tmp_path.iterdir()}


def test_a_tampered_blob_is_refused_and_not_kept(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, layer = put_payload(registry)
    blob = bytearray(registry.content.blobs[layer])
    blob[len(blob) // 2] ^= 1
    registry.content.blobs[layer] = bytes(blob)

    with pytest.raises(DigestMismatch, match="a blob of"):
        pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))

    assert not [path for path in tmp_path.iterdir() if layer.removeprefix("sha256:") in path.name]


def test_a_tampered_manifest_is_refused(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, _ = put_payload(registry)
    content, media_type = registry.content.manifests[digest]
    registry.content.manifests[digest] = (content + b" ", media_type)

    with pytest.raises(DigestMismatch, match="the manifest of"):
        pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))


def test_a_blob_longer_than_announced_is_refused(tmp_path: Path, registry: RunningRegistry) -> None:
    digest, layer = put_payload(registry)
    registry.content.blobs[layer] += b"more"

    with pytest.raises(ImageInvalid, match="longer than"):
        pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))


def test_an_oversized_manifest_is_refused(registry: RunningRegistry) -> None:
    digest = registry.content.put_manifest({"padding": "x" * MAX_MANIFEST_BYTES})

    with pytest.raises(ImageInvalid, match="larger than"):
        resolve(parse_reference(registry.reference(digest)), client(registry))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"config": {"digest": "sha256:../../x", "size": 1}, "layers": []},
        {"config": {"digest": "sha256:" + "0" * 64, "size": -1}, "layers": []},
        {"config": {"digest": "sha256:" + "0" * 64, "size": 1}, "layers": 3},
        {
            "config": {"digest": "sha256:" + "0" * 64, "size": 1},
            "layers": [{"digest": "sha256:" + "0" * 64, "size": 1}] * 501,
        },
        {"config": {"digest": "sha256:" + "0" * 64, "size": 2**40}, "layers": []},
    ],
    ids=["empty", "digest", "negative", "layers", "many", "config size"],
)
def test_a_malformed_manifest_is_refused(registry: RunningRegistry, document: dict[str, object]) -> None:
    digest = registry.content.put_manifest(document)

    with pytest.raises(ImageInvalid):
        resolve(parse_reference(registry.reference(digest)), client(registry))


def test_an_index_leads_to_the_image_of_this_architecture(registry: RunningRegistry) -> None:
    digest, _ = put_payload(registry)
    size = len(registry.content.manifests[digest][0])
    index = registry.content.put_manifest(
        {
            "mediaType": INDEX,
            "manifests": [
                {
                    "digest": "sha256:" + "0" * 64,
                    "size": 1,
                    "platform": {"os": "plan9", "architecture": "mips"},
                },
                {"digest": digest, "size": size},
            ],
        },
        media_type=INDEX,
    )

    found, manifest = resolve(parse_reference(registry.reference(index)), client(registry))

    assert found == index
    assert len(manifest.layers) == 1


def test_an_index_without_this_architecture_is_refused(registry: RunningRegistry) -> None:
    foreign = {"os": "plan9", "architecture": "mips"}
    index = registry.content.put_manifest(
        {"mediaType": INDEX, "manifests": [{"digest": "sha256:" + "0" * 64, "size": 1, "platform": foreign}]},
        media_type=INDEX,
    )

    with pytest.raises(ImageInvalid, match="no image for"):
        resolve(parse_reference(registry.reference(index)), client(registry))


def test_an_unknown_image_and_a_dead_mirror_say_so(tmp_path: Path, registry: RunningRegistry) -> None:
    with pytest.raises(Denied, match="404"):
        resolve(parse_reference(registry.reference("sha256:" + "0" * 64)), client(registry))
    dead = Registry("127.0.0.1:1", context=None, timeout=1)
    with pytest.raises(Unreachable, match="cannot be reached"):
        resolve(parse_reference("127.0.0.1:1/os@sha256:" + "0" * 64), dead)


def test_tls_is_never_given_up(registry: RunningRegistry) -> None:
    """The mirror speaks plain HTTP; without `plain-http` that is a failure, not a fallback."""
    secure = open_registry(registry.address, MirrorConfig(), host=Host())

    with pytest.raises(Unreachable):
        resolve(parse_reference(registry.reference("sha256:" + "0" * 64)), secure)


def test_a_volume_that_is_too_small_is_refused_before_anything_is_fetched(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    huge = {"digest": "sha256:" + "1" * 64, "size": 2**50, "mediaType": LAYER}
    config = registry.content.put_blob(b"{}")
    digest = registry.content.put_manifest({"config": config, "layers": [huge]})

    with pytest.raises(NoSpace, match=r"needs 107374\d+ MiB .* has \d+ MiB free"):
        pull(parse_reference(registry.reference(digest)), tmp_path, registry=client(registry))

    assert not [request for request in registry.content.requests if "/blobs/" in request.path]


def test_a_disk_that_fills_up_in_the_middle_is_a_clean_refusal_and_can_be_retried(
    tmp_path: Path, registry: RunningRegistry
) -> None:
    digest, _ = put_payload(registry)
    reference = parse_reference(registry.reference(digest))

    def pull_with_little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(NoSpace, match="no space left"):
            pull(reference, tmp_path / "pull", registry=client(registry))

    run_in_child(pull_with_little_room)
    leftovers = [path for path in (tmp_path / "pull").iterdir() if path.suffix == ".partial"]
    image = pull(reference, tmp_path / "pull", registry=client(registry))

    assert leftovers == []
    assert image.digest == digest


def run_in_child(act: object) -> None:
    child = os.fork()
    if child == 0:
        try:
            assert callable(act)
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
