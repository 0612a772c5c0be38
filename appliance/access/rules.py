"""A caller, what is asked, and whether a PolicyRule allows it: RBAC's matching, and nothing else. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.resources.rbac import PolicyRule

AUTHENTICATED = "system:authenticated"
ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking, once it is known. Groups hold the built-in role, if there is one."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: a verb on a resource, or on a `path` that is no resource. No namespace means all."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        group = f".{self.group}" if self.group else ""
        name = f" {self.name!r}" if self.name else ""
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {what}{group}{name} {where}"


@dataclass(frozen=True, slots=True)
class Grant:
    """Rules and where they count: in one namespace, or everywhere when that is empty."""

    rules: tuple[PolicyRule, ...]
    namespace: str = ""

    def allows(self, asked: Asked) -> bool:
        if self.namespace and (asked.path or asked.namespace != self.namespace):
            return False
        return any(rule_allows(rule, asked) for rule in self.rules)


def is_granted(grants: Iterable[Grant], asked: Asked) -> bool:
    return any(grant.allows(asked) for grant in grants)


def rule_allows(rule: PolicyRule, asked: Asked) -> bool:
    """RBAC's matching: every part of the question must be named by the rule."""
    if not _has(rule.verbs, asked.verb):
        return False
    if asked.path:
        return any(_path_matches(pattern, asked.path) for pattern in rule.non_resource_urls)
    return (
        _has(rule.api_groups, asked.group)
        and _has_resource(rule.resources, asked)
        and (not rule.resource_names or asked.name in rule.resource_names)
    )


def _has(values: Sequence[str], value: str) -> bool:
    return value in values or "*" in values


def _has_resource(resources: Sequence[str], asked: Asked) -> bool:
    if not asked.subresource:
        return _has(resources, asked.resource)
    wanted = (f"{asked.resource}/{asked.subresource}", f"*/{asked.subresource}", "*")
    return any(each in resources for each in wanted)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
