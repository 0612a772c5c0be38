"""Who may push into the appliance's mirror: administrators, operators, and every host below its own name.

The mirror is told by two files that it reads again when they change: digests of tokens, and rules. A host
that is deleted or rejected loses its line, and with it the mirror, as soon as the store says so; so does a
person whose token is revoked or over. Neither file lets anybody in who reads it (docs/adr/0008).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from appliance.access.roles import RoleName
from appliance.access.users import UserRecord
from appliance.credentials import AdminToken, HostIdentity, HostTokens
from appliance.files import PRIVATE, PUBLIC, write_durably
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import decode
from appliance.store.base import Event, Gone, Store, StoreError
from mirror.tokens import digest_token

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2  # a thousand hosts that register at once are some writes, not a thousand
RETRY_SECONDS = 2.0
LOOK_SECONDS = 1.0  # how soon a person's token begins and ceases to count
GROUPS: Mapping[RoleName, str] = {"admin": "admins", "operator": "operators"}  # who may load may push

RULES = b"""\
# Written by the appliance at every start; skerry serve --mirror-access FILE puts other rules in their place.

# Whoever signs in has a place of their own: a host pushes to hosts/NAMESPACE/NAME/... and nowhere else.
[[rule]]
repository = "{user}/**"

# Everywhere else push and delete are for administrators, operators and the users of --mirror-htpasswd;
# anyone pulls.
[[rule]]
repository = "**"
push = ["@admins", "@operators", "@users"]
delete = ["@admins", "@operators", "@users"]
"""


class MirrorAccounts:
    """`prepare` before the mirror starts, `run` while it serves."""

    def __init__(
        self,
        directory: Path,
        tokens: HostTokens,
        admin: AdminToken,
        *,
        people: Callable[[], Sequence[UserRecord]] = tuple,
    ) -> None:
        self.tokens_file = directory / "mirror-tokens"
        self.rules_file = directory / "mirror-access.toml"
        self._tokens = tokens
        self._admin = admin
        self._people = people
        self._hosts: dict[str, HostIdentity] = {}  # by the uid of their record
        self._written: list[str] = []  # of people
        self._changed = asyncio.Event()

    def prepare(self) -> None:
        """The files that the mirror needs to start; hosts of the last run stay until `run` knows better."""
        write_durably(self.rules_file, RULES, mode=PUBLIC)
        if not self.tokens_file.exists():
            self._write((), ())

    async def run(self, store: Store) -> None:
        """Keep the tokens as the store has the hosts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(store))
            group.create_task(self._keep_written())

    async def _follow(self, store: Store) -> None:
        while True:
            hosts: dict[str, HostIdentity] = {}
            is_complete = False
            try:
                async for event in store.watch(MACHINE_INVENTORY):
                    if event.type == "BOOKMARK" and not is_complete:
                        is_complete = True
                        self._hosts = hosts
                        self._changed.set()
                    elif _apply(event, hosts) and is_complete:
                        self._changed.set()
            except Gone:
                log.info("mirror accounts: the watch fell behind; reading all hosts again")
            except StoreError as error:
                log.warning("mirror accounts: the watch ended: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _keep_written(self) -> None:
        await self._changed.wait()  # until then the hosts of the last run stay
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)
            people = render_people(self._people(), now=datetime.now(UTC))
            if not self._changed.is_set() and people == self._written:
                continue
            self._changed.clear()
            try:
                await asyncio.to_thread(self._write, tuple(self._hosts.values()), people)
                self._written = people
            except OSError as error:
                log.error("mirror accounts: %s cannot be written: %s", self.tokens_file, error)
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(SETTLE_SECONDS)

    def _write(self, hosts: Iterable[HostIdentity], people: Iterable[str]) -> None:
        lines = [f"{digest_token(self._admin.secret.reveal())} admin admins", *people]
        for host in sorted(hosts, key=lambda host: (host.namespace, host.name)):
            token = self._tokens.issue(namespace=host.namespace, name=host.name, uid=host.uid)
            lines.append(f"{digest_token(token.reveal())} hosts/{host.namespace}/{host.name} hosts")
        content = "".join(f"{line}\n" for line in lines).encode()
        if not self.tokens_file.exists() or self.tokens_file.read_bytes() != content:
            write_durably(self.tokens_file, content, mode=PRIVATE)


def render_people(records: Iterable[UserRecord], *, now: datetime) -> list[str]:
    """The lines of those whose token counts and whose role may push. Their register keeps digests too."""
    return [
        f"{record.id} people/{record.name} {GROUPS[record.role]}"
        for record in records
        if record.method == "token" and record.role in GROUPS and record.counts(now)
    ]


def _apply(event: Event, hosts: dict[str, HostIdentity]) -> bool:
    """Whether it changed who counts: every host that exists and is approved, by what its token names."""
    if event.type == "BOOKMARK":
        return False
    inventory = decode(MachineInventory, event.document)
    metadata = inventory.metadata
    before = hosts.pop(metadata.uid, None)
    if event.type == "DELETED" or inventory.approval != "approved":
        return before is not None
    hosts[metadata.uid] = HostIdentity(metadata.namespace, metadata.name, inventory.token_uid)
    return hosts[metadata.uid] != before
