"""Questions about access, and tokens on request: what `kubectl auth` and `kubectl create token` post.

Nothing is stored. A review of oneself is everybody's; reviews of others, of tokens, and tokens for
ServiceAccounts go by the caller's roles like any other write.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from aiohttp import web

from appliance.access.accounts import USUAL, AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.rules import AUTHENTICATED, Asked, Caller, Grant
from appliance.resources.meta import Document, Kind, Resource
from appliance.resources.rbac import PolicyRule
from appliance.store.base import Invalid, Malformed

AUTHORIZATION, AUTHENTICATION, VERSION = "authorization.k8s.io", "authentication.k8s.io", "v1"
MAX_GROUPS = 256

_KINDS = (
    (AUTHORIZATION, "SelfSubjectAccessReview", False),
    (AUTHORIZATION, "SelfSubjectRulesReview", False),
    (AUTHORIZATION, "SubjectAccessReview", False),
    (AUTHORIZATION, "LocalSubjectAccessReview", True),
    (AUTHENTICATION, "TokenReview", False),
    (AUTHENTICATION, "SelfSubjectReview", False),
)
# Kinds that are posted and answered, and never kept.
REVIEWS: tuple[Kind, ...] = tuple(
    Kind(
        group=group,
        version=VERSION,
        kind=kind,
        plural=f"{kind.lower()}s",
        struct=Resource,
        has_status=False,
        namespaced=namespaced,
    )
    for group, kind, namespaced in _KINDS
)

Identify: TypeAlias = Callable[[str], Awaitable[Caller | None]]


@dataclass(frozen=True, slots=True)
class Reviews:
    """`caller_of` is who sent a request; `identify` is whom a token speaks for."""

    evaluator: Evaluator
    accounts: AccountTokens
    caller_of: Callable[[web.Request], Caller]
    identify: Identify
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def answer(self, caller: Caller, kind: Kind, namespace: str, review: Document) -> Document:
        """The review with its status filled in. Raises Malformed or Invalid."""
        specification = _object(review, "spec")
        match kind.kind:
            case "SelfSubjectAccessReview":
                status = await self._verdict(caller, specification)
            case "SubjectAccessReview" | "LocalSubjectAccessReview":
                if namespace and _object(specification, "resourceAttributes").get("namespace") != namespace:
                    raise Invalid(f"spec.resourceAttributes.namespace: must be {namespace!r}, as in the path")
                status = await self._verdict(_subject(specification), specification)
            case "SelfSubjectRulesReview":
                status = await self._rules(caller, specification)
                specification = {}  # as upstream
            case "TokenReview":
                status = await self._token(specification)
            case _:
                status = {"userInfo": _user(caller)}
        metadata = {key: value for key, value in _object(review, "metadata").items() if key == "name"}
        answered: Document = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        return answered | ({"spec": specification} if specification else {}) | {"status": status}

    async def issue_token(self, namespace: str, name: str, wanted: Document) -> Document:
        """A TokenRequest with its token. Raises NotFound for no such account, Invalid for a lifetime."""
        specification = _object(wanted, "spec")
        seconds = specification.get("expirationSeconds")
        if seconds is not None and (not isinstance(seconds, int) or not 0 <= seconds < 2**32):
            raise Invalid("spec.expirationSeconds: expected a number of seconds")
        lifetime = USUAL if seconds is None else timedelta(seconds=seconds)
        token, expires = await self.accounts.issue(namespace, name, lifetime=lifetime, now=self.now())
        return {
            "kind": "TokenRequest",
            "apiVersion": f"{AUTHENTICATION}/{VERSION}",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**specification, "expirationSeconds": int(lifetime.total_seconds())},
            "status": {
                "token": token.reveal(),
                "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        }

    async def _verdict(self, caller: Caller, specification: Document) -> Document:
        asked = _asked(specification)
        if await self.evaluator.is_allowed(caller, asked):
            return {"allowed": True}
        return {"allowed": False, "reason": f"no role of {caller.name!r} allows to {asked}"}

    async def _rules(self, caller: Caller, specification: Document) -> Document:
        namespace = _text(specification, "namespace")
        if not namespace:
            raise Malformed("spec.namespace: say in which namespace")
        rules = list(_rules_of(await self.evaluator.grants(caller, namespace)))
        return {
            "resourceRules": [
                {
                    "verbs": rule.verbs,
                    "apiGroups": rule.api_groups,
                    "resources": rule.resources,
                    **({"resourceNames": rule.resource_names} if rule.resource_names else {}),
                }
                for rule in rules
                if rule.resources
            ],
            "nonResourceRules": [
                {"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}
                for rule in rules
                if rule.non_resource_urls
            ],
            "incomplete": False,
        }

    async def _token(self, specification: Document) -> Document:
        token = _text(specification, "token")
        if not token:
            raise Malformed("spec.token: there is no token to review")
        caller = await self.identify(token)
        if caller is None:
            return {"error": "the token is not valid here", "user": {}}
        return {"authenticated": True, "user": _user(caller)}


def _asked(specification: Document) -> Asked:
    resource = specification.get("resourceAttributes")
    path = specification.get("nonResourceAttributes")
    if isinstance(resource, dict) and path is None:
        fields = ("verb", "group", "resource", "subresource", "namespace", "name")
        return Asked(**{field: _text(resource, field) for field in fields})
    if isinstance(path, dict) and resource is None:
        return Asked(_text(path, "verb"), path=_text(path, "path"))
    raise Invalid("spec: exactly one of resourceAttributes and nonResourceAttributes is needed")


def _subject(specification: Document) -> Caller:
    name = _text(specification, "user")
    groups = specification.get("groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise Malformed("spec.groups: expected a list of texts")
    if len(groups) > MAX_GROUPS or not (name or groups):
        raise Invalid(
            f"spec.user: at least one of user and groups is needed, and at most {MAX_GROUPS} groups"
        )
    return Caller(name, (*groups, AUTHENTICATED), _text(specification, "uid"))


def _user(caller: Caller) -> Document:
    uid = {"uid": caller.uid} if caller.uid else {}
    return {"username": caller.name, **uid, "groups": list(caller.groups)}


def _rules_of(grants: Sequence[Grant]) -> Iterable[PolicyRule]:
    for grant in grants:
        yield from grant.rules


def _object(document: Document, field: str) -> Document:
    value = document.get(field) or {}
    if not isinstance(value, dict):
        raise Malformed(f"{field}: expected an object")
    return value


def _text(document: Document, field: str) -> str:
    value = document.get(field) or ""
    if not isinstance(value, str):
        raise Malformed(f"{field}: expected text")
    return value
