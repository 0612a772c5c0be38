"""The OpenAPI documents, as far as kubectl reads them: to validate, to explain, to know a patch's parameters.

Pure and made once. Version 3 is complete for our kinds. Version 2 is there for old clients: the definitions,
and of the paths only what those clients look for, the parameters of a patch.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import msgspec

from appliance.api.kubernetes import openapi_protobuf
from appliance.api.kubernetes.core_schemas import CORE_PROPERTIES, OBJECT_META, TYPE_META
from appliance.resources.meta import Document, Kind
from appliance.resources.schemas import FREE, Schema, object_schema
from appliance.store.strategic import has_strategy

V2_PROTOBUF_ACCEPTED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
# Upstream answers with another name than it is asked by: an @ cannot stand in a media type.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_INFO = {"title": "Skerry", "version": "v1"}
_PATCHES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def index_v3(kinds: Sequence[Kind]) -> Document:
    """`/openapi/v3`: one document a group and version, named by its content."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(render_v3(tuple(kinds), path))}"}
            for path in _group_paths(kinds)
        }
    }


@cache
def render_v3(kinds: tuple[Kind, ...], path: str) -> bytes:
    """`/openapi/v3/apis/GROUP/VERSION` as JSON; empty when there is no such group."""
    found = [kind for kind in kinds if _group_path(kind) == path]
    if not found:
        return b""
    schemas = {_META: OBJECT_META, **{schema_name(kind): kind_schema(kind) for kind in found}}
    paths: Document = {}
    for kind in found:
        paths |= _paths(kind)
    document = {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}
    return msgspec.json.encode(document, order="deterministic")


@cache
def render_v2(kinds: tuple[Kind, ...]) -> bytes:
    """`/openapi/v2` as JSON."""
    return msgspec.json.encode(_document_v2(kinds))


@cache
def render_v2_protobuf(kinds: tuple[Kind, ...]) -> bytes:
    """`/openapi/v2` as protobuf."""
    return openapi_protobuf.render(_document_v2(kinds))


def schema_name(kind: Kind) -> str:
    """Reversed, as upstream names them: `io.cattle.elemental.v1beta1.MachineInventory`."""
    group = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{group}.{kind.version}.{kind.kind}"


def kind_schema(kind: Kind) -> Schema:
    """The schema of a whole object, with its metadata by reference."""
    schema = object_schema(kind)
    reference = {"allOf": [{"$ref": f"#/components/schemas/{_META}"}]}
    core = CORE_PROPERTIES.get(kind.kind, {}) if not kind.group else {}
    return {
        **schema,
        "properties": {**schema["properties"], **core, **TYPE_META, "metadata": reference},
        "x-kubernetes-group-version-kind": [_gvk(kind)],
    }


def _paths(kind: Kind) -> Document:
    base = f"/{_group_path(kind)}"
    collection = (
        f"{base}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{base}/{kind.plural}"
    )
    reading = {"get": _operation(kind, "list")}
    paths: Document = {
        collection: {**reading, "post": _operation(kind, "post", _WRITE_PARAMETERS)},
        f"{collection}/{{name}}": {
            "get": _operation(kind, "get"),
            "put": _operation(kind, "put", _WRITE_PARAMETERS),
            "patch": _operation(kind, "patch", (*_WRITE_PARAMETERS, "force")),
            "delete": _operation(kind, "delete", ("propagationPolicy",)),
        },
    }
    return paths | ({f"{base}/{kind.plural}": reading} if kind.namespaced else {})


def _operation(kind: Kind, action: str, parameters: Sequence[str] = ()) -> Document:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema_name(kind)}"}}}
    operation: Document = {
        "operationId": f"{action}{kind.group.title().replace('.', '')}{kind.kind}",
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in parameters
        ],
        "responses": {"200": {"description": "OK", "content": content}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }
    if action in ("post", "put"):
        operation["requestBody"] = {"content": content}
    if action == "patch":
        operation["requestBody"] = {
            "content": {patch: {"schema": {"type": "object"}} for patch in _patches(kind)}
        }
    return operation


def _patches(kind: Kind) -> list[str]:
    return [patch for patch in _PATCHES if has_strategy(kind) or "strategic" not in patch]


def _gvk(kind: Kind) -> Document:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _group_path(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _group_paths(kinds: Sequence[Kind]) -> list[str]:
    return list(dict.fromkeys(map(_group_path, kinds)))


def _hash(content: bytes) -> str:
    return sha256(content).hexdigest()[:32].upper()


def _document_v2(kinds: Sequence[Kind]) -> Document:
    definitions = {_META: OBJECT_META, **{schema_name(kind): kind_schema(kind) for kind in kinds}}
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": {_item_path(kind): {"patch": _patch_v2(kind)} for kind in kinds},
        "definitions": {name: _schema_v2(schema) for name, schema in definitions.items()},
    }


def _patch_v2(kind: Kind) -> Document:
    operation = _operation(kind, "patch", (*_WRITE_PARAMETERS, "force"))
    return {
        "operationId": operation["operationId"],
        "consumes": _patches(kind),
        "parameters": [
            {"name": each["name"], "in": "query", "type": "string"} for each in operation["parameters"]
        ],
        "responses": {"200": {"description": "OK", "schema": {"$ref": f"#/definitions/{schema_name(kind)}"}}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": _gvk(kind),
    }


def _schema_v2(schema: Schema) -> Schema:
    """What version 2 can say of a schema: no `allOf` around a reference, and nothing of free objects."""
    if "allOf" in schema:
        return {"$ref": schema["allOf"][0]["$ref"].replace("#/components/schemas/", "#/definitions/")}
    if schema.get(FREE):
        kept = {name: schema[name] for name in ("description", FREE) if name in schema}
        return kept | ({"type": "object"} if schema.get("type") == "object" else {})
    said = {name: value for name, value in schema.items() if name != "nullable"}
    for name in ("items", "additionalProperties"):
        if name in said:
            said[name] = _schema_v2(said[name])
    if "properties" in said:
        said["properties"] = {name: _schema_v2(each) for name, each in said["properties"].items()}
    return said


def _item_path(kind: Kind) -> str:
    namespace = "/namespaces/{namespace}" if kind.namespaced else ""
    return f"/{_group_path(kind)}{namespace}/{kind.plural}/{{name}}"
