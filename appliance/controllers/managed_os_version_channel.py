"""ManagedOSVersionChannel: keeps the versions that a list names, reading it without running anything.

Upstream runs the channel's image in a pod and reads its log. The list lies in the image's layers just as
well, and there it can be read by an appliance that runs no pods. What a channel no longer lists is marked,
and deleted if so wished, but never while something needs it. A version of that name that is somebody else's
is left alone and named in the condition; the others are written all the same.
"""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from appliance.controllers.events import Recorder
from appliance.controllers.manager import DONE, Result, Watch, owner_keys
from appliance.controllers.owners import render_owner
from appliance.controllers.queue import Key
from appliance.controllers.settings import ControllerSettings, ListUnreadable
from appliance.controllers.version_list import (
    InvalidChannel,
    InvalidList,
    ListAddress,
    ParsedList,
    parse_list,
    read_address,
    read_interval,
)
from appliance.controllers.version_users import find_user
from appliance.controllers.writes import (
    parse_time,
    render_time,
    replace_by,
    set_condition,
    write_changes,
    write_status,
)
from appliance.resources.managed_os_version import MANAGED_OS_VERSION
from appliance.resources.managed_os_version_channel import (
    MANAGED_OS_VERSION_CHANNEL,
    ManagedOSVersionChannel,
    ManagedOSVersionChannelReason,
    ManagedOSVersionChannelStatus,
)
from appliance.resources.meta import ConditionStatus, Document, Kind, decode, find_condition
from appliance.store.base import (
    AlreadyExists,
    Invalid,
    Malformed,
    NotFound,
    Selection,
    Store,
    TooLarge,
)

CHANNEL_LABEL = "elemental.cattle.io/channel"
LAST_SYNC = "elemental.cattle.io/channel-last-sync"
NO_LONGER_IN_SYNC = "elemental.cattle.io/channel-no-longer-in-sync"

FIRST_RETRY = timedelta(seconds=4)
LONGEST_RETRY = timedelta(seconds=512)
MAX_ATTEMPTS = 4  # in a row; then the next interval is waited for
TOLD_PROBLEMS = 5


class ManagedOSVersionChannelController:
    def __init__(self, store: Store, settings: ControllerSettings) -> None:
        self._store = store
        self._settings = settings
        self._recorder = Recorder(store, clock=settings.clock)
        # When a failing channel was tried last. A restart tries once more, which does no harm.
        self._tried: dict[Key, datetime] = {}

    @property
    def kind(self) -> Kind:
        return MANAGED_OS_VERSION_CHANNEL

    @property
    def watches(self) -> Sequence[Watch]:
        return (Watch(MANAGED_OS_VERSION, owner_keys(MANAGED_OS_VERSION_CHANNEL)),)

    async def reconcile(self, key: Key) -> Result:
        """Synchronise if it is time, and say when it is time again."""
        try:
            document = await self._store.get(self.kind, key.name, namespace=key.namespace)
        except NotFound:
            self._tried.pop(key, None)
            return DONE
        channel = decode(ManagedOSVersionChannel, document)
        if channel.metadata.deletion_timestamp is not None:
            return DONE
        now = self._settings.clock()
        try:
            interval, address = read_interval(channel.spec), read_address(channel.spec)
        except InvalidChannel as error:
            await self._settle(document, channel, "InvalidConfiguration", str(error))
            return DONE
        if not channel.spec.enabled:
            await self._retire(channel, keep=frozenset())
            await self._settle(document, channel, "ChannelDisabled", "the channel is switched off")
            return DONE
        wait = until_next_sync(channel, interval, tried_at=self._tried.get(key), now=now)
        if wait > timedelta():
            return Result(again_in=wait.total_seconds())
        return await self._synchronize(key, document, channel, address, interval)

    async def _synchronize(
        self,
        key: Key,
        document: Document,
        channel: ManagedOSVersionChannel,
        address: ListAddress,
        interval: timedelta,
    ) -> Result:
        begun = _begin(channel, now=self._settings.clock())
        document = await write_status(self._store, self.kind, document, begun)
        channel = msgspec.structs.replace(channel, status=begun)
        problems: Sequence[str]
        try:
            content = await asyncio.to_thread(self._settings.read_list, address)
            listed = parse_list(content, channel.spec)
            problems = await self._write_all(channel, listed)
        except (ListUnreadable, InvalidList) as error:
            problems = [str(error)]
        else:
            await self._retire(channel, keep=listed.versions.keys())
        if not problems:
            self._tried.pop(key, None)
            message = f"{len(listed.versions)} versions"
            await self._settle(document, channel, "Synchronized", message)
            return Result(again_in=interval.total_seconds())
        self._tried[key] = self._settings.clock()
        more = f"; and {len(problems) - TOLD_PROBLEMS} more" if len(problems) > TOLD_PROBLEMS else ""
        await self._settle(
            document, channel, "FailedToSync", "; ".join(problems[:TOLD_PROBLEMS]) + more, has_failed=True
        )
        wait = retry_after(channel.status.failed_synchronization_attempts + 1, interval)
        return Result(again_in=wait.total_seconds())

    async def _write_all(self, channel: ManagedOSVersionChannel, listed: ParsedList) -> Sequence[str]:
        """Create and update; the sentences are of those that could not be, or made no sense."""
        problems = list(listed.problems)
        synced = render_time(self._settings.clock())
        for name, spec in listed.versions.items():
            try:
                owner = await self._write(channel, name, spec, synced=synced)
            except (Invalid, Malformed, TooLarge) as error:
                problems.append(f"ManagedOSVersion {name} is refused: {error}")
                continue
            if owner:
                problems.append(f"ManagedOSVersion {name} is {owner} and is left alone")
        return problems

    async def _write(
        self, channel: ManagedOSVersionChannel, name: str, spec: Document, *, synced: str
    ) -> str:
        """Bring one version to what the list says; whose it is, if it is not this channel's."""
        wanted = render_version(channel, name, spec, synced=synced)
        try:
            present = await self._store.get(MANAGED_OS_VERSION, name, namespace=channel.metadata.namespace)
        except NotFound:
            try:
                await self._store.create(MANAGED_OS_VERSION, wanted)
            except AlreadyExists:
                return "somebody else's"
            return ""
        labels = present["metadata"].get("labels") or {}
        if labels.get(CHANNEL_LABEL) != channel.metadata.name:
            other = labels.get(CHANNEL_LABEL)
            return f"of channel {other}" if other else "not of a channel"
        metadata = wanted["metadata"]
        changes = {
            "metadata": {
                "labels": metadata["labels"],
                "annotations": {**metadata["annotations"], NO_LONGER_IN_SYNC: None},
                "ownerReferences": metadata["ownerReferences"],
            },
            "spec": replace_by(present.get("spec"), spec),
        }
        await write_changes(self._store, MANAGED_OS_VERSION, present, changes)
        return ""

    async def _retire(self, channel: ManagedOSVersionChannel, *, keep: Collection[str]) -> None:
        """Mark what the channel does not list, and delete of it what nobody uses, if that is wished."""
        namespace = channel.metadata.namespace
        ours = Selection(namespace=namespace, labels=f"{CHANNEL_LABEL}={channel.metadata.name}")
        for document in (await self._store.list(MANAGED_OS_VERSION, ours)).items:
            metadata = document["metadata"]
            if metadata["name"] in keep or metadata.get("deletionTimestamp"):
                continue
            mark = {"metadata": {"annotations": {NO_LONGER_IN_SYNC: "true"}}}
            await write_changes(self._store, MANAGED_OS_VERSION, document, mark)
            if not channel.spec.delete_no_longer_in_sync_versions:
                continue
            if not await find_user(self._store, document):
                await self._store.delete(MANAGED_OS_VERSION, metadata["name"], namespace=namespace)

    async def _settle(
        self,
        document: Document,
        channel: ManagedOSVersionChannel,
        reason: ManagedOSVersionChannelReason,
        message: str,
        *,
        has_failed: bool = False,
    ) -> None:
        """Write how it ended: one condition, one time, one count."""
        now = self._settings.clock()
        before = channel.status
        is_good = reason in ("Synchronized", "ChannelDisabled")
        status: ConditionStatus = "True" if is_good else "False"
        conditions = set_condition(before.conditions, "Ready", status, reason, message, now=now)
        after = ManagedOSVersionChannelStatus(
            conditions=conditions,
            last_synced_time=render_time(now) if reason == "Synchronized" else before.last_synced_time,
            failed_synchronization_attempts=before.failed_synchronization_attempts + 1 if has_failed else 0,
            synced_generation=channel.metadata.generation,
        )
        await write_status(self._store, self.kind, document, after)
        await self._recorder.record_condition(document, "Ready", before.conditions, conditions)


