"""Which known entry a machine is: by TPM hash, by what the store calls it, by serial, by MAC, in that order.

Pure. A weaker sign never overrules a stronger one: two entries with different TPMs that claim one serial stay
two, and the claim is a conflict that a person decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, str]  # kind, value

# What a machine can be told by, strongest first. The first three are proved or the store's own.
STRONG = ("tpm", "machine", "uid")
WEAK = ("serial", "mac")


@dataclass(frozen=True, slots=True)
class Known:
    """An entry that has one of the keys; `proved` are its own strong keys."""

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


def match(keys: Sequence[Key], found: Mapping[Key, Sequence[Known]]) -> Match:
    """Choose among the entries `found` by key. `keys` may be in any order."""
    proved = {kind: value for kind, value in keys if kind in STRONG}
    chosen: int | None = None
    for kind in STRONG:
        holders = found.get((kind, proved.get(kind, "")), ())
        if chosen is None and holders:
            chosen = holders[0].id
    weak = [key for kind in WEAK for key in keys if key[0] == kind]
    if chosen is None:
        for key in weak:
            possible = [known for known in found.get(key, ()) if not _contradict(proved, known.proved)]
            if len(possible) == 1:
                chosen = possible[0].id
                break
    claims = tuple(
        Claim(*key, known.id) for key in weak for known in found.get(key, ()) if known.id != chosen
    )
    return Match(chosen, claims)


def _contradict(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether two machines are surely two: both showed a TPM, or an identifier, and not the same."""
    return any(one.get(kind) and other.get(kind) and one[kind] != other[kind] for kind in ("tpm", "machine"))
