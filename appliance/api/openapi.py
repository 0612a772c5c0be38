"""The OpenAPI 3.1 document of `/skerry/v1`, made from the route table and the contract's structs."""

import re
from typing import Any

import msgspec

from appliance.api.contract import PREFIX, Problem
from appliance.api.inventory_routes import INVENTORY_ROUTES
from appliance.api.routes import ROUTES, Route
from appliance.api.trusting_routes import TRUST_ROUTES

DOCUMENTED = (*ROUTES, *INVENTORY_ROUTES, *TRUST_ROUTES)


def render_openapi(version: str) -> dict[str, Any]:
    """The whole document as a JSON object."""
    structs: dict[type[msgspec.Struct], None] = {Problem: None}
    for route in DOCUMENTED:
        structs |= {struct: None for struct in (route.reply, route.request) if struct is not None}
    schemas, components = msgspec.json.schema_components(
        list(structs), ref_template="#/components/schemas/{name}"
    )
    references = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in DOCUMENTED:
        paths.setdefault(f"{PREFIX}{route.path}", {})[route.method.lower()] = _render_route(route, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skerry control API", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"bearer": []}],
    }


def _render_route(route: Route, references: dict[type[msgspec.Struct], dict[str, Any]]) -> dict[str, Any]:
    media = "application/x-ndjson" if route.is_stream else "application/json"
    problem = {"application/problem+json": {"schema": references[Problem]}}
    document: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"{(\w+)}", route.path)
        ]
        + [{"name": name, "in": "query", "schema": {"type": "string"}} for name in route.query],
        "responses": {
            str(route.status): {
                "description": route.summary,
                "content": {media: {"schema": references[route.reply]}},
            },
            "default": {"description": "A problem", "content": problem},
        },
    }
    if route.request is not None:
        document["requestBody"] = {"content": {"application/json": {"schema": references[route.request]}}}
    return document
