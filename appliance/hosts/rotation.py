"""A registration gets another token: the old one stops, at once or after a time that burnt media are given.

The old token is first written down as one of the past, by its digest, and only then replaced; killed in
between, the token that is both counts as current.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from appliance.hosts.policy import (
    OLD_TOKENS,
    TOKEN_USED,
    next_old_tokens,
    parse_policy,
    render_old_tokens,
)
from appliance.resources.machine_registration import MACHINE_REGISTRATION, MachineRegistration
from appliance.resources.meta import Document, decode
from appliance.store.base import Conflict, Store, merge

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # the same as for a first token
LENGTH = 54


async def rotate(
    store: Store, name: str, namespace: str, *, grace: timedelta, now: Callable[[], datetime]
) -> str:
    """Replace the token of a registration; returns the new one. Raises StoreError."""
    document = await store.get(MACHINE_REGISTRATION, name, namespace=namespace)
    registration = decode(MachineRegistration, document)
    old = registration.status.registration_token
    if not old:
        raise Conflict(f"Registration {name} has no token yet.", hint="wait until it is Ready")
    moment = now()
    kept = next_old_tokens(parse_policy(registration), old, now=moment, until=moment + grace)
    new = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    changes: Document = {
        "metadata": {
            "resourceVersion": document["metadata"]["resourceVersion"],
            "annotations": {OLD_TOKENS: render_old_tokens(kept), TOKEN_USED: None},
        }
    }
    if registration.spec.token:
        changes["spec"] = {"token": new}
    await store.patch(MACHINE_REGISTRATION, name, merge(changes), namespace=namespace)
    base = registration.status.registration_url.removesuffix(old)
    status = {"registrationToken": new, "registrationURL": f"{base}{new}"}
    await store.patch(
        MACHINE_REGISTRATION, name, merge({"status": status}), namespace=namespace, subresource="status"
    )
    return new
