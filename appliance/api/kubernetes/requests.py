"""What a client asks for: the path's target, the query's options, the body.

Everything from outside is bounded and checked here, before a handler acts on it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from aiohttp import web

from appliance.access.rules import Asked
from appliance.api.kubernetes import protobuf
from appliance.api.kubernetes.bodies import parse_json, parse_yaml
from appliance.api.kubernetes.statuses import OptionsInvalid, UnknownPath, Unsupported
from appliance.resources.meta import Document, Kind
from appliance.store.base import (
    Gone,
    Malformed,
    Patch,
    PatchType,
    Propagation,
    Selection,
    Subresource,
    TooLarge,
)
from appliance.store.selectors import parse_field_selector, parse_label_selector
from appliance.store.strategic import has_strategy

Verb = Literal["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"]
# Raises when the caller may not.
Authorize: TypeAlias = Callable[[web.Request, Asked], Awaitable[None]]

MAX_BODY_BYTES = 3 * 1024 * 1024  # kube-apiserver's own limit on a request
MAX_LIMIT = 100_000

_PATCH_TYPES: Mapping[str, PatchType] = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
    "application/apply-patch+yaml": "apply",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names. Without a name it is the collection; `namespace` is None for all namespaces."""

    kind: Kind
    namespace: str | None = None
    name: str = ""
    subresource: Subresource = ""


TARGET = web.RequestKey("target", Target)  # what a request is about


@dataclass(frozen=True, slots=True)
class ListOptions:
    selection: Selection
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    is_watch: bool = False
    wants_bookmarks: bool = False
    wants_initial_events: bool | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    propagation: Propagation = "Background"
    uid: str = ""
    resource_version: str = ""
    dry_run: bool = False


def parse_target(kinds: Sequence[Kind], group: str, version: str, tail: str) -> Target:
    """Find what `[namespaces/NS/]plural[/name[/status]]` names. Raises NotFound."""
    steps = tail.strip("/").split("/")
    namespace = None
    if len(steps) >= 3 and steps[0] == "namespaces" and steps[2] != "status":
        namespace, steps = steps[1], steps[2:]
    kind = next(
        (kind for kind in kinds if (kind.group, kind.version, kind.plural) == (group, version, steps[0])),
        None,
    )
    is_served = kind is not None and (kind.namespaced or namespace is None)
    has_object = len(steps) < 2 or namespace is not None or (kind is not None and not kind.namespaced)
    subresource = steps[2] if len(steps) == 3 else ""
    if kind is None or not is_served or not has_object or len(steps) > 3 or subresource not in ("", "status"):
        raise UnknownPath
    name = steps[1] if len(steps) > 1 else ""
    return Target(kind, namespace, name, "status" if subresource else "")


def parse_list_options(target: Target, query: Mapping[str, str]) -> ListOptions:
    """Read the options of a list or watch. Raises Malformed."""
    labels, fields = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if target.name:
        fields = f"metadata.name={target.name}" + (f",{fields}" if fields else "")
    parse_label_selector(labels)
    parse_field_selector(fields, target.kind)
    version = query.get("resourceVersion", "")
    is_watch = _flag(query, "watch")
    initial = _flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    _check_versions(query, is_watch=is_watch)
    return ListOptions(
        Selection(target.namespace, labels, fields),
        limit=_number(query, "limit", MAX_LIMIT),
        continue_token=query.get("continue", ""),
        resource_version="" if version == "0" else version,
        is_watch=is_watch,
        wants_bookmarks=_flag(query, "allowWatchBookmarks"),
        wants_initial_events=initial,
        timeout_seconds=_number(query, "timeoutSeconds", 24 * 3600) or None,
    )


def _check_versions(query: Mapping[str, str], *, is_watch: bool) -> None:
    """Upstream's rules on which version is asked for. Raises OptionsInvalid, Malformed or Gone."""
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    wants_initial = "sendInitialEvents" in query
    if match not in ("", "Exact", "NotOlderThan"):
        raise OptionsInvalid("ListOptions", f"resourceVersionMatch: {match[:40]!r} is no way to match")
    if is_watch and wants_initial != (match == "NotOlderThan"):
        raise OptionsInvalid(
            "ListOptions", "resourceVersionMatch: a watch takes NotOlderThan, and only with sendInitialEvents"
        )
    if not is_watch and (wants_initial or (match and not version) or (match == "Exact" and version == "0")):
        raise OptionsInvalid("ListOptions", "resourceVersionMatch: it does not go with the other options")
    if version and not (version.isascii() and version.isdigit() and len(version) < 19):
        raise Malformed(f"resourceVersion: {version[:40]!r} is none of ours")
    if version not in ("", "0") and query.get("continue"):
        raise Malformed("resourceVersion: a list that goes on has its version already")
    if match == "Exact":
        raise Gone(
            f"version {version} can no longer be listed exactly",
            hint="list the newest, then watch from there",
        )


def asked_of(verb: Verb, target: Target, query: Mapping[str, str]) -> Asked:
    """The question to put to the roles. A list or watch of one name, by selector, is about that name."""
    name = target.name
    if not name and verb in ("list", "watch"):
        name = parse_field_selector(query.get("fieldSelector", ""), target.kind).pinned("metadata.name") or ""
    return Asked(
        verb, target.kind.group, target.kind.plural, target.subresource, target.namespace or "", name
    )


