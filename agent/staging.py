"""The steps that install and upgrade share: from a reference to a checked snapshot, then the switch to it.

Nothing here decides whether to do it. Each step may be repeated; the journal keeps which ones are done.
The order of the switch is host-os.md 2.11's: image, state.yaml, link, environment block.
"""

import msgspec

from agent.config import MIB
from agent.durable import sync_directory
from agent.errors import ImageInvalid
from agent.host import now_text
from agent.image import load_pulled, pull, remove_blobs
from agent.installation import Installation
from agent.journal import Record, Step
from agent.layers import TreeLimits, estimate_unpacked, find_inside, flatten
from agent.reference import parse_reference
from agent.registry import Registry
from agent.slots import choose_pruned, order_passives
from agent.state import Snapshot, State, with_active, with_snapshot, without_snapshots, write_state

# The step that makes a candidate a bad one for good.
CONDEMN = "condemn"
NEEDED_FILES = ("boot/vmlinuz", "boot/initrd", "etc/elemental/bootargs.cfg")


def pull_step(installation: Installation, record: Record, registry: Registry) -> Step:
    """Fetch the blobs, and learn the version."""

    def act() -> None:
        journal = installation.journal
        last = [-1]

        def note(percent: int) -> None:
            if percent != last[0]:
                last[0] = percent
                journal.note_progress(_current(installation, record), percent)

        reference = parse_reference(record.reference)
        image = pull(reference, installation.pull_directory, registry=registry, progress=note)
        if image.digest != record.digest:
            raise ImageInvalid(f"{reference} is now {image.digest}, not {record.digest}")
        current = _current(installation, record)
        journal.put(msgspec.structs.replace(current, version=image.version))

    return Step("pull", "pulling", act)


def unpack_step(installation: Installation, record: Record) -> Step:
    def act() -> None:
        snapshots = installation.snapshots
        image = load_pulled(installation.pull_directory)
        snapshots.remove(record.snapshot)
        snapshots.check_space(record.snapshot, estimate_unpacked(image.layers))
        limit = TreeLimits(bytes=installation.config.snapshot.max_unpacked_mib * MIB)
        tree = snapshots.tree(record.snapshot)
        journal = installation.journal
        flatten(
            image.layers,
            tree,
            limits=limit,
            progress=lambda percent: journal.note_progress(_current(installation, record), percent),
        )
        for needed in NEEDED_FILES:
            if not find_inside(tree, needed).is_file():
                raise ImageInvalid(
                    f"{record.reference} cannot boot: it has no /{needed}",
                    hint="build the image from one of the OS recipes",
                )
        sync_directory(tree)

    return Step("unpack", "writing", act)


def build_step(installation: Installation, record: Record) -> Step:
    return Step("build", "writing", lambda: installation.snapshots.build(record.snapshot))


def check_step(installation: Installation, record: Record) -> Step:
    return Step("check", "verifying", lambda: installation.snapshots.check(record.snapshot))


def prune_step(installation: Installation, record: Record) -> Step:
    """Make room for one more before unpacking: the peak is then three trees, not four (host-os.md 2.5)."""

    def act() -> None:
        state = installation.state()
        boot = installation.boot
        booted = installation.booted().snapshot
        others = [one for one in state.records() if one.id != record.snapshot]
        pruned = choose_pruned(
            others,
            good=record.previous,
            booted=booted,
            max_snaps=max(state.snapshotter.max_snaps, 2),
        )
        pruned = [number for number in pruned if not installation.snapshots.is_in_use(number)]
        state = without_snapshots(state, pruned)
        boot.disarm(record.previous, passives=order_passives(state.records(), active=record.previous))
        write_state(installation.host, state)
        remove_orphans(installation, state, keep=(record.snapshot, booted, record.previous))

    return Step("prune", "writing", act)


def switch_steps(installation: Installation, record: Record) -> list[Step]:
    """Record, link, arm. Until the last of them a power cut boots the old system; after it, the candidate."""
    host, boot, snapshots = installation.host, installation.boot, installation.snapshots

    def put_candidate() -> None:
        state = with_candidate(installation.state(), _current(installation, record))
        write_state(host, with_active(state, record.snapshot))

    def arm() -> None:
        records = installation.state().records()
        passives = order_passives(records, active=record.snapshot)
        boot.arm(record.snapshot, good=record.previous, passives=passives)

    return [
        Step("record", "verifying", put_candidate),
        Step("release", "verifying", boot.release_active),
        Step("link", "verifying", lambda: snapshots.link_active(record.snapshot)),
        Step("arm", "armed", arm),
    ]


def with_candidate(state: State, record: Record) -> State:
    """Add the candidate, unless it is a snapshot that is there already (a switch back)."""
    if record.snapshot in state.snapshots:
        return state
    snapshot = Snapshot(
        source=f"oci://{record.reference}",
        digest=record.digest,
        labels={"correlationID": record.correlation_id} if record.correlation_id else {},
        date=now_text(),
        from_action="install" if record.action == "install" else "upgrade",
        slot=record.slot,
        status="candidate",
        version=record.version,
    )
    return with_snapshot(state, record.snapshot, snapshot)


def abandon(installation: Installation, record: Record) -> None:
    """Undo what was done before the switch took effect; the running system was never touched."""
    boot, snapshots, host = installation.boot, installation.snapshots, installation.host
    state = installation.state()
    made_here = state.snapshots.get(record.snapshot)
    boot.release_active()
    snapshots.link_active(record.previous)
    if made_here is not None and made_here.status == "candidate":
        state = without_snapshots(state, [record.snapshot])
    state = with_active(state, record.previous)
    boot.disarm(record.previous, passives=order_passives(state.records(), active=record.previous))
    write_state(host, state)
    remove_orphans(installation, state, keep=(installation.booted().snapshot, record.previous))


def clean_up(installation: Installation) -> None:
    """Remove what only an open transaction needs."""
    remove_blobs(installation.pull_directory)
    remove_orphans(installation, installation.state(), keep=(installation.booted().snapshot,))


def remove_orphans(installation: Installation, state: State, *, keep: tuple[int | None, ...]) -> None:
    """Remove snapshot directories that state.yaml does not know: half-built or pruned ones."""
    for number in installation.snapshots.list_numbers():
        if number not in state.snapshots and number not in keep:
            installation.snapshots.remove(number)


def _current(installation: Installation, record: Record) -> Record:
    return installation.journal.record() or record
