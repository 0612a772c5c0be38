"""What a MachineRegistration asks of the machines that come to it: our annotations, read into one value.

Pure. The defaults are the safe ones, and what cannot be read is never taken for "off": it is a problem, the
registration says so in its condition `PolicyValid`, and admits nobody until it is put right.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeVar, get_args

import msgspec

from appliance.resources.machine_registration import APPROVAL_POLICY, MachineRegistration
from appliance.resources.meta import Document

ENFORCE_AUTH = "skerry.dev/enforce-auth"
EK_CHAIN = "skerry.dev/ek-chain"
EXPECTED_HOSTS = "skerry.dev/expected-hosts"
APPROVE_EXPECTED = "skerry.dev/approve-expected"
TOKEN_EXPIRES = "skerry.dev/token-expires"  # noqa: S105 - an annotation's name
TOKEN_USES = "skerry.dev/token-uses"  # noqa: S105
TOKEN_USED = "skerry.dev/token-used"  # noqa: S105 - how many machines came by the token; ours to write
OLD_TOKENS = "skerry.dev/old-tokens"  # digests of replaced tokens; ours to write

Approval = Literal["required", "automatic", "two-person"]
Chain = Literal["ignore", "record", "require"]
Expected = Literal["off", "record", "require"]
ApproveExpected = Literal["never", "proved", "any"]
Auth = Literal["tpm", "mac", "sys-uuid"]
Word = TypeVar("Word", bound=str)

MAX_USES = 1_000_000
MAX_OLD_TOKENS = 16
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class OldToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token that was replaced: its SHA-256, when, and until when machines may still come by it."""

    digest: str
    replaced: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """`problems` are sentences; with any of them nobody is admitted."""

    approval: Approval = "required"
    auth: Auth = "tpm"
    enforces_auth: bool = True
    allows_emulation: bool = False
    ek_chain: Chain = "record"
    expected: Expected = "off"
    approve_expected: ApproveExpected = "never"
    token_expires: datetime | None = None
    token_uses: int | None = None
    token_used: int = 0
    old_tokens: Sequence[OldToken] = ()
    problems: Sequence[str] = ()


def parse_policy(registration: MachineRegistration) -> RegistrationPolicy:
    """Everything that the registration asks; never raises."""
    annotations = registration.metadata.annotations
    given = registration.spec.config.elemental.registration
    problems: list[str] = []

    def choose(key: str, words: tuple[Word, ...], default: Word) -> Word:
        written = annotations.get(key, default)
        for word in words:
            if written == word:
                return word
        problems.append(f"{key} is {written[:40]!r}; it can be {', '.join(words)}")
        return default

    policy = RegistrationPolicy(
        approval=choose(APPROVAL_POLICY, get_args(Approval), "required"),
        auth=given.auth if given.auth in get_args(Auth) else "tpm",  # type: ignore[arg-type]
        enforces_auth=choose(ENFORCE_AUTH, ("true", "false"), "true") == "true",
        allows_emulation=given.emulate_tpm,
        ek_chain=choose(EK_CHAIN, get_args(Chain), "record"),
        expected=choose(EXPECTED_HOSTS, get_args(Expected), "off"),
        approve_expected=choose(APPROVE_EXPECTED, get_args(ApproveExpected), "never"),
        token_expires=_parse_moment(annotations, TOKEN_EXPIRES, problems),
        token_uses=_parse_count(annotations, TOKEN_USES, problems),
        token_used=_parse_count(annotations, TOKEN_USED, problems) or 0,
        old_tokens=_parse_old_tokens(annotations, problems),
    )
    if given.auth not in get_args(Auth):
        problems.append(f"auth is {given.auth[:40]!r}; it can be {', '.join(get_args(Auth))}")
    return replace(policy, problems=tuple(problems))


