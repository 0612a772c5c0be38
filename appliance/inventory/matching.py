"""Which known entry a machine is: by its record in the store, TPM hash, serial, MAC, in that order.

Pure. A weaker sign never overrules a stronger one: two entries with different TPMs that claim one serial stay
two, and so do two records of one TPM; the claim is a conflict that a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, str]  # kind, value

# What a machine can be told by, strongest first: the store's own, what is proved, what is burned in.
STRONG = ("uid", "tpm", "machine")
WEAK = ("serial", "mac")


@dataclass(frozen=True, slots=True)
class Known:
    """An entry that has one of the keys. `proved`: its own strong ones, `uid` only while it is registered."""

    id: int
    proved: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """The entry `other` has the same key as the one that was chosen."""

    kind: str
    value: str
    other: int


@dataclass(frozen=True, slots=True)
class Match:
    """`entry` is None for a machine that was never seen."""

    entry: int | None
    claims: tuple[Claim, ...] = ()


def match(
    keys: Sequence[Key], found: Mapping[Key, Sequence[Known]], *, has_one_record: bool = False
) -> Match:
    """Choose among the entries `found` by key. `keys` may be in any order.

    `has_one_record`: no other record of this TPM exists, so one that the entry still names is gone.
    """
    proved = {kind: value for kind, value in keys if kind in STRONG}
    ordered = [key for kind in (*STRONG, *WEAK) for key in keys if key[0] == kind]
    chosen: int | None = None
    for key in ordered:
        holders = found.get(key, ())
        if key[0] in WEAK:
            holders = [known for known in holders if not _contradict(proved, known.proved)]
        elif key[0] != "uid" and not has_one_record:
            holders = [known for known in holders if not _are_two_records(proved, known.proved)]
        if holders and (key[0] in STRONG or len(holders) == 1):
            chosen = holders[0].id
            break
    claims = tuple(
        Claim(*key, known.id) for key in ordered for known in found.get(key, ()) if known.id != chosen
    )
    return Match(chosen, claims)


def _contradict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two are surely two: both have a TPM, or an identifier, or a record, and not the same."""
    return any(
        one.get(kind) and other.get(kind) and one[kind] != other[kind] for kind in ("tpm", "machine")
    ) or _are_two_records(one, other)


def _are_two_records(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    return bool(one.get("uid") and other.get("uid") and one["uid"] != other["uid"])
