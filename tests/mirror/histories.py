"""Random histories of one mirror, told step by step to a model of what was acknowledged.

`python -m tests.mirror.histories ROOT SEED` plays one until it is killed, and prints each acknowledgement,
one JSON line each, after it was given: so whoever kills it knows what must be there.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mirror.collection import GRACE_SECONDS, collect
from mirror.errors import BlobUnknown, ManifestBlobUnknown, ManifestUnknown, NameUnknown, NoSpace
from mirror.limits import DEFAULT_LIMITS, Limits
from mirror.oci import OCI_MANIFEST, Digest, digest_of
from mirror.registry import Registry
from mirror.verification import verify
from tests.mirror.pushing import push_blob, push_index
from tests.mirror.running import image_manifest

LIMITS = replace(DEFAULT_LIMITS, upload_age_seconds=1e9)
REPOSITORIES = ("a", "b", "team/c")
TAGS = ("v1", "v2", "latest")
UNKNOWN = (BlobUnknown, ManifestBlobUnknown, ManifestUnknown, NameUnknown)


@dataclass
class Model:
    """What was acknowledged: tags with the digest they point to, and what images need."""

    tags: dict[tuple[str, str], Digest] = field(default_factory=dict)
    needs: dict[Digest, list[Digest]] = field(default_factory=dict)


class History:
    def __init__(self, root: Path, seed: int, *, limits: Limits = LIMITS) -> None:
        self.root = root
        self.model = Model()
        self.refused = 0
        self.registry = Registry(root, limits=limits)
        self._limits = limits
        self._random = random.Random(seed)
        self._steps: list[Callable[[], None]] = [
            *[self._push_image] * 5,
            *[self._push_blob] * 2,
            *[self._retag] * 2,
            *[self._delete_tag] * 2,
            *[self._delete_manifest] * 2,
            self._push_index,
            self._mount,
            self._delete_blob,
            self._leave_upload_open,
            self._leave_intake_open,
            self._collect_in_vain,
            self._collect,
            self._reopen,
        ]

    def step(self) -> None:
        """What there is no room for is refused, and so never acknowledged."""
        try:
            self._random.choice(self._steps)()
        except NoSpace:
            self.refused += 1

    def check(self) -> None:
        """All that was acknowledged and is reachable is there, proved by digest; nothing else stays."""
        collect(self.registry, now=_when_all_leases_are_over)
        verified = verify(self.registry)
        assert verified.is_sound, verified.findings
        assert (verified.collectable, self.tags()) == (0, self.model.tags)
        for digest in self.model.tags.values():
            for blob in self.model.needs[digest]:
                assert self.registry.has_blob(blob)

    def tags(self) -> dict[tuple[str, str], Digest]:
        holdings = self.registry.index.holdings()
        return {(holdings.repositories[number], tag): to for number, tag, to in holdings.tags}

    def close(self) -> None:
        self.registry.close()

    def _place(self) -> str:
        return self._random.choice(REPOSITORIES)

    def _content(self) -> bytes:
        """From a small pool, so that pushes meet what is there, and what was deleted, again."""
        number = self._random.randrange(40)
        return b"%d" % number * (1 + number * 40)

    def _push_image(self) -> None:
        place, contents = self._place(), [self._content(), self._content()]
        for content in contents:
            if not self.registry.has_blob(digest_of(content), place):
                push_blob(self.registry, place, content)
        manifest = image_manifest(*contents)
        tags = self._random.sample(TAGS, self._random.randrange(3))
        digest = self.registry.push_manifest(
            place, manifest, OCI_MANIFEST, digest=digest_of(manifest), tags=tags
        ).digest
        self.model.needs[digest] = [digest, *map(digest_of, contents)]
        self.model.tags.update({(place, tag): digest for tag in tags})

    def _push_index(self) -> None:
        place = self._place()
        children = [
            digest
            for digest in self._random.sample(sorted(self.model.needs), min(2, len(self.model.needs)))
            if self.registry.has_manifest(place, digest)
        ]
        digest = push_index(self.registry, place, *children, tag="index")
        self.model.needs[digest] = [digest, *(each for child in children for each in self.model.needs[child])]
        self.model.tags[place, "index"] = digest

    def _push_blob(self) -> None:
        push_blob(self.registry, self._place(), self._content())

    def _mount(self) -> None:
        try:
            self.registry.link_blob(self._place(), digest_of(self._content()))
        except UNKNOWN:
            return

    def _retag(self) -> None:
        place, tag = self._place(), self._random.choice(TAGS)
        digest = self._random.choice(sorted(self.model.needs) or [digest_of(b"none")])
        try:
            self.registry.put_tags(place, [tag], digest)
        except UNKNOWN:
            return
        self.model.tags[place, tag] = digest

    def _delete_tag(self) -> None:
        place, tag = self._place(), self._random.choice(TAGS)
        try:
            self.registry.delete_tag(place, tag)
        except UNKNOWN:
            assert (place, tag) not in self.model.tags
        self.model.tags.pop((place, tag), None)

    def _delete_manifest(self) -> None:
        place = self._place()
        digest = self._random.choice(sorted(self.model.needs) or [digest_of(b"none")])
        indexed = {each for to in self.model.tags.values() for each in self.model.needs[to] if each != to}
        if digest in indexed:
            return  # an index without a child is somebody's wish, and no loss
        try:
            self.registry.delete_manifest(place, digest)
        except UNKNOWN:
            return
        self.model.tags = {key: to for key, to in self.model.tags.items() if key[0] != place or to != digest}

    def _delete_blob(self) -> None:
        """Only what no tag needs: deleting a part of an image is allowed, and breaks it as asked."""
        digest = digest_of(self._content())
        if any(digest in self.model.needs[to] for to in self.model.tags.values()):
            return
        for place, manifest in self._manifests_naming(digest):
            self.registry.delete_manifest(place, manifest)
        try:
            self.registry.delete_blob(self._place(), digest)
        except UNKNOWN:
            return

    def _manifests_naming(self, digest: Digest) -> list[tuple[str, Digest]]:
        holdings = self.registry.index.holdings()
        return [
            (holdings.repositories[number], manifest)
            for number, manifest in holdings.manifests
            if digest in self.model.needs.get(manifest, ())
        ]

    def _leave_upload_open(self) -> None:
        upload = self.registry.open_upload(self._place())
        upload.write(self._content())
        upload.pause()
        if self._random.random() < 0.7:
            self.registry.cancel_upload(upload.repository, upload.id)

    def _leave_intake_open(self) -> None:
        content = self._content()
        with self.registry.open_intake() as intake:
            parts = iter([content])

            def read_into(buffer: memoryview) -> int:
                part = next(parts, b"")
                buffer[: len(part)] = part
                return len(part)

            intake.add(read_into, digest_of(content))
            if self._random.random() < 0.5:
                intake.publish()

    def _collect_in_vain(self) -> None:
        collect(self.registry)

    def _collect(self) -> None:
        """Perhaps killed in its middle, as an exception in it is as good as."""
        last = self._random.choice([0, 0, 1])

        def stop(phase: str, done: int, total: int) -> None:
            if last and phase == "sweeping":
                raise _Killed

        try:
            collect(self.registry, now=_when_all_leases_are_over, progress=stop)
        except _Killed:
            return

    def _reopen(self) -> None:
        """Another process's view: nothing is remembered that the disk does not say."""
        before = self.registry
        self.registry = Registry(self.root, limits=self._limits)
        before.close()


class _Killed(Exception):
    pass


def _when_all_leases_are_over() -> float:
    return time.time() + 2 * GRACE_SECONDS


def main() -> None:
    """Play until killed, telling every acknowledged change of the tags."""
    history = History(Path(sys.argv[1]), int(sys.argv[2]))
    while True:
        history.step()
        told = [[place, tag, to, history.model.needs[to]] for (place, tag), to in history.model.tags.items()]
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
