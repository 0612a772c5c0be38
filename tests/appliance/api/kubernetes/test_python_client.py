"""The official Python client, as an independent judge of the wire: typed core API, dynamic client, watch."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from appliance.resources.meta import Document
from tests.appliance.api.kubernetes.serving import MACHINES, NAMESPACE, Face, machine

T = TypeVar("T")


def client(face: Face) -> kubernetes.client.ApiClient:
    configuration = kubernetes.client.Configuration()
    configuration.host = face.url
    return kubernetes.client.ApiClient(configuration)


async def in_thread(work: Callable[[], T]) -> T:
    async with asyncio.timeout(30):
        return await asyncio.to_thread(work)


async def test_the_typed_core_client_keeps_a_secret(face: Face) -> None:
    def work() -> Document:
        with client(face) as api:
            core = kubernetes.client.CoreV1Api(api)
            body = kubernetes.client.V1Secret(
                metadata=kubernetes.client.V1ObjectMeta(name="plan"), string_data={"plan": "{}"}
            )
            core.create_namespaced_secret(NAMESPACE, body)
            core.patch_namespaced_secret("plan", NAMESPACE, {"data": {"applied-checksum": "YWI="}})
            kept = core.list_namespaced_secret(NAMESPACE).items[0].data
            core.delete_namespaced_secret("plan", NAMESPACE)
            with pytest.raises(ApiException) as refused:
                core.read_namespaced_secret("plan", NAMESPACE)
            assert refused.value.status == 404
            return dict(kept or {})

    assert await in_thread(work) == {"plan": "e30=", "applied-checksum": "YWI="}


async def test_the_dynamic_client_finds_and_applies_our_kinds(face: Face) -> None:
    def work() -> Document:
        with client(face) as api:
            dynamic = DynamicClient(api)  # type: ignore[no-untyped-call]
            machines = dynamic.resources.get(
                api_version="elemental.cattle.io/v1beta1", kind="MachineInventory"
            )
            body = machine("press-1", machineHash="1")
            machines.server_side_apply(
                body=body, namespace=NAMESPACE, field_manager="python", force_conflicts=True
            )
            body["spec"] = {"machineHash": "2"}
            with pytest.raises(ApiException) as refused:
                machines.server_side_apply(body=body, namespace=NAMESPACE, field_manager="another")
            assert refused.value.status == 409
            found: Document = machines.get(name="press-1", namespace=NAMESPACE).to_dict()
            return found

    assert (await in_thread(work))["spec"] == {"tpmHash": "ab12", "machineHash": "1"}


async def test_the_clients_own_watch_reads_our_stream(face: Face) -> None:
    await face.ask("POST", MACHINES, machine("press-1"), status=201)

    def work() -> list[tuple[str, str]]:
        with client(face) as api:
            custom = kubernetes.client.CustomObjectsApi(api)
            watch = kubernetes.watch.Watch()  # type: ignore[no-untyped-call]
            stream = watch.stream(  # type: ignore[no-untyped-call]
                custom.list_namespaced_custom_object,
                "elemental.cattle.io",
                "v1beta1",
                NAMESPACE,
                "machineinventories",
                timeout_seconds=20,
            )
            seen = []
            for event in stream:
                seen.append((event["type"], event["object"]["metadata"]["name"]))
                if len(seen) == 1:
                    custom.delete_namespaced_custom_object(
                        "elemental.cattle.io", "v1beta1", NAMESPACE, "machineinventories", "press-1"
                    )
                else:
                    watch.stop()  # type: ignore[no-untyped-call]
            return seen

    assert await in_thread(work) == [("ADDED", "press-1"), ("DELETED", "press-1")]
