"""Who may push into the appliance's mirror: its administrator, and every approved host below its own name.

The mirror is told by two files that it reads again when they change: digests of tokens, and rules. A host
that is deleted or rejected loses its line, and with it the mirror, as soon as the store says so. Neither
file lets anybody in who reads it (docs/adr/0008).
"""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from appliance.credentials import AdminToken, HostIdentity, HostTokens
from appliance.files import PRIVATE, PUBLIC, write_durably
from appliance.resources.machine_inventory import MACHINE_INVENTORY, MachineInventory
from appliance.resources.meta import decode
from appliance.store.base import Event, Gone, Store, StoreError
from mirror.tokens import digest_token

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2  # a thousand hosts that register at once are some writes, not a thousand
RETRY_SECONDS = 2.0

RULES = b"""\
# Written by the appliance at every start; skerry serve --mirror-access FILE puts other rules in their place.

# Whoever signs in has a place of their own: a host pushes to hosts/NAMESPACE/NAME/... and nowhere else.
[[rule]]
repository = "{user}/**"

# Everywhere else push and delete are for administrators and the users of --mirror-htpasswd; anyone pulls.
[[rule]]
repository = "**"
push = ["@admins", "@users"]
delete = ["@admins", "@users"]
"""


class MirrorAccounts:
    """`prepare` before the mirror starts, `run` while it serves."""

    def __init__(self, directory: Path, tokens: HostTokens, admin: AdminToken) -> None:
        self.tokens_file = directory / "mirror-tokens"
        self.rules_file = directory / "mirror-access.toml"
        self._tokens = tokens
        self._admin = admin
        self._hosts: set[HostIdentity] = set()
        self._changed = asyncio.Event()

    def prepare(self) -> None:
        """The files that the mirror needs to start; hosts of the last run stay until `run` knows better."""
        write_durably(self.rules_file, RULES, mode=PUBLIC)
        if not self.tokens_file.exists():
            self._write(())

    async def run(self, store: Store) -> None:
        """Keep the tokens as the store has the hosts, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(store))
            group.create_task(self._keep_written())

    async def _follow(self, store: Store) -> None:
        while True:
            hosts: set[HostIdentity] = set()
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
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(self._write, tuple(self._hosts))
            except OSError as error:
                log.error("mirror accounts: %s cannot be written: %s", self.tokens_file, error)
                self._changed.set()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(SETTLE_SECONDS)

    def _write(self, hosts: Iterable[HostIdentity]) -> None:
        lines = [f"{digest_token(self._admin.secret.reveal())} admin admins"]
        for host in sorted(hosts, key=lambda host: (host.namespace, host.name)):
            token = self._tokens.issue(namespace=host.namespace, name=host.name, uid=host.uid)
            lines.append(f"{digest_token(token.reveal())} hosts/{host.namespace}/{host.name} hosts")
        content = "".join(f"{line}\n" for line in lines).encode()
        if not self.tokens_file.exists() or self.tokens_file.read_bytes() != content:
            write_durably(self.tokens_file, content, mode=PRIVATE)


def _apply(event: Event, hosts: set[HostIdentity]) -> bool:
    """Whether it changed who counts: every host that exists and is approved."""
    if event.type == "BOOKMARK":
        return False
    inventory = decode(MachineInventory, event.document)
    metadata = inventory.metadata
    host = HostIdentity(metadata.namespace, metadata.name, metadata.uid)
    counts = event.type != "DELETED" and inventory.approval == "approved"
    if counts == (host in hosts):
        return False
    (hosts.add if counts else hosts.discard)(host)
    return True
