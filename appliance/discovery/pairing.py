"""The appliance's side of pairing, as values: who answered, the code that was typed, what to say next.

It opens nothing; `appliance.discovery.calling` carries the messages. What is refused says why in words for
the technician at the machine. A host's session is begun once: an old one that is offered again is a
recording, and a second guess at it.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace

from agent.protocol.pairing import (
    CODE_DIGITS,
    Finish,
    Finished,
    Hello,
    Start,
    Started,
    bind,
    seal,
)
from agent.protocol.pake import Keys, derive_keys, make_share
from appliance.errors import Refused

_CODE = re.compile(rf"\d{{{CODE_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class Self:
    """How this appliance names itself; `fingerprint` is of its CA's public key."""

    id: str
    site: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run: what was typed, what was said so far."""

    hello: Hello
    context: bytes
    code: str
    exponent: bytes
    share: bytes
    sealed: bytes = b""
    keys: Keys | None = None


def parse_code(text: str) -> str:
    """Six digits; spaces and dashes are how people read them aloud. Raises Refused."""
    code = re.sub(r"[\s-]", "", text)
    if not (code.isascii() and _CODE.fullmatch(code)):
        raise Refused("A pairing code is six digits.", hint="It stands on the machine's own screen.")
    return code


def check_hello(hello: Hello, *, id: str, nonce: str) -> None:
    """Raises Refused unless the machine that was chosen answers, now, and can be paired."""
    if hello.echo != nonce or hello.id != id:
        raise Refused(f"Another machine answers where {id} announced itself.")
    if hello.state == "paired":
        raise Refused(f"{id} is paired already.", hint="Restart its registration to pair it anew.")
    if hello.state != "open":
        raise Refused(
            f"{id} refuses to pair for a while: codes were tried that are not its own.",
            hint="Look at its screen; then type the code that it shows.",
        )


def begin(hello: Hello, code: str, *, own: Self, exponent: bytes) -> tuple[Attempt, Start]:
    """The first message of a run."""
    context = bind(hello, appliance=own.id, site=own.site, fingerprint=own.fingerprint)
    share = make_share(code, context, exponent=exponent)
    start = Start(
        session=hello.session, appliance=own.id, site=own.site, fingerprint=own.fingerprint, share=share
    )
    return Attempt(hello, context, code, exponent, share), start


def prove_and_seal(attempt: Attempt, answer: Started, *, document: bytes) -> tuple[Attempt, Finish]:
    """The second: that we knew the code, and the registration for whoever knew it too. Raises Malformed."""
    keys = derive_keys(
        attempt.context,
        own_exponent=attempt.exponent,
        other_share=answer.share,
        appliance_share=attempt.share,
        host_share=answer.share,
    )
    sealed = seal(keys, document, attempt.context)
    finish = Finish(session=attempt.hello.session, proof=_prove(keys.appliance, sealed), sealed=sealed)
    return replace(attempt, keys=keys, sealed=sealed), finish


def check_finished(attempt: Attempt, answer: Finished) -> None:
    """Raises Refused unless the machine proved that it showed the code."""
    keys = attempt.keys
    if keys is None or not hmac.compare_digest(answer.proof, _prove(keys.host, attempt.sealed)):
        raise Refused(
            f"What answered for {attempt.hello.id} does not know the code: it is another machine.",
            hint="Do not use that code again; look for a second device with this name.",
        )


def _prove(key: bytes, sealed: bytes) -> bytes:
    return hmac.digest(key, sealed, hashlib.sha256)
