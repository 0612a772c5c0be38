"""The routes of trust: TPM makers' certificates, registrations' tokens, identities that are in doubt."""

from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from appliance.api import contract as c
from appliance.api import trusting_contract as t
from appliance.api.problems import BadRequest
from appliance.api.server import add_routes
from appliance.api.trusting_routes import TRUST_ROUTES
from appliance.api.views import host_view
from appliance.attestation.roots import Root, add_roots, list_roots, remove_root
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVED_BY,
    IDENTITY_ACCEPTED,
    IDENTITY_DOUBT,
    MACHINE_INVENTORY,
    MACS,
    REGISTERED_WITH,
    REJECTION_REASON,
    REPORTED,
    SERIAL,
    SYSTEM_UUID,
    WANTED_REGISTRATION,
    MachineInventory,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import decode, find_condition
from appliance.store.base import Store, merge

MAX_GRACE_SECONDS = 366 * 24 * 3600
OURS = "skerry.dev/"


class Rotate(Protocol):
    def __call__(self, name: str, namespace: str, *, grace: timedelta) -> "Coroutine[Any, Any, str]": ...


def add_trust_routes(app: web.Application, store: Store, roots: Path, *, rotate: Rotate) -> None:
    """Mount the table on `app`."""
    add_routes(app, TRUST_ROUTES, TrustApi(store, roots, rotate))


class TrustApi:
    """One method a route of the table, under the route's name."""

    def __init__(self, store: Store, roots: Path, rotate: Rotate) -> None:
        self._store = store
        self._roots = roots
        self._rotate = rotate

    async def resolve_host(self, request: web.Request, body: t.ResolveRequest) -> c.HostView:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        document = await self._store.get(MACHINE_INVENTORY, name, namespace=namespace)
        machine = decode(MachineInventory, document)
        condition = find_condition(machine.status.conditions, "IdentityUnique")
        if condition is None or condition.status != "False":
            raise BadRequest(f"Nobody doubts that {name} is one machine, and the only one.")
        doubt = condition.message.rpartition("; skerry hosts resolve")[0]
        changes = render_resolution(machine, doubt, choice=body.choice)
        if body.choice == "replace":
            await self._reject_doubles(machine, doubt, by=body.by)
        changed = await self._store.patch(
            MACHINE_INVENTORY, name, merge({"metadata": {"annotations": changes}}), namespace=namespace
        )
        return host_view(decode(MachineInventory, changed), None, now=datetime.now(UTC))

    async def rotate_registration(self, request: web.Request, body: t.RotateRequest | None) -> t.RotatedToken:
        seconds = body.grace_seconds if body else 0
        if not 0 <= seconds <= MAX_GRACE_SECONDS:
            raise BadRequest("A token that was replaced works for a year at most.", hint="--grace 7d")
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        token = await self._rotate(name, namespace, grace=timedelta(seconds=seconds))
        document = await self._store.get(MACHINE_REGISTRATION, name, namespace=namespace)
        url = decode(MachineRegistration, document).status.registration_url
        return t.RotatedToken(registration=name, token=token, url=url)

    async def list_ek_roots(self, request: web.Request, _: None) -> t.RootList:
        return _render(list_roots(self._roots))

    async def add_ek_roots(self, request: web.Request, body: t.RootsRequest) -> t.RootList:
        return _render(add_roots(self._roots, body.pem.encode()))

    async def remove_ek_root(self, request: web.Request, _: None) -> t.RootList:
        return _render([remove_root(self._roots, request.match_info["id"])])

    async def _reject_doubles(self, machine: MachineInventory, doubt: str, *, by: str) -> None:
        """The others that claim what this one claims are turned away; a person may let them in again."""
        namespace = machine.metadata.namespace
        for document in (await self._store.list(MACHINE_INVENTORY)).items:
            other = decode(MachineInventory, document)
            if other.metadata.uid == machine.metadata.uid or f"also {other.metadata.name}'s" not in doubt:
                continue
            if claimed(other) & claimed(machine):
                annotations = {
                    APPROVAL: "rejected",
                    APPROVED_BY: by or "administrator",
                    REJECTION_REASON: f"its identity is {namespace}/{machine.metadata.name}'s",
                }
                await self._store.patch(
                    MACHINE_INVENTORY,
                    other.metadata.name,
                    merge({"metadata": {"annotations": annotations}}),
                    namespace=other.metadata.namespace,
                )


def render_resolution(machine: MachineInventory, doubt: str, *, choice: str) -> dict[str, str | None]:
    """The annotations to write on the machine that a person looked at."""
    if choice == "keep":
        return {IDENTITY_ACCEPTED: doubt}
    annotations = machine.metadata.annotations
    changes: dict[str, str | None] = {IDENTITY_DOUBT: None, IDENTITY_ACCEPTED: None}
    for key, value in annotations.items():
        if key.startswith(REPORTED):
            changes |= {key: None, OURS + key.removeprefix(REPORTED): value}
    if wanted := annotations.get(WANTED_REGISTRATION):
        changes |= {WANTED_REGISTRATION: None, REGISTERED_WITH: wanted}
    return changes


def claimed(machine: MachineInventory) -> set[str]:
    """What a machine says is its own, in the annotations that its registration wrote."""
    annotations = machine.metadata.annotations
    single = {f"{key} {annotations[key]}" for key in (SERIAL, SYSTEM_UUID) if annotations.get(key)}
    return single | {f"mac {mac}" for mac in annotations.get(MACS, "").split(",") if mac}


def _render(roots: Sequence[Root]) -> t.RootList:
    return t.RootList(
        items=[t.RootView(id=root.id, type=root.kind, name=root.name, ends=root.ends) for root in roots]
    )
