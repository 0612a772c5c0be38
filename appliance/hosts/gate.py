"""Who may come in: gathers what `judgement` asks, from memory alone, and writes down what was decided.

It keeps what the store's watch says of registrations' lists and machines' claims; no registration waits for a
read. What becomes of these annotations as conditions that people see is `appliance.hosts.conditions`'.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.attestation.chains import latest_time
from appliance.attestation.roots import RootsFault, TrustedRoots
from appliance.audit.damping import Damper
from appliance.audit.log import Audit, AuditUnavailable
from appliance.hosts.claims import Claims, read_claims, recorded_claims
from appliance.hosts.errors import NotAdmissible
from appliance.hosts.expected import KEY, SUFFIX, ExpectedList, ListInvalid, parse_expected
from appliance.hosts.handshake import Machine, Policy, Registrant
from appliance.hosts.identities import Identities
from appliance.hosts.index import Index
from appliance.hosts.judgement import EK_VERDICT, EXPECTED_AS, Findings, Judgement, judge
from appliance.hosts.policy import TOKEN_USED, check_token, parse_policy
from appliance.resources.core import CONFIG_MAP
from appliance.resources.machine_inventory import (
    APPROVAL,
    APPROVED_BY,
    MACHINE_INVENTORY,
    REGISTERED_WITH,
    MachineInventory,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode
from appliance.store.base import Store, merge

log = logging.getLogger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Trust:
    """Where decisions are written down, whose TPMs are believed, and what day it is."""

    audit: Audit
    roots: TrustedRoots
    now: Callable[[], datetime] = utc_now
    started: datetime = field(default_factory=utc_now)  # certainly passed, wherever the clock goes


class Gate:
    def __init__(self, store: Store, trust: Trust) -> None:
        self._store = store
        self._trust = trust
        self._lists = Index(store, CONFIG_MAP, _list_key)
        self._parsed: dict[tuple[str, str], tuple[str, ExpectedList | ListInvalid]] = {}
        self._damper = Damper()
        self.identities = Identities()
        self._come = Index(store, MACHINE_INVENTORY, _machine_key)  # those of a list, by their line
        self._counting = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._lists.following(), self._come.following():
            yield

    def choose_policy(self, registration: MachineRegistration) -> Policy:
        """What the conversation needs to judge a machine's proof."""
        asked = parse_policy(registration)
        try:
            roots = self._trust.roots.current()
        except RootsFault as error:
            log.error("the TPM makers' certificates cannot be read: %s", error)
            return Policy(asked, today=self._today())
        return Policy(asked, roots, self._today())

    def check_early(self, registration: MachineRegistration, token: str, *, is_known: bool) -> str:
        """Why nobody, or no new machine, may come by this token; empty if they may."""
        policy = parse_policy(registration)
        if policy.problems:
            return f"the registration {registration.metadata.name} is not in order: {policy.problems[0]}"
        if is_known:
            return ""
        current = registration.status.registration_token
        return check_token(policy, token, current, now=self._trust.now())

    def judge(
        self,
        registration: MachineRegistration,
        registrant: Registrant,
        known: MachineInventory | None,
        *,
        elsewhere: str,
    ) -> Judgement:
        """The verdict on a machine that proved who it is, before anything is written.

        `elsewhere` is the other registration that a known machine belongs to, if there is one.
        """
        policy = parse_policy(registration)
        namespace, name = registration.metadata.namespace, registration.metadata.name
        claims = read_claims(registrant.data)
        own = (known.metadata.namespace, known.metadata.name) if known else None
        expected, taken_by = None, ""
        if policy.expected != "off":
            listed = self.find_list(namespace, name)
            if isinstance(listed, ListInvalid):
                if policy.expected == "require":
                    return Judgement(f"the list of expected hosts of {name} cannot be read: {listed}")
            else:
                tpm_hash = registrant.machine.hash if registrant.machine.kind == "tpm" else ""
                expected = listed.find(tpm_hash, claims)
            if expected is not None:
                there = self._come.find(_come_key(namespace, name, expected.key))
                taken_by = next(
                    (
                        each["metadata"]["name"]
                        for each in there
                        if own is None or each["metadata"]["name"] != own[1]
                    ),
                    "",
                )
        return judge(
            policy,
            registrant,
            Findings(
                registration=name,
                claims=claims,
                known=known,
                registered_elsewhere=elsewhere,
                expected=expected,
                expected_taken_by=taken_by,
                clashes=self.identities.find_clashes(own, claims),
            ),
        )

    def remember(self, document: Document) -> None:
        """Take in a machine as it was just written."""
        metadata = document["metadata"]
        annotations = metadata.get("annotations") or {}
        self._come.remember(document)
        self.identities.put((metadata.get("namespace", ""), metadata["name"]), counted_claims(annotations))

    def find_list(self, namespace: str, registration: str) -> ExpectedList | ListInvalid:
        """The registration's list of expected hosts; an empty one if there is none."""
        document = self._lists.get(namespace, registration + SUFFIX)
        if document is None:
            return ExpectedList()
        version = document["metadata"].get("resourceVersion", "")
        held = self._parsed.get((namespace, registration))
        if held is None or held[0] != version:
            held = (version, _parse_list(document))
            self._parsed[namespace, registration] = held
        return held[1]

    async def take_use(self, registration: MachineRegistration) -> None:
        """Count one machine against the token before it is made; a crash may lose a use, never give one.

        Raises NotAdmissible when all are taken.
        """
        if parse_policy(registration).token_uses is None:
            return
        namespace, name = registration.metadata.namespace, registration.metadata.name
        async with self._counting:
            document = await self._store.get(MACHINE_REGISTRATION, name, namespace=namespace)
            policy = parse_policy(decode(MachineRegistration, document))
            if policy.token_uses is not None and policy.token_used >= policy.token_uses:
                raise NotAdmissible(
                    f"the registration's token was for {policy.token_uses} machines, and they have come"
                )
            metadata = {
                "resourceVersion": document["metadata"]["resourceVersion"],
                "annotations": {TOKEN_USED: str(policy.token_used + 1)},
            }
            await self._store.patch(
                MACHINE_REGISTRATION, name, merge({"metadata": metadata}), namespace=namespace
            )

    async def record_admission(
        self, registration: MachineRegistration, machine: MachineInventory, *, is_new: bool
    ) -> None:
        """Write down that a machine came, and what it was told. Raises NotAdmissible if that cannot be."""
        annotations = machine.metadata.annotations
        details = {
            "identity": machine.spec.tpm_hash or machine.spec.machine_hash,
            "first": "yes" if is_new else "no",
            "certificate": annotations.get(EK_VERDICT, ""),
            "expected": annotations.get(EXPECTED_AS, ""),
        }
        try:
            await self._trust.audit.record(
                "register",
                f"host/{machine.metadata.namespace}/{machine.metadata.name}",
                who=f"registration/{registration.metadata.name}",
                why=_describe_outcome(machine),
                details={key: value for key, value in details.items() if value},
            )
        except AuditUnavailable as error:
            raise NotAdmissible(f"the appliance decides nothing now: {error}", hint=error.hint) from error

    async def record_refusal(
        self, registration: MachineRegistration, reason: str, *, machine: Machine | None, address: str = ""
    ) -> None:
        """Write down that somebody was refused, as far as the measure for such goes."""
        left_out = self._damper.admit(time.monotonic())
        if left_out is None:
            return
        details = {"identity": machine.hash if machine else "", "address": address}
        if left_out:
            details["not written before this"] = f"{left_out} refusals"
        try:
            await self._trust.audit.record(
                "refuse",
                f"registration/{registration.metadata.namespace}/{registration.metadata.name}",
                who=f"{machine.kind} …{machine.hash[-8:]}" if machine else "an unproved host",
                why=reason,
                details={key: value for key, value in details.items() if value},
            )
        except AuditUnavailable as error:
            log.error("registration %s: %s", registration.metadata.name, error)

    def count_missing(self, namespace: str, registration: str, listed: ExpectedList) -> tuple[int, int]:
        """How many expected hosts have not come, and of how many."""
        missing = sum(
            not self._come.find(_come_key(namespace, registration, host.key)) for host in listed.hosts
        )
        return missing, len(listed.hosts)

    def _today(self) -> datetime:
        return latest_time(self._trust.now(), self._trust.started)