def until_next_sync(
    channel: ManagedOSVersionChannel, interval: timedelta, *, tried_at: datetime | None, now: datetime
) -> timedelta:
    """How long to wait. Nothing for a new or edited channel, or for one that was interrupted. Pure."""
    status, ready = channel.status, find_condition(channel.status.conditions, "Ready")
    if ready is None or status.synced_generation != channel.metadata.generation:
        return timedelta()
    match ready.reason:
        case "Synchronized" if status.last_synced_time:
            synced = parse_time(status.last_synced_time, default=now - interval)
            return min(interval, synced + interval - now)  # also if the clock was set back
        case "FailedToSync" if tried_at is not None:
            return tried_at + retry_after(status.failed_synchronization_attempts, interval) - now
        case _:
            return timedelta()


def retry_after(attempts: int, interval: timedelta) -> timedelta:
    """The wait after so many failures in a row: doubling, then the interval."""
    if attempts > MAX_ATTEMPTS:
        return interval
    return min(LONGEST_RETRY, interval, FIRST_RETRY * (1 << max(0, attempts - 1)))


def render_version(channel: ManagedOSVersionChannel, name: str, spec: Document, *, synced: str) -> Document:
    """The version that the channel makes of one entry."""
    return {
        "apiVersion": MANAGED_OS_VERSION.api_version,
        "kind": MANAGED_OS_VERSION.kind,
        "metadata": {
            "name": name,
            "namespace": channel.metadata.namespace,
            "labels": {CHANNEL_LABEL: channel.metadata.name},
            "annotations": {LAST_SYNC: synced},
            "ownerReferences": [render_owner(MANAGED_OS_VERSION_CHANNEL, channel.metadata)],
        },
        "spec": spec,
    }


def _begin(channel: ManagedOSVersionChannel, *, now: datetime) -> ManagedOSVersionChannelStatus:
    """The status while the list is read; a new interval, or an edit, begins to count failures anew."""
    before = channel.status
    is_edited = before.synced_generation != channel.metadata.generation
    is_over = before.failed_synchronization_attempts > MAX_ATTEMPTS
    return msgspec.structs.replace(
        before,
        conditions=set_condition(before.conditions, "Ready", "False", "Synchronizing", now=now),
        failed_synchronization_attempts=0 if is_edited or is_over else before.failed_synchronization_attempts,
        synced_generation=channel.metadata.generation,
    )
