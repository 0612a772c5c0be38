"""What may I do? The reviews that k9s and `kubectl auth can-i` send before they try.

The answer is the same callback's that guards every request; nothing is stored.
"""

from collections.abc import Sequence
from typing import get_args

from aiohttp import web

from appliance.api.kubernetes.requests import Authorize, Verb, read_document
from appliance.errors import ApplianceFault
from appliance.resources.meta import Document, Kind
from appliance.store.base import StoreError

GROUP, VERSION = "authorization.k8s.io", "v1"
PLURAL = "selfsubjectaccessreviews"


async def review_access(request: web.Request, kinds: Sequence[Kind], authorize: Authorize) -> Document:
    """Answer a SelfSubjectAccessReview."""
    review = await read_document(request)
    specification = review.get("spec")
    wanted = specification.get("resourceAttributes") if isinstance(specification, dict) else None
    reason = _refusal(request, kinds, authorize, wanted if isinstance(wanted, dict) else {})
    status = {"allowed": not reason, **({"reason": reason} if reason else {})}
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {"creationTimestamp": None},
        "spec": specification or {},
        "status": status,
    }


def _refusal(request: web.Request, kinds: Sequence[Kind], authorize: Authorize, wanted: Document) -> str:
    group, plural, name = wanted.get("group", ""), wanted.get("resource", ""), wanted.get("name", "")
    asked = wanted.get("verb", "")
    found = [kind for kind in kinds if plural in ("*", kind.plural) and group in ("*", kind.group)]
    verbs = [verb for verb in get_args(Verb) if asked in ("*", verb)]
    if not found or not verbs:
        return f"{plural or 'this'} is not served here"
    try:
        for kind in found:
            for verb in verbs:
                authorize(request, verb, kind, str(wanted.get("namespace") or ""), str(name or ""))
    except (StoreError, ApplianceFault) as error:
        return str(error)
    return ""
