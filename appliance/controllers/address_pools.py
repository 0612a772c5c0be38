"""InClusterIPPool: gives each IPAddressClaim an address, where no other IPAM provider does.

The pool itself is the ledger: an address is promised to a claim in the pool's annotation, in a write that is
bound to the pool's version, before its IPAddress is made, and the promise is taken out in the next write
after it is seen to exist. So two appliances at once, or one that is killed in between, never give one
address twice. The lowest free address goes to the oldest claim. An IPAddress is its claim's child: it is
free again when the claim goes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch
from appliance.controllers.owners import render_owner
from appliance.controllers.pool_addresses import Address, AddressSet, InvalidPool, parse_pool, read_address
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings
from appliance.controllers.writes import set_condition, write_changes
from appliance.resources.ipam import (
    GROUP,
    IN_CLUSTER_IP_POOL,
    IP_ADDRESS,
    IP_ADDRESS_CLAIM,
    InClusterIPPool,
    IPAddress,
    IPAddressClaim,
    PoolReference,
)
from appliance.resources.meta import ConditionStatus, Document, Kind, decode
from appliance.store.base import AlreadyExists, NotFound, Selection, Store

PROMISED = "skerry.dev/promised-addresses"  # annotation: {claim's uid: address}
PROMISES_AT_ONCE = 256  # so that the annotation stays far below what an object may weigh
SETTLE_SECONDS = 0.02
BLOCKED_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim on this pool, with the address that was made for it, if there is one."""

    document: Document
    claim: IPAddressClaim
    address: str = ""

    @property
    def uid(self) -> str:
        return self.claim.metadata.uid

    @property
    def name(self) -> str:
        return self.claim.metadata.name


class AddressPoolController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._clock = settings.clock
        self._recorder = Recorder(store, clock=settings.clock)

    @property
    def kind(self) -> Kind:
        return IN_CLUSTER_IP_POOL

    @property
    def watches(self) -> Sequence[Watch]:
        return (
            Watch(IP_ADDRESS_CLAIM, _claimed_pool, settle=SETTLE_SECONDS),
            Watch(IP_ADDRESS, _claimed_pool, settle=SETTLE_SECONDS),
        )

    async def reconcile(self, key: Key) -> Result:
        """Promise addresses to the claims that have none, make them, and say who had to be refused."""
        document, pool = await self._read_pool(key)
        # Read after the pool, so that what was given before this version of it is seen.
        claims, used = await self._read_claims(key)
        if document is None or pool is None:
            await self._refuse(claims, "PoolNotReady", f"there is no {self.kind} {key.name}")
            return DONE
        if pool.metadata.deletion_timestamp is not None:
            return DONE
        try:
            addresses = parse_pool(pool.spec)
        except InvalidPool as error:
            message = f"{self.kind} {key.name}: {error}"
            if await self._refuse(claims, "PoolNotReady", message):
                await self._recorder.record(document, "Warning", "InvalidPool", str(error))
            return DONE
        promises = choose_promises(claims, read_promises(document), addresses, used)
        document = await self._write_promises(document, promises)
        is_blocked = False
        refused: list[Claim] = []
        for claim in claims:
            address = claim.address or await self._make_address(pool, claim, promises.get(claim.uid, ""))
            if address:
                message = f"{address} comes from {self.kind} {key.name}"
                await self._answer(claim, "True", "AddressAllocated", message, given=True)
            elif claim.uid in promises:
                is_blocked = True
            else:
                refused.append(claim)
        if len(promises) < PROMISES_AT_ONCE:
            message = f"{self.kind} {key.name} has no free address left"
            if await self._refuse(refused, "PoolExhausted", message):
                await self._recorder.record(document, "Warning", "PoolExhausted", message)
        taken = used | {number for text in promises.values() if (number := read_address(text))}
        await self._write_usage(document, addresses, taken)
        # What was promised and is made leaves the ledger in the look that the new IPAddress wakes.
        return Result(again_in=BLOCKED_RETRY_SECONDS) if is_blocked else DONE

    async def _read_pool(self, key: Key) -> tuple[Document | None, InClusterIPPool | None]:
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            return None, None
        return document, decode(InClusterIPPool, document)

    async def _read_claims(self, key: Key) -> tuple[list[Claim], set[Address]]:
        """The claims on this pool, oldest first, and every address of it that is in use."""
        here = Selection(namespace=key.namespace)
        given: dict[str, IPAddress] = {}
        used: set[Address] = set()
        for document in (await self._store.list(IP_ADDRESS, here)).items:
            address = decode(IPAddress, document)
            number = read_address(address.spec.address)
            if _names(address.spec.pool_ref, key) and number is not None:
                given[address.metadata.name] = address
                used.add(number)
        # Claims after addresses: one that goes between the two is not taken for one that has none yet.
        claims = []
        for document in (await self._store.list(IP_ADDRESS_CLAIM, here)).items:
            claim = decode(IPAddressClaim, document)
            if _names(claim.spec.pool_ref, key):
                own = given.get(claim.metadata.name)
                is_its = own is not None and _belongs(own, claim)
                claims.append(Claim(document, claim, own.spec.address if own and is_its else ""))
        return sorted(claims, key=_seniority), used

    async def _write_promises(self, document: Document, promises: Mapping[str, str]) -> Document:
        text = msgspec.json.encode(promises, order="deterministic").decode() if promises else None
        changes = {"metadata": {"annotations": {PROMISED: text}}}
        return await write_changes(self._store, self.kind, document, changes)

    async def _make_address(self, pool: InClusterIPPool, claim: Claim, address: str) -> str:
        """Make the IPAddress that was promised; empty if nothing was, or its name is not free yet."""
        if not address:
            return ""
        wanted = render_address(pool, claim.claim, address)
        try:
            await self._store.create(IP_ADDRESS, wanted)
        except AlreadyExists:
            namespace = claim.claim.metadata.namespace
            try:
                present = await self._store.get(IP_ADDRESS, claim.name, namespace=namespace)
            except NotFound:
                return ""
            made = decode(IPAddress, present)
            return made.spec.address if _belongs(made, claim.claim) else ""
        return address

    async def _refuse(self, claims: Sequence[Claim], reason: str, message: str) -> bool:
        """Tell the claims that have no address why; answer whether that is news."""
        waiting = [claim for claim in claims if not claim.address]
        news = [await self._answer(claim, "False", reason, message) for claim in waiting]
        return any(news)

    async def _answer(
        self, claim: Claim, ready: ConditionStatus, reason: str, message: str, *, given: bool = False
    ) -> bool:
        """Write the claim's condition and where its address is; answer whether that is news."""
        before = claim.claim.status.conditions
        conditions = set_condition(before, "Ready", ready, reason, message, now=self._clock())
        status: Document = {"conditions": msgspec.to_builtins(conditions)}
        if given:
            status["addressRef"] = {"name": claim.name}
        try:
            written = await write_changes(
                self._store, IP_ADDRESS_CLAIM, claim.document, {"status": status}, subresource="status"
            )
        except NotFound:
            return False  # it went meanwhile, and its address with it
        await self._recorder.record_condition(claim.document, "Ready", before, conditions)
        return written is not claim.document

    async def _write_usage(self, document: Document, pool: AddressSet, used: Collection[Address]) -> None:
        inside = sum(1 for address in used if address in pool)
        usage = {
            "total": pool.total,
            "free": max(0, pool.total - inside),
            "used": len(used),
            "outOfRange": len(used) - inside,
        }
        changes = {"status": {"ipAddresses": usage}}
        await write_changes(self._store, self.kind, document, changes, subresource="status")


