"""Garbage collection: what goes, what stays, what is only told, and what the races come to."""

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from mirror.collection import GRACE_SECONDS, Collected, collect
from mirror.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, RequestInvalid
from mirror.oci import OCI_MANIFEST, Digest, digest_of
from mirror.registry import Registry
from mirror.verification import verify
from tests.mirror.pushing import CONFIG, push_blob, push_image, push_index
from tests.mirror.running import descriptor, image_manifest

OTHER_TYPE = "application/vnd.example.list+json"


def collect_later(registry: Registry, *, keep: tuple[Digest, ...] = (), dry_run: bool = False) -> Collected:
    """Collect when every lease is over."""
    return collect(registry, now=lambda: time.time() + 2 * GRACE_SECONDS, keep=keep, dry_run=dry_run)


def digests(collected: Collected) -> set[str]:
    return {each.digest for each in collected.garbage}


def test_what_a_tag_reaches_stays(registry: Registry) -> None:
    child = push_image(registry, "a", b"layer")
    push_index(registry, "a", child, tag="v1")

    assert collect_later(registry).garbage == []
    assert registry.get_manifest("a", child).digest == child
    assert registry.has_blob(digest_of(b"layer"), "a")


def test_what_nothing_reaches_goes_with_its_reason(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")
    push_blob(registry, "a", b"loose")
    push_blob(registry, "b", b"unlinked")
    registry.delete_blob("b", digest_of(b"unlinked"))

    collected = collect_later(registry)

    reasons = {each.digest: each.reason for each in collected.garbage}
    assert reasons == {
        image: "untagged",
        digest_of(CONFIG): "unreferenced",
        digest_of(b"layer"): "unreferenced",
        digest_of(b"loose"): "unreferenced",
        digest_of(b"unlinked"): "unlinked",
    }
    assert collected.bytes == sum(each.size for each in collected.garbage) > 0
    assert list(registry.blobs.files()) == []
    assert registry.list_repositories() == []


def test_a_deleted_tag_frees_only_what_no_other_image_shares(registry: Registry) -> None:
    push_image(registry, "a", b"layer 1", "v1")
    push_image(registry, "a", b"layer 2", "v2")
    registry.delete_tag("a", "v1")

    collect_later(registry)

    assert not registry.has_blob(digest_of(b"layer 1"))
    assert registry.has_blob(digest_of(b"layer 2"), "a")
    assert registry.has_blob(digest_of(CONFIG), "a")


def test_content_stays_for_the_repository_that_still_names_it(registry: Registry) -> None:
    push_image(registry, "a", b"layer", "v1")
    push_blob(registry, "b", b"layer")

    collected = collect_later(registry)

    assert collected.garbage == []
    assert registry.has_blob(digest_of(b"layer"), "a")
    assert not registry.has_blob(digest_of(b"layer"), "b")


def test_referrers_stay_as_long_as_their_subject(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer", "v1")
    content = registry.get_manifest("a", image).content
    signature = push_image(registry, "a", b"signature", subject=descriptor(content, OCI_MANIFEST))

    assert collect_later(registry).garbage == []
    registry.delete_tag("a", "v1")
    assert {image, signature} < digests(collect_later(registry))


def test_a_signature_with_a_tag_does_not_keep_what_it_signs(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")
    content = registry.get_manifest("a", image).content
    push_image(registry, "a", b"signature", "sig", subject=descriptor(content, OCI_MANIFEST))

    assert image in digests(collect_later(registry))
    assert registry.has_manifest("a", "sig")


def test_whatever_an_unknown_type_names_stays(registry: Registry) -> None:
    blob = push_blob(registry, "a", b"part")
    registry.put_manifest("a", b'{"parts":[{"deep":"%s"}]}' % blob.encode(), OTHER_TYPE, reference="v1")

    assert collect_later(registry).garbage == []


def test_nothing_goes_within_its_grace(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")

    collected = collect(registry)

    assert collected.garbage == []
    assert collected.waiting == 0, "a young manifest is a root, with all that it names"
    assert registry.has_manifest("a", image)


def test_unreachable_content_within_its_grace_is_counted(registry: Registry) -> None:
    push_blob(registry, "a", b"loose")

    collected = collect(registry)

    assert (collected.waiting, collected.waiting_bytes) == (1, 5)
    assert registry.has_blob(digest_of(b"loose"), "a")


def test_whoever_asks_for_a_blob_gets_a_new_lease(registry: Registry) -> None:
    push_blob(registry, "a", b"loose")
    path = registry.blobs.path(digest_of(b"loose"))
    for ask in (
        lambda: registry.has_blob(digest_of(b"loose")),
        lambda: registry.blob_size("a", digest_of(b"loose")),
        lambda: registry.link_blob("a", digest_of(b"loose")),
        lambda: push_blob(registry, "b", b"loose"),
    ):
        os.utime(path, (0, 0))
        ask()
        assert collect(registry).garbage == []


def test_a_manifest_asked_for_by_digest_keeps_all_that_it_names(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")
    for file in list(registry.blobs.files()):
        os.utime(registry.blobs.path(file.digest), (0, 0))

    assert registry.has_manifest("a", image)

    assert collect(registry).garbage == []
    assert registry.has_blob(digest_of(b"layer"), "a")


def test_manifests_that_others_hold_by_digest_stay(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")

    assert collect_later(registry, keep=(image,)).garbage == []


def test_a_dry_run_tells_and_does_nothing(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")

    told = collect_later(registry, dry_run=True)

    assert told.is_dry_run
    assert registry.has_manifest("a", image)
    assert digests(told) == digests(collect_later(registry))
    assert told.by_reason() == {
        "untagged": (1, len(image_manifest(CONFIG, b"layer"))),
        "unreferenced": (2, len(CONFIG) + len(b"layer")),
    }


def test_a_grace_that_leases_do_not_cover_is_refused(registry: Registry) -> None:
    with pytest.raises(RequestInvalid, match="too short"):
        collect(registry, grace_seconds=60)


def test_an_open_pull_is_read_to_its_end(registry: Registry) -> None:
    push_blob(registry, "a", b"being read")
    fd = registry.open_blob("a", digest_of(b"being read"))

    collect_later(registry)

    assert os.pread(fd, 100, 0) == b"being read"
    os.close(fd)


def test_it_can_be_stopped_anywhere_and_run_again(registry: Registry) -> None:
    for number in range(200):
        push_blob(registry, "a", b"%d" % number)

    class Killed(Exception):
        pass

    def stop_in_the_middle(phase: str, done: int, total: int) -> None:
        if done:
            raise Killed

    with pytest.raises(Killed):
        collect(registry, now=lambda: time.time() + 2 * GRACE_SECONDS, progress=stop_in_the_middle)
    assert 0 < len(list(registry.blobs.files())) < 200
    assert verify(registry).is_sound
    collect_later(registry)
    assert list(registry.blobs.files()) == []


def test_a_manifest_whose_blob_went_meanwhile_is_refused(registry: Registry) -> None:
    push_blob(registry, "a", CONFIG)
    registry.blobs.delete(digest_of(CONFIG))

    with pytest.raises(ManifestBlobUnknown):
        registry.put_manifest("a", image_manifest(CONFIG), OCI_MANIFEST, reference="v1")
    with pytest.raises(BlobUnknown):
        registry.link_blob("b", digest_of(CONFIG))


def test_a_tag_comes_either_before_or_after_a_collection(registry: Registry) -> None:
    image = push_image(registry, "a", b"layer")
    collect_later(registry)

    with pytest.raises(ManifestUnknown):
        registry.put_tags("a", ["v1"], image)
    assert verify(registry).is_sound


def test_what_is_renewed_while_it_is_swept_stays(registry: Registry, tmp_path: Path) -> None:
    digest = push_blob(registry, "a", b"loose")
    registry.delete_blob("a", digest)
    os.utime(registry.blobs.path(digest), (0, 0))

    def renew(phase: str, done: int, total: int) -> None:
        if phase == "sweeping" and not done:
            registry.link_blob("b", digest)

    assert collect(registry, progress=renew).garbage == []
    assert registry.has_blob(digest, "b")


def test_a_renewal_waits_for_whoever_is_deleting(registry: Registry) -> None:
    digest = push_blob(registry, "a", b"loose")
    os.utime(registry.blobs.path(digest), (0, 0))
    answers: list[bool] = []
    with registry.blobs.locked(fcntl.LOCK_EX):
        asking = threading.Thread(target=lambda: answers.append(registry.has_blob(digest)))
        asking.start()
        registry.blobs.delete(digest)
    asking.join()

    assert answers == [False]
