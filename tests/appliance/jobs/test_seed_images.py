"""Media as operations over a real mirror: built from a base, found again, cancelled, cleared away."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance import jobs
from appliance.controllers.media import Build, Medium
from appliance.jobs.build_iso import is_iso_path
from appliance.jobs.seed_images import SeedImageBuilder
from appliance.operations import Operations
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import decode
from appliance.store.base import merge
from appliance.store.sqlite import SqliteStore
from bundles.media.iso import build_iso, read_iso_file
from mirror.registry import Registry
from tests.appliance.mirrored import put_artifact, put_image
from tests.appliance.running import PATIENCE

MIRROR = "10.0.0.1:5000"
NAMESPACE = "fleet-default"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


class Bench:
    def __init__(self, place: Path, store: SqliteStore, registry: Registry, operations: Operations) -> None:
        self.place = place
        self.store = store
        self.registry = registry
        self.operations = operations
        self.builder = SeedImageBuilder(operations, place / "seed-images", "")

    async def wait(self, medium: Medium) -> Build:
        async with asyncio.timeout(PATIENCE):
            while (build := await self.builder.look(medium)).state == "building":
                await asyncio.sleep(0.02)
        return build

    async def build(self, medium: Medium) -> Build:
        await self.builder.start(medium)
        return await self.wait(medium)

    def path(self, medium: Medium) -> Path:
        return self.place / "seed-images" / medium.owner / medium.name


@asynccontextmanager
async def open_bench(place: Path) -> AsyncIterator[Bench]:
    async with SqliteStore.open(place / "skerry.db") as store:
        registry = Registry(place / "mirror")
        workshop = jobs.Workshop(store, registry, MIRROR, place / "trust", "")
        operations = Operations(place / "operations", jobs.kinds(workshop))
        await operations.open()
        try:
            yield Bench(place, store, registry, operations)
        finally:
            await operations.close()
            registry.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path) as bench:
        document = {"metadata": {"name": "plant", "namespace": NAMESPACE}, "spec": {}}
        await bench.store.create(MACHINE_REGISTRATION, document)
        status = merge({"status": {"registrationURL": "https://box.lan/elemental/registration/tok"}})
        await bench.store.patch(
            MACHINE_REGISTRATION, "plant", status, namespace=NAMESPACE, subresource="status"
        )
        base = tmp_path / "base.iso"
        build_iso({"boot/vmlinuz": b"kernel"}, base)
        put_image(bench.registry, "edge/iso", [{"/elemental-iso/edge.iso": base.read_bytes()}])
        put_artifact(bench.registry, "edge/bare", base.read_bytes(), "application/x-iso9660-image")
        put_image(bench.registry, "edge/os", [{"/etc/os-release": b""}])
        yield bench


def medium(name: str = "plant-1.iso", *, base: str = "edge/iso:1", limit: int = 0) -> Medium:
    return Medium("u1", name, "plant", NAMESPACE, base, cloud_config=b"#cloud-config\n", limit=limit)


@pytest.mark.parametrize("base", ["edge/iso:1", f"{MIRROR}/edge/bare:1"], ids=["image", "artifact"])
async def test_a_medium_is_its_base_with_the_registration_on_it(bench: Bench, base: str) -> None:
    built = await bench.build(medium(base=base))

    path = bench.path(medium())
    assert built == Build("built")
    assert b"https://box.lan/elemental/registration/tok" in read_iso_file(path, "livecd-cloud-config.yaml")
    assert read_iso_file(path, "iso-config/cloud-config.yaml") == b"#cloud-config\n"
    assert read_iso_file(path, "boot/vmlinuz") == b"kernel"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{digest}  plant-1.iso\n"
    assert sorted(each.name for each in path.parent.iterdir()) == ["plant-1.iso", "plant-1.iso.sha256"]


async def test_a_base_may_come_from_an_url(bench: Bench) -> None:
    handler = partial(Quiet, directory=str(bench.place))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        built = await bench.build(medium(base=f"{site}/base.iso"))
        missing = await bench.build(medium("plant-2.iso", base=f"{site}/none.iso"))
        small = await bench.build(medium("plant-3.iso", base=f"{site}/base.iso", limit=1000))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    assert built == Build("built")
    assert read_iso_file(bench.path(medium()), "boot/vmlinuz") == b"kernel"
    assert "answered 404" in missing.message
    assert "1000 are read" in small.message


async def test_an_image_without_an_iso_is_refused_with_the_right_one_named(bench: Bench) -> None:
    build = await bench.build(medium(base="edge/os:1"))

    assert build.state == "failed"
    assert "edge/os:1 holds no ISO" in build.message
    assert "name the image of the same version that carries the ISO" in build.message
    assert build.finished_at
    assert list(bench.path(medium()).parent.iterdir()) == []


async def test_a_base_larger_than_its_limit_is_refused(bench: Bench) -> None:
    build = await bench.build(medium(limit=1000))

    assert build.state == "failed"
    assert "1000 are allowed" in build.message


async def test_an_image_that_is_not_here_is_named(bench: Bench) -> None:
    assert "the mirror does not hold edge/none:1" in (await bench.build(medium(base="edge/none:1"))).message


async def test_what_is_built_is_found_by_an_appliance_that_has_just_started(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.build(medium())
    other = SeedImageBuilder(Operations(tmp_path / "none", {}), bench.builder.directory, "")

    assert (await other.look(medium())).state == "built"
    assert (await other.look(medium("plant-2.iso"))).state == "absent"


async def test_only_the_medium_that_is_kept_stays(bench: Bench) -> None:
    await bench.build(medium())
    await bench.build(medium("plant-2.iso"))
    (bench.path(medium()).parent / ".plant-1.iso.part").write_bytes(b"left by a crash")
    await bench.builder.remove("u1", keep="plant-2.iso")
    kept = sorted(each.name for each in bench.path(medium()).parent.iterdir())
    await bench.builder.remove("u1")
    await bench.builder.remove("u1")

    assert kept == ["plant-2.iso", "plant-2.iso.sha256"]
    assert not bench.path(medium()).parent.exists()
    assert (await bench.builder.look(medium())).state == "absent"


async def test_folders_of_images_that_are_gone_are_swept(bench: Bench) -> None:
    await bench.build(medium())
    await bench.builder.sweep({"u1"})
    kept = bench.path(medium()).exists()
    await bench.builder.sweep(set())

    assert (kept, bench.path(medium()).parent.exists()) == (True, False)


async def test_a_registration_without_an_url_makes_no_document(bench: Bench) -> None:
    document = await bench.store.get(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE)

    assert bench.builder.render_registration(MachineRegistration()) == b""
    assert b"box.lan" in bench.builder.render_registration(decode(MachineRegistration, document))


@pytest.mark.parametrize(
    ("path", "is_iso"),
    [("/elemental-iso/a.iso", True), ("/a.iso", True), ("", True), ("/etc/a.iso", False), ("/a.img", False)],
    ids=range(5),
)
def test_an_iso_lies_where_images_carry_it(path: str, is_iso: bool) -> None:
    assert is_iso_path(path) is is_iso


@pytest.mark.parametrize(
    ("tree", "output"),
    [
        ("data", "out.iso"),
        ("data/pki", "out.iso"),
        (".", "out.iso"),
        ("tree", "data/seed-images/u1/plant-1.iso"),
        ("tree", "crontab"),
        ("", "data/pki/ca.iso"),
    ],
    ids=["all", "the keys", "around it", "to a download", "over a file", "into the keys"],
)
async def test_an_operator_gets_no_file_of_the_box_through_a_medium(
    tmp_path: Path, tree: str, output: str
) -> None:
    (tmp_path / "data/pki").mkdir(parents=True)
    (tmp_path / "tree").mkdir()
    async with open_bench(tmp_path / "data") as bench:
        params = {
            "output": str(tmp_path / output),
            "registration": "plant",
            "tree": str(tmp_path / tree) if tree else "",
            "baseImage": "" if tree else "edge/iso:1",
        }
        started = await bench.operations.start("build-iso", params)
        async with asyncio.timeout(PATIENCE):
            ended = [each async for each in bench.operations.follow(started.id)][-1]

    assert ended.error
    assert ended.error.reason == "Refused"
