"""The hosted mode as a Helm chart, made from the same objects as the plain manifests.

A value of the chart takes its place as a template expression, so chart and manifests cannot drift apart: with
its default values the chart renders to what `documents` gives. Helm itself is not needed to make it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import yaml

from appliance.k3s.documents import DATA, NAME, Hosted, documents
from appliance.resources import crds
from appliance.resources.meta import Document
from bundles.tarball import Entry, file, with_parents

# What stands in for a value until the text is made: one for strings, one that loses its quotes.
_TEXT = "{{ %s }}"
_NUMBER = "@@%s@@"
_QUOTED_NUMBER = re.compile(r"'?@@([^@]+)@@'?")

ADVERTISE_PLACE = "@advertise@"
SITE_PLACE = "@site@"


@dataclass(frozen=True, slots=True)
class ChartSettings:
    """`version` is the chart's and the appliance's; `image` the default of its value."""

    version: str
    image: str


def chart_files(settings: ChartSettings) -> list[Entry]:
    """The chart as files below a folder of its name; a tar of them is what `helm package` makes."""
    metadata = {
        "apiVersion": "v2",
        "name": NAME,
        "description": "Skerry's appliance inside k3s: controllers, registration, mirror",
        "type": "application",
        "version": settings.version,
        "appVersion": settings.version,
        "kubeVersion": ">= 1.27.0-0",
    }
    templates = documents(
        Hosted(
            image=_TEXT % ".Values.image",
            namespace=_TEXT % ".Release.Namespace",
            data=_TEXT % ".Values.data",
            port=_NUMBER % ".Values.port",
            mirror_port=_NUMBER % ".Values.mirrorPort",
            replicas=_NUMBER % ".Values.replicas",
            advertise_url=ADVERTISE_PLACE,
            site=SITE_PLACE,
        )
    )
    entries = [
        file(f"{NAME}/Chart.yaml", render([metadata])),
        file(f"{NAME}/values.yaml", _VALUES.format(image=settings.image, data=DATA)),
        *(file(f"{NAME}/crds/{crds.file_name(kind)}", crds.render(kind)) for kind in crds.custom_kinds()),
        *(file(f"{NAME}/templates/{_file_name(each)}", _template(each)) for each in templates),
    ]
    return with_parents(entries)


def render(objects: Sequence[Document]) -> str:
    """Several objects as one YAML stream, keys in the order given, long lines left whole."""
    text: str = yaml.safe_dump_all(list(objects), sort_keys=False, default_flow_style=False, width=1000)
    return text


def _file_name(document: Document) -> str:
    return f"{document['kind'].lower()}.yaml"


def _template(document: Document) -> str:
    text = _QUOTED_NUMBER.sub(r"{{ \1 }}", render([document]))
    for place, flag, value in (
        (ADVERTISE_PLACE, "--advertise-url", ".Values.advertiseUrl"),
        (SITE_PLACE, "--site", ".Values.site"),
    ):
        text = _conditional(text, place, flag, value)
    return text


def _conditional(text: str, place: str, flag: str, value: str) -> str:
    """Wrap the two list items of an optional flag, so that an empty value leaves both out."""
    items = re.compile(rf"^( *)- {flag}\n *- '?{place}'?\n", re.MULTILINE)
    return items.sub(
        rf"{{{{- if {value} }}}}\n\1- {flag}\n\1- {{{{ {value} | quote }}}}\n{{{{- end }}}}\n", text
    )


_VALUES = """\
# The appliance's image, as the node's containerd knows it.
image: {image}
# Folder on the node: the mirror's blobs, keys, tokens. The same as before the move into the cluster.
data: {data}
# Ports on the node.
port: 8443
mirrorPort: 5000
# What hosts are told to call; empty means the node's own addresses.
advertiseUrl: ""
# The site's name; empty means the node's.
site: ""
# Never more than 1. 0 stops the appliance, as while its store is moved.
replicas: 1
"""
