"""A real cluster as controllers meet it: with Cluster API's kinds taught to it, and nothing of earlier tests.

The kinds are taught without their schema: what Cluster API would refuse is not the question here.
"""

import asyncio
import json
import urllib.error
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.resources.core import EVENT, SECRET
from appliance.resources.host_report import HOST_REPORT
from appliance.resources.ipam import IN_CLUSTER_IP_POOL, IP_ADDRESS, IP_ADDRESS_CLAIM
from appliance.resources.machine import MACHINE
from appliance.resources.machine_inventory import MACHINE_INVENTORY
from appliance.resources.machine_inventory_selector import MACHINE_INVENTORY_SELECTOR
from appliance.resources.machine_registration import MACHINE_REGISTRATION
from appliance.resources.meta import Document, Kind
from appliance.resources.rbac import ROLE, ROLE_BINDING
from appliance.resources.rollout import ROLLOUT
from appliance.store.base import Selection, Store
from appliance.store.kubernetes import KubernetesStore
from appliance.store.kubernetes_api import KubernetesApi
from tests.appliance.controllers.factories import NAMESPACE
from tests.conformance.store_engines import remove
from tests.kube_cluster import DEFINITIONS, KubeCluster, find_conditions

CLEARED_SECONDS = 60.0
FOREIGN = (MACHINE, IP_ADDRESS_CLAIM, IP_ADDRESS, IN_CLUSTER_IP_POOL)
# Owners first, so that no controller of the cluster is in the way of what follows.
CLEARED = (
    MACHINE_REGISTRATION,
    MACHINE_INVENTORY_SELECTOR,
    MACHINE_INVENTORY,
    ROLLOUT,
    HOST_REPORT,
    *FOREIGN,
    ROLE_BINDING,
    ROLE,
    SECRET,
    EVENT,
)


@asynccontextmanager
async def open_cluster(cluster: KubeCluster) -> AsyncIterator[Store]:
    """A store over the cluster in which the tests' namespace is empty."""
    teach(cluster)
    async with KubernetesStore(await KubernetesApi.open(cluster.kubeconfig)) as store:
        async with asyncio.timeout(CLEARED_SECONDS):
            while not await is_cleared(store):
                await asyncio.sleep(0.05)
        yield store


async def is_cleared(store: Store) -> bool:
    """Take everything away, finalizers or not, and say whether there was nothing left to take."""
    left = 0
    for kind in CLEARED:
        for document in (await store.list(kind, Selection(namespace=NAMESPACE))).items:
            await remove(store, kind, document)
            left += 1
    return left == 0


def teach(cluster: KubeCluster) -> None:
    for kind in FOREIGN:
        try:
            cluster.request("POST", DEFINITIONS, define(kind))
        except urllib.error.HTTPError as error:
            if json.loads(error.read())["reason"] != "AlreadyExists":
                raise
    for kind in FOREIGN:
        name = f"{kind.plural}.{kind.group}"
        cluster.wait(f"{name} to be served", lambda name=name: is_served(cluster, name))  # type: ignore[misc]


def is_served(cluster: KubeCluster, name: str) -> bool:
    return find_conditions(cluster, name).get("Established") == "True"


def define(kind: Kind) -> Document:
    """A CustomResourceDefinition that takes any object."""
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": anything},
        **({"subresources": {"status": {}}} if kind.has_status else {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {"group": kind.group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