def is_dry_run(query: Mapping[str, str], options: str) -> bool:
    """Say whether the write is only to be tried. Raises OptionsInvalid, about these options."""
    if query.get("dryRun", "") not in ("", "All"):
        raise OptionsInvalid(options, f"dryRun: {query['dryRun'][:40]!r} is not All")
    return bool(query.get("dryRun"))


def field_manager(request: web.Request) -> str:
    """Who writes: what they say, or what their program is called."""
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    return request.query.get("fieldManager", "") or agent[:128]


async def read_document(request: web.Request) -> Document:
    """Read an object: JSON, YAML or (core kinds) protobuf. Raises Malformed, Unsupported or TooLarge."""
    content = await _read(request)
    if request.content_type == protobuf.MEDIA_TYPE:
        return protobuf.parse_protobuf(content)
    if request.content_type in ("application/yaml", "application/x-yaml", "text/yaml"):
        return _object(await asyncio.to_thread(parse_yaml, content))
    if request.content_type not in ("application/json", "application/octet-stream"):
        raise Unsupported(
            f"a body of type {request.content_type[:80]} is not read here; send application/json"
        )
    return _object(parse_json(content))


async def read_patch(request: web.Request, kind: Kind) -> Patch:
    """Read a patch; its type is the content type. Raises Malformed, Unsupported or TooLarge."""
    patch_type = _PATCH_TYPES.get(request.content_type)
    if patch_type is None or (patch_type == "strategic" and not has_strategy(kind)):
        known = [name for name in _PATCH_TYPES if "strategic" not in name or has_strategy(kind)]
        raise Unsupported(
            f"a patch of type {request.content_type[:80]} is not read here: there are {', '.join(known)}"
        )
    content = await _read(request)
    manager = field_manager(request)
    if patch_type == "apply":
        manager = request.query.get("fieldManager", "")
        if not manager:
            raise OptionsInvalid("PatchOptions", "fieldManager: an apply says who applies")
        body = _object(await asyncio.to_thread(parse_yaml, content))
        check_kind_said(body)
        return Patch("apply", body, manager=manager, force=_flag(request.query, "force"))
    if "force" in request.query:
        raise OptionsInvalid("PatchOptions", "force: only an apply can be forced")
    value = parse_json(content)
    if patch_type == "json":
        if not isinstance(value, list) or not all(isinstance(operation, dict) for operation in value):
            raise Malformed("a JSON patch is a list of operations")
        return Patch("json", value, manager=manager)
    return Patch(patch_type, _object(value), manager=manager)


def check_kind_said(document: Document) -> None:
    """Raise Malformed unless the document says what it is."""
    for field in ("apiVersion", "kind"):
        if not document.get(field):
            raise Malformed(f"{field}: the object does not say what it is")


async def read_delete_options(request: web.Request) -> DeleteOptions:
    """Read DeleteOptions from the body, if there is one, and the query. Raises Malformed."""
    content = await _read(request)
    is_protobuf = request.content_type == protobuf.MEDIA_TYPE
    options: Document = {}
    if content.strip():
        options = protobuf.parse_protobuf(content) if is_protobuf else _object(parse_json(content))
    preconditions = options.get("preconditions") or {}
    policy = request.query.get("propagationPolicy") or options.get("propagationPolicy") or "Background"
    orphan = options.get("orphanDependents", request.query.get("orphanDependents"))
    if orphan is not None and (request.query.get("propagationPolicy") or options.get("propagationPolicy")):
        raise OptionsInvalid("DeleteOptions", "propagationPolicy: it and orphanDependents exclude each other")
    if orphan in (True, "true"):
        policy = "Orphan"
    if not isinstance(preconditions, dict):
        raise Malformed("preconditions: expected an object")
    return DeleteOptions(
        _propagation(policy),
        uid=str(preconditions.get("uid") or ""),
        resource_version=str(preconditions.get("resourceVersion") or ""),
        dry_run=is_dry_run(request.query, "DeleteOptions") or bool(options.get("dryRun")),
    )


def _propagation(policy: object) -> Propagation:
    for known in get_args(Propagation):
        if policy == known:
            return known  # type: ignore[no-any-return]
    raise OptionsInvalid(
        "DeleteOptions", f"propagationPolicy: {policy!r} is none of {', '.join(get_args(Propagation))}"
    )


async def _read(request: web.Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise TooLarge(f"the request is over {MAX_BODY_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _object(value: object) -> Document:
    if not isinstance(value, dict):
        raise Malformed("the body is no object")
    return value


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in ("", "1", "0", "true", "false", "t", "f"):
        raise Malformed(f"{name}: {value[:40]!r} is neither true nor false")
    return value in ("1", "true", "t")


def _number(query: Mapping[str, str], name: str, highest: int) -> int:
    value = query.get(name, "") or "0"
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise Malformed(f"{name}: {value[:40]!r} is not a number from 0 on")
    return min(int(value), highest)
