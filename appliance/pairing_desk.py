"""Gives a machine that belongs to nobody a registration: who was heard, the code typed, the document sent.

One run at a time for a machine: a second would burn the code of the first.
"""

from agent.protocol.client_config import render_registration
from agent.protocol.discovery import TXT_PAIRING
from appliance.api.contract import PairedView, PairRequest
from appliance.discovery import Candidate, Candidates
from appliance.discovery.calling import Place, find_at, pair, parse_place
from appliance.discovery.pairing import Self, parse_code
from appliance.errors import Refused
from appliance.hosts.reply import describe_registration
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import decode
from appliance.store.base import Store


class PairingDesk:
    """`ca_pem` is the CA whose fingerprint `own` names; without one there is nothing to trust us by."""

    def __init__(self, store: Store, candidates: Candidates, *, own: Self, ca_pem: str) -> None:
        self._store = store
        self._candidates = candidates
        self._own = own
        self._ca_pem = ca_pem
        self._busy: set[str] = set()

    async def pair(self, request: PairRequest) -> PairedView:
        """Raises Refused with what to do, StoreError for the registration."""
        if not self._ca_pem:
            raise Refused("Pairing needs TLS, and this appliance serves plain HTTP.")
        code = parse_code(request.code)
        place = await self._find(request)
        document = await self._render_document(request)
        if place.id in self._busy:
            raise Refused(f"Somebody else is pairing {request.id} right now.")
        self._busy.add(place.id)
        try:
            await pair(place, code, own=self._own, document=document)
        finally:
            self._busy.discard(place.id)
        return PairedView(
            id=place.id, name=request.id, address=place.address, registration=request.registration
        )

    async def _find(self, request: PairRequest) -> Place:
        """What was heard, or whoever answers by that name at the address that was typed."""
        if request.address:
            return await find_at(parse_place(request.address), request.id)
        machine = self._choose(request.id)
        return Place(machine.id, machine.address, machine.port)

    def _choose(self, name: str) -> Candidate:
        found = self._candidates.find(name)
        if not found:
            raise Refused(
                f"No machine {name[:60]!r} was heard.",
                hint="`skerry hosts inbox` lists who was; `skerry doctor discovery` says what may be wrong.",
            )
        claiming = self._candidates.find(found[0].id)
        if len(claiming) > 1:
            addresses = ", ".join(sorted(candidate.address for candidate in claiming))
            raise Refused(
                f"Several machines say that they are {found[0].id}: at {addresses}.",
                hint="One of them is not what it says, or two have one system UUID; switch one off.",
            )
        if found[0].details.get(TXT_PAIRING) != "1":
            raise Refused(
                f"{found[0].name} does not wait to be paired.",
                hint="A medium with a registration inside registers by itself; else `register --discover`.",
            )
        return found[0]

    async def _render_document(self, request: PairRequest) -> bytes:
        document = await self._store.get(
            MACHINE_REGISTRATION, request.registration, namespace=request.namespace
        )
        registration = decode(MachineRegistration, document)
        if not registration.status.registration_url:
            raise Refused(
                f"Registration {request.registration} has no URL yet.", hint="Try again in a moment."
            )
        return render_registration(describe_registration(registration, ca_pem=self._ca_pem))
