"""A SeedImage against a running appliance: declared, built, downloaded in pieces, cleared away."""

import hashlib
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from appliance.api.client import Client
from appliance.api.contract import DEFAULT_NAMESPACE
from appliance.resources.meta import Document
from appliance.resources.metadata import METADATA
from appliance.resources.seed_image import SEED_IMAGE
from bundles.media.iso import build_iso, read_iso_file
from mirror.registry import Registry
from tests.appliance.fleet import delete_and_wait
from tests.appliance.mirrored import put_image
from tests.appliance.running import PATIENCE, Appliance

GROUP = "elemental.cattle.io/v1beta1"


def declare(client: Client, kind: str, name: str, spec: Document) -> None:
    metadata = {"name": name, "namespace": DEFAULT_NAMESPACE}
    client.apply_object({"apiVersion": GROUP, "kind": kind, "metadata": metadata, "spec": spec})


def wait_until_built(client: Client, name: str) -> Document:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        status: Document = client.get_object(SEED_IMAGE, name).get("status", {})
        if status.get("state") in ("Completed", "Failed"):
            return status
        time.sleep(0.05)
    raise AssertionError(f"{name} was not built within {PATIENCE} s")


def fetch(appliance: Appliance, url: str, **headers: str) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(appliance.ca_file))
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, context=context, timeout=PATIENCE) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, b""


@pytest.fixture
def status(appliance: Appliance, tmp_path: Path) -> Document:
    build_iso({"boot/vmlinuz": b"kernel" * 100_000}, tmp_path / "base.iso")
    registry = Registry(appliance.data / "mirror")
    put_image(registry, "seed/iso", [{"/elemental-iso/a.iso": (tmp_path / "base.iso").read_bytes()}])
    registry.close()
    client = appliance.client()
    declare(client, "MachineRegistration", "seeded", {"machineName": "m"})
    declare(
        client,
        "SeedImage",
        "stick",
        {"type": "iso", "baseImage": "seed/iso:1", "registrationRef": {"name": "seeded"}},
    )
    return wait_until_built(client, "stick")


def test_a_medium_is_downloaded_in_pieces_and_is_what_its_checksum_says(
    appliance: Appliance, status: Document, tmp_path: Path
) -> None:
    url, name = status["downloadURL"], status["downloadURL"].rpartition("/")[2]
    first, begin = fetch(appliance, url, Range="bytes=0-99999")
    second, rest = fetch(appliance, url, Range="bytes=100000-")
    _, checksum = fetch(appliance, status["checksumURL"])
    image = tmp_path / name
    image.write_bytes(begin + rest)

    assert (first, second, len(begin)) == (206, 206, 100_000)
    assert checksum.decode() == f"{hashlib.sha256(begin + rest).hexdigest()}  {name}\n"
    assert b"/elemental/registration/" in read_iso_file(image, "livecd-cloud-config.yaml")


def test_only_the_token_and_the_name_together_open_it(appliance: Appliance, status: Document) -> None:
    url = status["downloadURL"]
    head, _, name = url.rpartition("/")

    assert fetch(appliance, f"{head}x/{name}")[0] == 404
    assert (appliance.data / "admin.token").exists()
    assert fetch(appliance, f"{head}/..%2F..%2Fadmin.token")[0] == 404
    assert fetch(appliance, f"{head}/another.iso")[0] == 404
    assert fetch(appliance, url.replace(status["downloadToken"], "-"))[0] == 404


def test_it_is_gone_with_its_image(appliance: Appliance, status: Document) -> None:
    delete_and_wait(appliance.client(), SEED_IMAGE, "stick")

    assert fetch(appliance, status["downloadURL"])[0] == 404


def test_what_answers_here_says_its_version(appliance: Appliance) -> None:
    client = appliance.client()
    document = client.get_object(METADATA, "elemental-operator", "cattle-elemental-system")

    assert document["spec"]["appVersion"] == client.version().version
