"""CustomResourceDefinitions, generated from the kinds' structs and checked in under `manifests/`.

`python -m appliance.resources.crds` writes them again; a test says when that was forgotten. The embedded
store does not read them: they are for a real API server, and for people.
"""

import re
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import yaml

from appliance.resources.kinds import KINDS
from appliance.resources.machine_registration import GROUP as ELEMENTAL
from appliance.resources.meta import Column, Document, Kind
from appliance.resources.schemas import Schema, object_schema

MANIFESTS = Path(__file__).parent / "manifests"

# `kubectl get skerry` lists them all.
CATEGORY = "skerry"

_HEADER = "# Made by `python -m appliance.resources.crds` from the structs; change those.\n"
_PART_OF = {"skerry.dev": "Skerry", ELEMENTAL: "Elemental Operator"}
# Cluster API finds infrastructure providers by these; upstream's own CRDs carry them.
_PROVIDER_LABELS = {
    "cluster.x-k8s.io/provider": "infrastructure-elemental",
    "cluster.x-k8s.io/v1beta1": "v1beta1",
    "release-name": "skerry",
}


def custom_kinds(kinds: Sequence[Kind] = KINDS) -> list[Kind]:
    """The kinds that a real API server must be taught: ours and Elemental's. The others bring their own."""
    return [kind for kind in kinds if kind.group in _PART_OF]


def definition(kind: Kind) -> Document:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": _metadata(kind),
        "spec": {
            "group": kind.group,
            "names": _names(kind),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind)],
        },
    }


def render(kind: Kind) -> str:
    """The definition as YAML."""
    return _HEADER + yaml.dump(
        definition(kind), Dumper=_Dumper, sort_keys=False, width=110, default_flow_style=False
    )


def file_name(kind: Kind) -> str:
    return f"{kind.group}_{kind.plural}.yaml"


def write_manifests(folder: Path = MANIFESTS) -> list[Path]:
    """Write every definition, and remove those whose kind is gone. Returns what is there now."""
    folder.mkdir(exist_ok=True)
    wanted = {folder / file_name(kind): render(kind) for kind in custom_kinds()}
    for path in set(folder.glob("*.yaml")) - set(wanted):
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    return sorted(wanted)


class _Dumper(yaml.SafeDumper):
    """Spells shared parts out: anchors would be noise in a manifest."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _metadata(kind: Kind) -> Document:
    metadata: Document = {
        "name": f"{kind.plural}.{kind.group}",
        "annotations": {
            "app.kubernetes.io/instance": "skerry",
            "app.kubernetes.io/part-of": _PART_OF[kind.group],
            "app.kubernetes.io/version": version("skerry"),
        },
    }
    if kind.group == ELEMENTAL:
        metadata["labels"] = dict(_PROVIDER_LABELS)
    return metadata


def _names(kind: Kind) -> Document:
    names: Document = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
    }
    short: Document = {"shortNames": list(kind.short_names)} if kind.short_names else {}
    return names | short | {"categories": [CATEGORY]}


def _version(kind: Kind) -> Document:
    served: Document = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    if kind.has_status:
        served["subresources"] = {"status": {}}
    if kind.columns:
        served["additionalPrinterColumns"] = [_column(column) for column in kind.columns]
    return served


def _schema(kind: Kind) -> Schema:
    """The struct's schema, with the metadata left to the API server, as it demands."""
    schema = object_schema(kind)
    return {**schema, "properties": {**schema["properties"], "metadata": {"type": "object"}}}


def _column(column: Column) -> Document:
    described: Document = {
        "name": column.name.capitalize(),
        "type": column.type,
        "jsonPath": "." + re.sub(r"\[(\w+)\]", r'[?(@.type=="\1")]', column.path),
    }
    return described | ({"priority": 1} if column.wide else {})


if __name__ == "__main__":
    for written in write_manifests():
        sys.stdout.write(f"{written.name}\n")
