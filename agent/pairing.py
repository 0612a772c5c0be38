"""The host's side of pairing, as values: a state and a message in, a state and an answer out.

It opens nothing, draws nothing and is told the time; `agent.pairing_listener` does those. One code is good
for one run: whatever goes wrong in a run burns it, and every burnt code makes the next wait longer, so
that whoever sits on the network has one guess among a million a run, and few runs.
"""

import hashlib
import hmac
from dataclasses import dataclass, replace

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.errors import Denied
from agent.protocol.client_config import Registration, parse_registration
from agent.protocol.errors import ProtocolError
from agent.protocol.pairing import Finish, Finished, Hello, Start, Started, bind, unseal
from agent.protocol.pake import Keys, derive_keys, make_share

CODE_SECONDS = 600.0  # how long a code stands on the screen
RUN_SECONDS = 30.0  # from the start of a run to its end
FREE_FAILURES = 2  # a technician mistypes; after that each failure locks for longer
LOCK_SECONDS = 15.0
MAX_LOCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides for one run."""

    code: str
    session: str
    exponent: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """A started run: which appliance, and the keys that the code gave."""

    start: Start
    context: bytes
    keys: Keys
    since: float


@dataclass(frozen=True, slots=True)
class Paired:
    """The end of it: whom to register with, and the last answer, for an appliance that did not hear it."""

    registration: Registration
    appliance: str
    finish: Finish
    answer: Finished


@dataclass(frozen=True, slots=True)
class Pairing:
    """Where a host is with its pairing."""

    id: str
    name: str
    draw: Draw
    since: float
    run: Run | None = None
    failures: int = 0
    locked_until: float = 0.0
    paired: Paired | None = None


def describe(pairing: Pairing, *, nonce: str, now: float) -> Hello:
    """Who we are; anybody may ask."""
    state = "paired" if pairing.paired else "locked" if now < pairing.locked_until else "open"
    return Hello(id=pairing.id, session=pairing.draw.session, state=state, echo=nonce, name=pairing.name)


def tick(pairing: Pairing, *, draw: Draw, now: float) -> Pairing:
    """What time alone does: an old code goes, a run that stands still has failed."""
    if pairing.paired:
        return pairing
    if pairing.run is not None and now - pairing.run.since >= RUN_SECONDS:
        return _burn(pairing, draw=draw, now=now)
    if pairing.run is None and now - pairing.since >= CODE_SECONDS:
        return replace(pairing, draw=draw, since=now)
    return pairing


def answer_start(
    pairing: Pairing, message: Start, *, draw: Draw, now: float
) -> tuple[Pairing, Started | Denied]:
    """Begin the one run of this code; a second start burns it."""
    if pairing.paired:
        return pairing, Denied("this host is paired already", hint="restart its registration to pair it anew")
    if now < pairing.locked_until:
        wait = int(pairing.locked_until - now) + 1
        return pairing, Denied(
            "this host refuses to pair for a while: codes were tried that are not its own",
            hint=f"wait {wait} s and type the code that it shows then",
        )
    if message.session != pairing.draw.session:
        return pairing, Denied("that code is no longer shown", hint="type the code that stands there now")
    if pairing.run is not None:
        return _burn(pairing, draw=draw, now=now), Denied(
            "two appliances use this code at the same time", hint="type the new code that it shows"
        )
    hello = describe(pairing, nonce="", now=now)
    context = bind(hello, appliance=message.appliance, site=message.site, fingerprint=message.fingerprint)
    own = make_share(pairing.draw.code, context, exponent=pairing.draw.exponent)
    try:
        keys = derive_keys(
            context,
            own_exponent=pairing.draw.exponent,
            other_share=message.share,
            appliance_share=message.share,
            host_share=own,
        )
    except ProtocolError as error:
        return _burn(pairing, draw=draw, now=now), Denied(str(error))
    return replace(pairing, run=Run(message, context, keys, now)), Started(share=own)


def answer_finish(
    pairing: Pairing, message: Finish, *, draw: Draw, now: float
) -> tuple[Pairing, Finished | Denied]:
    """Take the registration if the appliance knew the code and the CA is the one it spoke of."""
    if pairing.paired:
        if message == pairing.paired.finish:
            return pairing, pairing.paired.answer
        return pairing, Denied("this host is paired already")
    run = pairing.run
    if run is None or message.session != pairing.draw.session:
        return pairing, Denied("that code is no longer shown", hint="type the code that stands there now")
    if not hmac.compare_digest(message.proof, prove(run.keys.appliance, message.sealed)):
        return _burn(pairing, draw=draw, now=now), Denied(
            "the code is not the one that this host shows", hint="type the new code that it shows now"
        )
    try:
        registration = parse_registration(unseal(run.keys, message.sealed, run.context))
        check_authority(registration.ca_cert, run.start.fingerprint)
    except (ProtocolError, Denied) as error:
        return _burn(pairing, draw=draw, now=now), Denied(str(error))
    answer = Finished(proof=prove(run.keys.host, message.sealed))
    who = run.start.site or run.start.appliance
    return replace(pairing, run=None, paired=Paired(registration, who, message, answer)), answer


def prove(key: bytes, sealed: bytes) -> bytes:
    """That an end holds the keys, over what was sealed with them."""
    return hmac.digest(key, sealed, hashlib.sha256)


def check_authority(pem: str, fingerprint: str) -> None:
    """Raises Denied unless `pem` is one certificate whose key has that fingerprint."""
    found = read_fingerprint(pem)
    if not found:
        raise Denied("the registration names no CA that could be trusted")
    if found != fingerprint:
        raise Denied("the registration's CA is not the one that the appliance paired with")


def read_fingerprint(pem: str) -> str:
    """SHA-256 of the public key of the one certificate in `pem`, in hex; empty where there is not one."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        return ""
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).hexdigest()


def _burn(pairing: Pairing, *, draw: Draw, now: float) -> Pairing:
    failures = pairing.failures + 1
    lock = LOCK_SECONDS * 2.0 ** max(0, failures - FREE_FAILURES - 1) if failures > FREE_FAILURES else 0.0
    return replace(
        pairing,
        draw=draw,
        since=now,
        run=None,
        failures=failures,
        locked_until=now + min(lock, MAX_LOCK_SECONDS),
    )
