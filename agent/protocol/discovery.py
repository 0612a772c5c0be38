"""The names both ends use in mDNS: service types, TXT keys, and the values a host gives of its state.

TXT records are readable by anybody on the link: no tokens, no full serials, no customer names. Keys are at
most nine characters, one `key=value` at most 255 bytes, a whole record best under 200 and never over 1300.
"""

import hashlib
from typing import Literal

REGISTRATION_SERVICE = "_skerry-reg._tcp.local."
NODE_SERVICE = "_skerry-node._tcp.local."
MIRROR_SERVICE = "_skerry-oci._tcp.local."

# Subtypes, so that a browser can ask only for the hosts that want somebody.
UNREGISTERED_SUBTYPE = "_unreg._sub._skerry-node._tcp.local."
FAILED_SUBTYPE = "_fail._sub._skerry-node._tcp.local."

TXT_VERSION = "txtvers"
TXT_ID = "id"  # of the appliance, or a truncated keyed hash of the host's TPM or system UUID
TXT_SITE = "site"
TXT_SOFTWARE = "ver"
TXT_FINGERPRINT = "fp"  # first 16 hex of the TLS key's hash
TXT_PATH = "path"
TXT_STATE = "st"
TXT_SLOT = "slot"
TXT_MODEL = "mdl"
TXT_SERIAL_TAIL = "sn4"  # the last four characters of the serial, never more
TXT_NAMESPACE = "ns"
TXT_PAIRING = "pair"  # "1" where the announced port takes a pairing code

CURRENT_TXT_VERSION = "1"

HostState = Literal["live", "unreg", "inst", "ready", "upg", "fail"]

MAX_TXT_PAIR_BYTES = 255
MAX_TXT_RECORD_BYTES = 1300


def render_link_id(identity: str) -> str:
    """A host's TXT_ID, of its system UUID: the same at every boot, and nothing that could be read back.

    The appliance makes it too, of the UUID that a host registered with, and so knows whom it hears.
    """
    return hashlib.sha256(f"skerry-node:{identity.lower()}".encode()).hexdigest()[:16]