def check_method(policy: RegistrationPolicy, *, identifier: str | None) -> str:
    """Why a machine may not prove itself this way; empty if it may. `identifier` is None for a TPM."""
    if identifier is None:
        if policy.enforces_auth and policy.auth != "tpm":
            return f"this registration asks for {_ASKED[policy.auth]}, not for a TPM"
        return ""
    if policy.auth == "tpm":
        return "this registration asks for a TPM; an identifier proves nothing"
    shape = _MAC if policy.auth == "mac" else _UUID
    if policy.enforces_auth and not shape.fullmatch(identifier):
        return f"this registration asks for {_ASKED[policy.auth]}, and what came is none"
    return ""


def check_emulation(policy: RegistrationPolicy, annotations: Mapping[str, str]) -> str:
    """Why a TPM that says it is emulated is refused; empty if it is not. Only its certificate proves one."""
    if policy.enforces_auth and not policy.allows_emulation and annotations.get("auth") == "emulated-tpm":
        return "this registration asks for a real TPM, and the machine's is emulated"
    return ""


def check_token(policy: RegistrationPolicy, token: str, current: str, *, now: datetime) -> str:
    """Why no new machine may come by `token`; empty if one may."""
    if token != current:
        digest = digest_token(token)
        old = next((each for each in policy.old_tokens if each.digest == digest), None)
        if old is None or old.until <= now:
            day = f" on {old.replaced:%Y-%m-%d}" if old else ""
            return f"the token of this medium was replaced{day}; make a new medium"
    if policy.token_expires is not None and policy.token_expires <= now:
        return f"the registration's token expired at {policy.token_expires:%Y-%m-%dT%H:%M:%SZ}"
    if policy.token_uses is not None and policy.token_used >= policy.token_uses:
        return f"the registration's token was for {policy.token_uses} machines, and they have come"
    return ""


def next_old_tokens(
    policy: RegistrationPolicy, token: str, *, now: datetime, until: datetime
) -> tuple[OldToken, ...]:
    """The list after `token` was replaced, newest first."""
    new = OldToken(digest=digest_token(token), replaced=now, until=until)
    kept = [each for each in policy.old_tokens if each.digest != new.digest]
    return (new, *kept)[:MAX_OLD_TOKENS]


def render_old_tokens(tokens: Sequence[OldToken]) -> str:
    return msgspec.json.encode(tokens).decode()


def digest_token(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def has_old_token(registration: Document, digest: str) -> bool:
    """Whether a token of that digest was this registration's before; cheap, for it answers strangers."""
    return f'"{digest}"' in (registration["metadata"].get("annotations") or {}).get(OLD_TOKENS, "")


_ASKED: dict[Auth, str] = {"tpm": "a TPM", "mac": "a MAC address", "sys-uuid": "a system UUID"}


def _parse_moment(annotations: Mapping[str, str], key: str, problems: list[str]) -> datetime | None:
    written = annotations.get(key)
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(f"{key} is {written[:40]!r}, no time such as 2027-01-31T00:00:00Z")
        return None


def _parse_count(annotations: Mapping[str, str], key: str, problems: list[str]) -> int | None:
    written = annotations.get(key)
    if written is None:
        return None
    if not re.fullmatch(r"[0-9]{1,7}", written) or int(written) > MAX_USES:
        problems.append(f"{key} is {written[:40]!r}, no number up to {MAX_USES}")
        return None
    return int(written)


def _parse_old_tokens(annotations: Mapping[str, str], problems: list[str]) -> tuple[OldToken, ...]:
    written = annotations.get(OLD_TOKENS)
    if written is None:
        return ()
    try:
        tokens = msgspec.json.decode(written, type=tuple[OldToken, ...])
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        problems.append(f"{OLD_TOKENS} is not as the appliance wrote it")
        return ()
    if len(tokens) > MAX_OLD_TOKENS or any(
        not (each.until.tzinfo and each.replaced.tzinfo) for each in tokens
    ):
        problems.append(f"{OLD_TOKENS} is not as the appliance wrote it")
        return ()
    return tokens
