"""What a registration's policy does to machines on the wire, and what the audit log has of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.errors import AgentError
from agent.facts import NO_FACTS, Facts
from agent.identity import PlainIdentity, TpmIdentity
from agent.register import Refused as Turned
from agent.register import Registered, WaitingForApproval
from appliance.attestation.roots import TrustedRoots
from appliance.audit.chain import Entry
from appliance.audit.log import Audit, read_entries, verify
from appliance.hosts import policy
from appliance.hosts.conditions import Conditions
from appliance.hosts.expected import KEY, SUFFIX
from appliance.hosts.gate import Gate, Trust
from appliance.hosts.judgement import EK_VERDICT, EXPECTED_AS
from appliance.hosts.rotation import rotate
from appliance.resources.core import CONFIG_MAP
from appliance.resources.machine_inventory import (
    APPROVED_BY,
    IDENTITY_DOUBT,
    MACHINE_INVENTORY,
    MachineInventory,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode, find_condition
from appliance.store.base import merge
from tests.appliance.hosts.box import (
    MAC,
    NAMESPACE,
    TOKEN,
    Box,
    open_box,
    put_registration,
    software_tpm,
    until,
)

UUID = "4c4c4544-0051-3610-8052-b4c04f564231"
NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


def facts(serial: str, uuid: str = UUID) -> Facts:
    return Facts(smbios={"System Information": {"Serial Number": serial, "UUID": uuid}}, system_data={})


async def refusal(box: Box, identity: TpmIdentity | PlainIdentity, *, facts: Facts = NO_FACTS) -> str:
    try:
        outcome = await box.register(identity, facts=facts)
    except AgentError as error:
        return str(error)
    assert isinstance(outcome, Turned), outcome
    return str(outcome)


def written(directory: Path) -> list[Entry]:
    assert verify(directory)[1] == []
    return list(read_entries(directory))


async def put_list(box: Box, text: str) -> None:
    document: Document = {
        "metadata": {"name": f"plant{SUFFIX}", "namespace": NAMESPACE},
        "data": {KEY: text},
    }
    await box.store.create(CONFIG_MAP, document)
    await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("auth", "identifier", "said"),
    [
        pytest.param("mac", UUID, "asks for a MAC address", id="uuid for mac"),
        pytest.param("sys-uuid", MAC, "asks for a system UUID", id="mac for uuid"),
        pytest.param("tpm", MAC, "asks for a TPM", id="mac for tpm"),
    ],
)
async def test_another_proof_than_was_asked_for_is_refused_and_written_down(
    tmp_path: Path, auth: str, identifier: str, said: str
) -> None:
    spec = {"config": {"elemental": {"registration": {"auth": auth}}}}
    async with open_box(tmp_path, spec) as box:
        assert said in await refusal(box, PlainIdentity(identifier, auth))

    (entry,) = written(tmp_path)
    assert (entry.what, entry.object, said in entry.why) == (
        "refuse",
        "registration/fleet-default/plant",
        True,
    )


@pytest.mark.parametrize(("enforced", "comes"), [("true", False), ("false", True)])
async def test_an_emulated_tpm_comes_only_where_it_may(tmp_path: Path, enforced: str, comes: bool) -> None:
    spec = {"config": {"elemental": {"registration": {"emulate-tpm": False}}}}
    async with open_box(tmp_path, spec, annotations={policy.ENFORCE_AUTH: enforced}) as box:
        if comes:
            assert isinstance(await box.register(software_tpm(1)), Registered)
        else:
            assert "emulated" in await refusal(box, software_tpm(1))
        assert len(await box.machines()) == comes


@pytest.mark.parametrize(
    "annotations",
    [
        {policy.EK_CHAIN: "requier"},
        {policy.ENFORCE_AUTH: "no"},
        {policy.EXPECTED_HOSTS: ""},
        {policy.TOKEN_EXPIRES: "tomorrow"},
        {policy.TOKEN_USES: "-1"},
        {policy.OLD_TOKENS: "{}"},
    ],
    ids=lambda annotations: next(iter(annotations)).rpartition("/")[2],
)
async def test_a_policy_that_cannot_be_read_admits_nobody(
    tmp_path: Path, annotations: dict[str, str]
) -> None:
    async with open_box(tmp_path, annotations=annotations) as box:
        assert "not in order" in await refusal(box, software_tpm(1))
        assert await box.machines() == []


async def test_what_is_known_of_the_certificate_is_recorded(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        await box.register(software_tpm(1))

        (machine,) = await box.machines()
        assert machine.metadata.annotations[EK_VERDICT] == "absent: the TPM has no endorsement certificate"


async def test_expected_hosts_come_and_others_do_not(tmp_path: Path) -> None:
    annotations = {policy.EXPECTED_HOSTS: "require", policy.APPROVE_EXPECTED: "any"}
    async with open_box(tmp_path, approval="required", annotations=annotations) as box:
        await put_list(box, "serial,note\nSN-1,left\nSN-2,right\n")

        assert isinstance(await box.register(software_tpm(1), facts=facts("SN-1")), Registered)
        assert isinstance(await box.register(software_tpm(1), facts=facts("SN-1")), Registered)
        assert "not on the list" in await refusal(box, software_tpm(2), facts=facts("SN-3"))
        assert "has come already" in await refusal(box, software_tpm(2), facts=facts("SN-1"))
        (machine,) = await box.machines()
        assert machine.metadata.annotations[APPROVED_BY] == "expected hosts, line 2"
        assert machine.metadata.annotations[EXPECTED_AS] == "serial=SN-1"


async def test_a_list_that_cannot_be_read_admits_nobody(tmp_path: Path) -> None:
    async with open_box(tmp_path, annotations={policy.EXPECTED_HOSTS: "require"}) as box:
        await put_list(box, "name\nx\n")

        assert "cannot be read: line 1 must name columns" in await refusal(box, software_tpm(1))


async def test_only_a_proved_tpm_is_approved_by_the_list_where_that_is_asked(tmp_path: Path) -> None:
    annotations = {policy.EXPECTED_HOSTS: "record", policy.APPROVE_EXPECTED: "proved"}
    async with open_box(tmp_path / "one", approval="automatic") as box:
        await box.register(software_tpm(1))
        tpm_hash = (await box.machines())[0].spec.tpm_hash
    async with open_box(tmp_path / "two", approval="required", annotations=annotations) as box:
        await put_list(box, f"ek_hash,serial\n{tpm_hash},\n,SN-2\n")

        assert isinstance(await box.register(software_tpm(1)), Registered)
        assert isinstance(await box.register(software_tpm(2), facts=facts("SN-2")), WaitingForApproval)


async def test_an_expired_token_brings_nobody_new_and_known_tpms_go_on(tmp_path: Path) -> None:
    moment = [NOW]
    expires = {policy.TOKEN_EXPIRES: (NOW + timedelta(days=1)).isoformat()}
    async with open_box(tmp_path, annotations=expires, now=lambda: moment[0]) as box:
        assert isinstance(await box.register(software_tpm(1)), Registered)
        moment[0] += timedelta(days=2)

        assert "token expired at 2026-11-22" in await refusal(box, software_tpm(2))
        assert isinstance(await box.register(software_tpm(1)), Registered)
        async with box.http.get(box.registration_url) as response:
            assert (response.status, "expired" in await response.text()) == (401, True)


async def test_a_token_for_two_machines_brings_two_whatever_comes_at_once(tmp_path: Path) -> None:
    async with open_box(tmp_path, annotations={policy.TOKEN_USES: "2"}) as box:
        outcomes = await asyncio.gather(
            *(box.register(software_tpm(seed)) for seed in range(1, 5)), return_exceptions=True
        )

        assert sum(isinstance(outcome, Registered) for outcome in outcomes) == 2
        assert len(await box.machines()) == 2
        assert "was for 2 machines" in await refusal(box, software_tpm(9))


async def test_media_of_a_replaced_token_work_during_the_grace_and_are_told_why_not_after(
    tmp_path: Path,
) -> None:
    moment = [NOW]
    async with open_box(tmp_path, now=lambda: moment[0]) as box:
        new = await rotate(box.store, "plant", NAMESPACE, grace=timedelta(days=7), now=lambda: moment[0])

        async def is_served() -> bool:
            async with box.http.get(f"{box.url}/elemental/registration/{new}") as response:
                return response.status == 200

        await until(is_served)
        assert isinstance(await box.register(software_tpm(1)), Registered)
        moment[0] += timedelta(days=8)
        assert "was replaced on 2026-11-21" in await refusal(box, software_tpm(2))
        assert TOKEN not in str(await box.store.get(MACHINE_REGISTRATION, "plant", namespace=NAMESPACE))


async def test_a_machine_of_one_registration_gets_nothing_from_another(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        await put_registration(box.store, "second", "tok-second", box.url, {})
        await box.register(software_tpm(1))
        other = Box(box.store, box.tokens, box.url, box.http)
        moved = await attempt(other, software_tpm(1), "tok-second")

        assert "of registration plant" in moved
        (machine,) = await box.machines()
        assert "by registration second" in machine.metadata.annotations[IDENTITY_DOUBT]


async def attempt(box: Box, identity: TpmIdentity, token: str) -> str:
    from agent.protocol.client_config import Registration
    from agent.register import register

    url = f"{box.url}/elemental/registration/{token}"

    async def is_there() -> bool:
        async with box.http.get(url) as response:
            return response.status == 200

    await until(is_there)
    try:
        return str(await asyncio.to_thread(register, Registration(url=url), identity, facts=facts("SN-1")))
    except AgentError as error:
        return str(error)


async def test_a_clone_waits_for_a_person_even_where_approval_is_automatic(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        assert isinstance(await box.register(software_tpm(1), facts=facts("SN-1")), Registered)
        clone = await box.register(software_tpm(2), facts=facts("SN-1"))

        assert isinstance(clone, WaitingForApproval)


async def test_a_tpm_that_comes_from_another_board_is_doubted_and_keeps_its_record(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        await box.register(software_tpm(1), facts=facts("SN-1"))
        await box.register(software_tpm(1), facts=facts("SN-2"))

        (machine,) = await box.machines()
        annotations = machine.metadata.annotations
        assert annotations[IDENTITY_DOUBT] == "came again with serial SN-2, which was SN-1"
        assert annotations["skerry.dev/serial"] == "SN-1"
        assert annotations["skerry.dev/reported-serial"] == "SN-2"


async def test_every_admission_is_written_down_before_it_is_told(tmp_path: Path) -> None:
    async with open_box(tmp_path, approval="required") as box:
        await box.register(software_tpm(1), facts=facts("SN-1"))

        (entry,) = written(tmp_path)
        (machine,) = await box.machines()
        assert entry.object == f"host/{NAMESPACE}/{machine.metadata.name}"
        assert (entry.what, entry.who, entry.why) == ("register", "registration/plant", "waits for approval")
        assert entry.details["identity"] == machine.spec.tpm_hash


async def test_nobody_is_told_anything_while_the_log_cannot_be_written(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        (tmp_path / "audit").rmdir()
        (tmp_path / "audit").write_text("in the way")

        assert "audit log cannot be written" in await refusal(box, software_tpm(1))


@asynccontextmanager
async def conditions_kept(box: Box, directory: Path) -> AsyncIterator[None]:
    audit = Audit(directory / "other")
    gate = Gate(box.store, Trust(audit, TrustedRoots(directory)))
    async with gate.running():
        task = asyncio.create_task(Conditions(box.store, gate, now=lambda: NOW).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            audit.close()


async def read_condition(box: Box, type: str, name: str = "plant") -> str:
    kind = MACHINE_REGISTRATION if name == "plant" else MACHINE_INVENTORY
    document = await box.store.get(kind, name, namespace=NAMESPACE)
    struct = decode(MachineRegistration if name == "plant" else MachineInventory, document)
    assert isinstance(struct, MachineRegistration | MachineInventory)
    condition = find_condition(struct.status.conditions, type)
    return f"{condition.status} {condition.message}" if condition else ""


async def test_registrations_say_who_is_still_to_come_and_what_cannot_be_read(tmp_path: Path) -> None:
    async with (
        open_box(tmp_path, annotations={policy.EXPECTED_HOSTS: "record"}) as box,
        conditions_kept(box, tmp_path),
    ):
        await put_list(box, "serial\nSN-1\nSN-2\n")
        await box.register(software_tpm(1), facts=facts("SN-1"))

        async def one_is_missing() -> bool:
            said = await read_condition(box, "ExpectedHosts")
            return said == "False 1 of 2 expected hosts have not come yet"

        await until(one_is_missing)
        assert await read_condition(box, "PolicyValid") == "True "
        wrong = merge({"metadata": {"annotations": {policy.EK_CHAIN: "maybe"}}})
        await box.store.patch(MACHINE_REGISTRATION, "plant", wrong, namespace=NAMESPACE)

        async def is_wrong() -> bool:
            return "skerry.dev/ek-chain is 'maybe'" in await read_condition(box, "PolicyValid")

        await until(is_wrong)
        assert await read_condition(box, "Ready") != ""


async def test_doubles_say_of_each_other_who_they_are_until_one_is_gone(tmp_path: Path) -> None:
    spec: Document = {"machineName": "m-${Random/UUID}"}
    async with open_box(tmp_path, spec) as box, conditions_kept(box, tmp_path):
        await box.register(software_tpm(1), facts=facts("SN-1"))
        await box.register(software_tpm(2), facts=facts("SN-1"))
        first, second = (machine.metadata.name for machine in await box.machines())

        async def both_are_doubted() -> bool:
            said = [await read_condition(box, "IdentityUnique", name) for name in (first, second)]
            return f"also {second}'s" in said[0] and f"also {first}'s" in said[1]

        await until(both_are_doubted)
        await box.decide(second, "rejected")

        async def is_unique_again() -> bool:
            return await read_condition(box, "IdentityUnique", first) == "True "

        await until(is_unique_again)
