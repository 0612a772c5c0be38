"""A machine's addresses: an IPAddressClaim for every pool it names, and what was given for it.

It claims and reads; who gives is `address_pools` in the embedded mode, the cluster's own provider elsewhere.
The claims are the machine's children and go with it. Upstream asks every second; here the claim's change
wakes the machine.
"""

from dataclasses import dataclass

from appliance.controllers.machine_conditions import NetworkFindings
from appliance.controllers.owners import is_owned, render_owner
from appliance.controllers.writes import write_changes
from appliance.resources.ipam import GROUP as IPAM_GROUP
from appliance.resources.ipam import IP_ADDRESS, IP_ADDRESS_CLAIM, IPAddress, IPAddressClaim
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.machine_registration import TypedLocalReference
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import AlreadyExists, Conflict, Invalid, NotFound, Store

NO_PROVIDER = "nothing here gives addresses from pools; set spec.network.ipAddresses by hand"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The machine as it is after its claims were looked at."""

    document: Document
    findings: NetworkFindings


def missing_addresses(machine: MachineInventory) -> list[str]:
    """The placeholders that name a pool and have no address."""
    return sorted(machine.spec.ip_address_pools.keys() - machine.spec.network.ip_addresses.keys())


async def claim_addresses(store: Store, document: Document, machine: MachineInventory) -> Claimed:
    """Claim what is missing and write down what was given, in one patch. Raises StoreError."""
    waiting: dict[str, str] = {}
    missing = missing_addresses(machine)
    if not missing:
        return Claimed(document, NetworkFindings())
    if not await store.has_kind(IP_ADDRESS_CLAIM):
        return Claimed(document, NetworkFindings(dict.fromkeys(missing, "unknown"), NO_PROVIDER))
    claims: dict[str, Document] = {}
    addresses: dict[str, str] = {}
    faults: list[str] = []
    for key in missing:
        try:
            claim = await _ensure_claim(store, machine, key)
        except Invalid as error:
            faults.append(f"{key} cannot be claimed: {error}")
            continue
        if not _is_usable(claim, machine):
            faults.append(f"IPAddressClaim {_name_claim(machine, key)} exists and is not this machine's")
            continue
        claims[key] = _refer_to(claim)
        given = await _find_address(store, claim)
        if given:
            addresses[key] = given
        else:
            waiting[key] = _describe_wait(claim, machine.spec.ip_address_pools[key])
    changes: Document = {"ipAddressClaims": claims} if claims else {}
    if addresses:
        changes["network"] = {"ipAddresses": addresses}
    document = await write_changes(store, MACHINE_INVENTORY, document, {"spec": changes} if changes else {})
    fault = "; ".join(faults)
    return Claimed(document, NetworkFindings(waiting | dict.fromkeys(missing if fault else (), fault), fault))


async def _ensure_claim(store: Store, machine: MachineInventory, key: str) -> Document:
    name, namespace = _name_claim(machine, key), machine.metadata.namespace
    try:
        return await store.get(IP_ADDRESS_CLAIM, name, namespace=namespace)
    except NotFound:
        pool = machine.spec.ip_address_pools[key]
        reference = {"apiGroup": pool.api_group or IPAM_GROUP, "kind": pool.kind, "name": pool.name}
        claim = {
            "apiVersion": IP_ADDRESS_CLAIM.api_version,
            "kind": IP_ADDRESS_CLAIM.kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "ownerReferences": [render_owner(MACHINE_INVENTORY, machine.metadata)],
            },
            "spec": {"poolRef": reference},
        }
        try:
            return await store.create(IP_ADDRESS_CLAIM, claim)
        except AlreadyExists as error:
            raise Conflict(f"IPAddressClaim {name} was made by somebody else just now") from error


async def _find_address(store: Store, claim: Document) -> str:
    """The address given for a claim; empty while there is none."""
    known = decode(IPAddressClaim, claim)
    name = known.status.address_ref.name if known.status.address_ref else known.metadata.name
    try:
        document = await store.get(IP_ADDRESS, name, namespace=known.metadata.namespace)
    except NotFound:
        return ""
    given = decode(IPAddress, document)
    owners = given.metadata.owner_references
    is_this_claims = not owners or any(owner.uid == known.metadata.uid for owner in owners)
    return given.spec.address if is_this_claims and given.spec.claim_ref.name == known.metadata.name else ""


def _is_usable(claim: Document, machine: MachineInventory) -> bool:
    """A claim that somebody made by hand for this machine will do; a deleted namesake's will not."""
    metadata = claim["metadata"]
    is_ours = is_owned(claim, machine.metadata) or not metadata.get("ownerReferences")
    return is_ours and not metadata.get("deletionTimestamp")


def _describe_wait(claim: Document, pool: TypedLocalReference) -> str:
    ready = find_condition(decode(IPAddressClaim, claim).status.conditions, "Ready")
    if ready is not None and ready.status == "False" and ready.message:
        return ready.message
    return f"{pool.kind} {pool.name} has not answered"


def _refer_to(claim: Document) -> Document:
    metadata = claim["metadata"]
    return {
        "apiVersion": IP_ADDRESS_CLAIM.api_version,
        "kind": IP_ADDRESS_CLAIM.kind,
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def _name_claim(machine: MachineInventory, key: str) -> str:
    return f"{machine.metadata.name}-{key}"
