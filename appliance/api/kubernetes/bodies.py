"""Bodies as values: JSON, and YAML as Kubernetes reads it. Pure; what either cannot mean is Malformed.

Whoever has any token may send one, so nothing here takes long or much for little text.
"""

import json
import re
from collections.abc import Hashable
from typing import Any

import msgspec
import yaml

from agent.protocol.documents import check_shape
from agent.protocol.errors import Malformed as ProtocolMalformed
from appliance.store.base import Malformed, TooLarge


def parse_json(content: bytes) -> object:
    """Parse JSON. Raises Malformed."""
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from error


MAX_YAML_BYTES = 512 * 1024  # read at a sixth of a megabyte a second at worst; kubectl sends JSON


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates, times of day and the keys of objects are texts.

    No key comes twice.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        constructed: dict[Hashable, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in constructed:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: a key is no text or comes twice")
            constructed[key.value] = self.construct_object(value, deep=True)
        return constructed

    def construct_decimal(self, node: yaml.ScalarNode) -> int | float:
        """A number by its tag. YAML 1.1 also has numbers to the base of 60, which take forever to read."""
        if ":" in node.value:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: {node.value[:40]!r} is no number")
        return self.construct_yaml_int(node) if node.tag == _INT else self.construct_yaml_float(node)


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in (_INT, _FLOAT, "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _INT, re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]*|[1-9][0-9_]*)\Z"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
    list("-+.0123456789"),
)
_Loader.add_constructor(_INT, _Loader.construct_decimal)
_Loader.add_constructor(_FLOAT, _Loader.construct_decimal)


def parse_yaml(content: bytes) -> object:
    """Parse one YAML (or JSON) document.

    Aliases are refused, since a few lines of them can unfold to gigabytes, and deep nesting, since libyaml
    composes by recursion and would take the process with it. Raises Malformed or TooLarge. It may take
    seconds: call it in a thread.
    """
    if content.lstrip()[:1] == b"{":
        return parse_json(content)
    if len(content) > MAX_YAML_BYTES:
        raise TooLarge(f"YAML is read up to {MAX_YAML_BYTES} bytes; send application/json")
    try:
        text = content.decode()
        check_shape(content, what="the body")
        # Through JSON once: what JSON cannot say is refused.
        return json.loads(json.dumps(yaml.load(text, Loader=_Loader), allow_nan=False))  # noqa: S506 - it is safe
    except ProtocolMalformed as error:
        raise Malformed(str(error)) from error
    except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
        # Beyond YAMLError: PyYAML's constructors let theirs through on odd numbers and tags.
        raise Malformed(f"the body is not YAML: {error}") from error
