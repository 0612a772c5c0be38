"""The list of machines that are expected to come: parsed from CSV, and asked about one machine. Pure.

The list is a ConfigMap `<registration>-expected-hosts`, its key `hosts.csv`: a line of column names out of
`ek_hash`, `serial`, `mac`, `uuid` and `note`, then a machine a line with at least one of the first four.
A line with an `ek_hash` is that TPM and no other; the rest is only what a machine says of itself.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from appliance.hosts.claims import Claims, clean_mac, clean_serial, clean_uuid

SUFFIX = "-expected-hosts"
KEY = "hosts.csv"
COLUMNS = ("ek_hash", "serial", "mac", "uuid", "note")
MAX_BYTES = 900 * 1024  # below the largest object
MAX_LINES = 20_000


class ListInvalid(ValueError):
    """The list cannot be read; the text names the line."""


@dataclass(frozen=True, slots=True)
class ExpectedHost:
    """One line; empty is not said. `line` counts from 1, the column names included."""

    line: int
    ek_hash: str = ""
    serial: str = ""
    mac: str = ""
    uuid: str = ""
    note: str = ""

    @property
    def key(self) -> str:
        """What the line is remembered by when the list is written anew."""
        parts = (("ek", self.ek_hash[:16]), ("serial", self.serial), ("mac", self.mac), ("uuid", self.uuid))
        return ",".join(f"{name}={value}" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class ExpectedList:
    hosts: Sequence[ExpectedHost] = ()
    _by_ek: dict[str, ExpectedHost] = field(default_factory=dict, repr=False, compare=False)
    _by_claim: dict[str, list[ExpectedHost]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for host in self.hosts:
            if host.ek_hash:
                self._by_ek[host.ek_hash] = host
            else:
                first = f"serial={host.serial}" if host.serial else f"mac={host.mac}" if host.mac else ""
                self._by_claim.setdefault(first or f"uuid={host.uuid}", []).append(host)

    def find(self, tpm_hash: str, claims: Claims) -> ExpectedHost | None:
        """The line that is this machine: by its proved TPM first, else by all that a line says of it."""
        if tpm_hash and (proved := self._by_ek.get(tpm_hash)):
            return proved
        for key in claims.names():
            for host in self._by_claim.get(key, ()):
                if _fits(host, claims):
                    return host
        return None


def parse_expected(text: str) -> ExpectedList:
    """Raises ListInvalid."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ListInvalid(f"the list is over {MAX_BYTES} bytes")
    if "\0" in text:
        raise ListInvalid("the list is not text")
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = [name.strip().lower() for name in next(rows, [])]
        if not names or set(names) - set(COLUMNS) or len(set(names)) < len(names):
            raise ListInvalid(f"line 1 must name columns out of {', '.join(COLUMNS)}")
        hosts = list(_read_rows(rows, names))
    except csv.Error as error:
        raise ListInvalid(f"line {rows.line_num} is no CSV: {error}") from error
    seen: dict[str, int] = {}
    for host in hosts:
        first = seen.setdefault(host.key, host.line)
        if first != host.line:
            raise ListInvalid(f"line {host.line} is the machine of line {first}")
    return ExpectedList(hosts)


def _read_rows(rows: Iterator[list[str]], names: Sequence[str]) -> Iterator[ExpectedHost]:
    for line, row in enumerate(rows, 2):
        if line > MAX_LINES:
            raise ListInvalid(f"the list has more than {MAX_LINES} lines")
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(names):
            raise ListInvalid(f"line {line} has {len(row)} columns, not {len(names)}")
        yield _read_host(line, dict(zip(names, (cell.strip() for cell in row), strict=True)))


def _read_host(line: int, cells: Mapping[str, str]) -> ExpectedHost:
    host = ExpectedHost(
        line=line,
        ek_hash=cells.get("ek_hash", "").lower(),
        serial=clean_serial(cells.get("serial", "")),
        mac=clean_mac(cells.get("mac", "")),
        uuid=clean_uuid(cells.get("uuid", "")),
        note=cells.get("note", ""),
    )
    for name in ("serial", "mac", "uuid"):
        if cells.get(name) and not getattr(host, name):
            raise ListInvalid(f"line {line}: {cells[name][:40]!r} is no {name} that tells machines apart")
    if host.ek_hash and (len(host.ek_hash) != 64 or set(host.ek_hash) - set("0123456789abcdef")):
        raise ListInvalid(f"line {line}: the ek_hash is not 64 hex digits")
    if not host.key:
        raise ListInvalid(f"line {line} names no machine")
    return host


def _fits(host: ExpectedHost, claims: Claims) -> bool:
    return (
        (not host.serial or host.serial == claims.serial)
        and (not host.uuid or host.uuid == claims.uuid)
        and (not host.mac or host.mac in claims.macs)
    )