def choose_promises(
    claims: Sequence[Claim], before: Mapping[str, str], pool: AddressSet, used: Collection[Address]
) -> dict[str, str]:
    """Which claim is promised which address, by the claim's uid: old promises first, then the lowest free.

    Pure. A promise ends when its address was made or its claim is gone.
    """
    promises: dict[str, str] = {}
    taken = set(used)
    waiting = [claim for claim in claims if not claim.address]
    for claim in waiting:
        address = read_address(before.get(claim.uid, ""))
        if address is not None and address in pool and address not in taken:
            promises[claim.uid] = str(address)
            taken.add(address)
    free = pool.free(taken)
    for claim in waiting:
        if claim.uid in promises or claim.claim.metadata.deletion_timestamp is not None:
            continue
        if len(promises) >= PROMISES_AT_ONCE:
            break
        lowest = next(free, None)
        if lowest is None:
            break
        promises[claim.uid] = str(lowest)
    return promises


def read_promises(document: Document) -> dict[str, str]:
    """The ledger; one that somebody spoilt counts as empty, since what was made is seen anyway."""
    text = (document["metadata"].get("annotations") or {}).get(PROMISED) or "{}"
    try:
        return msgspec.json.decode(text, type=dict[str, str])
    except msgspec.DecodeError:
        return {}


def render_address(pool: InClusterIPPool, claim: IPAddressClaim, address: str) -> Document:
    """The IPAddress of a claim, which goes with it; it has the claim's name, as upstream expects."""
    spec: Document = {
        "claimRef": {"name": claim.metadata.name},
        "poolRef": {"apiGroup": GROUP, "kind": IN_CLUSTER_IP_POOL.kind, "name": pool.metadata.name},
        "address": address,
        "prefix": pool.spec.prefix,
    }
    if pool.spec.gateway:
        spec["gateway"] = pool.spec.gateway
    return {
        "apiVersion": IP_ADDRESS.api_version,
        "kind": IP_ADDRESS.kind,
        "metadata": {
            "name": claim.metadata.name,
            "namespace": claim.metadata.namespace,
            "ownerReferences": [render_owner(IP_ADDRESS_CLAIM, claim.metadata)],
        },
        "spec": spec,
    }


def _names(reference: PoolReference, key: Key) -> bool:
    group = reference.api_group or GROUP
    return (group, reference.kind, reference.name) == (GROUP, IN_CLUSTER_IP_POOL.kind, key.name)


def _belongs(address: IPAddress, claim: IPAddressClaim) -> bool:
    """The address was made for this claim, not for one that had its name before."""
    owners = address.metadata.owner_references
    is_child = not owners or any(owner.uid == claim.metadata.uid for owner in owners)
    return is_child and address.spec.claim_ref.name == claim.metadata.name


def _seniority(claim: Claim) -> tuple[str, str]:
    return claim.claim.metadata.creation_timestamp or "", claim.name


def _claimed_pool(document: Document) -> Iterable[Key]:
    """The pool that a claim or an address names."""
    reference = (document.get("spec") or {}).get("poolRef") or {}
    if reference.get("kind") == IN_CLUSTER_IP_POOL.kind and reference.get("name"):
        yield Key(document["metadata"].get("namespace", ""), reference["name"])
