"""A cloud-config object as the file that a host reads: yip where it has stages, else cloud-init.

The rule is upstream's and one for registrations, images and media (facts: operator 2.6).
"""

import yaml

from appliance.resources.meta import Document


def render_cloud_config(config: Document | None) -> bytes:
    """The file's bytes; none for an empty object."""
    if not config:
        return b""
    text: str = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    head = "" if isinstance(config.get("stages"), dict) and config["stages"] else "#cloud-config\n"
    return f"{head}{text}".encode()