def counted_claims(annotations: Mapping[str, str]) -> Claims:
    """What a machine is compared by; who was turned away is nobody's double any more."""
    return Claims() if annotations.get(APPROVAL) == "rejected" else recorded_claims(annotations)


def _list_key(document: Document) -> str:
    name: str = document["metadata"]["name"]
    return name if name.endswith(SUFFIX) else ""


def _machine_key(document: Document) -> str:
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    line = annotations.get(EXPECTED_AS)
    if not line:
        return ""
    return _come_key(metadata.get("namespace", ""), annotations.get(REGISTERED_WITH, ""), line)


def _come_key(namespace: str, registration: str, line: str) -> str:
    return f"{namespace}/{registration}/{line}"


def _parse_list(document: Document) -> ExpectedList | ListInvalid:
    try:
        text = (document.get("data") or {}).get(KEY)
        if not isinstance(text, str):
            raise ListInvalid(f"it has no {KEY}")
        return parse_expected(text)
    except ListInvalid as error:
        return error


def _describe_outcome(machine: MachineInventory) -> str:
    match machine.approval:
        case "approved":
            return f"approved by {machine.metadata.annotations.get(APPROVED_BY) or 'default'}"
        case "rejected":
            return "rejected before"
        case "pending":
            return "waits for approval"
