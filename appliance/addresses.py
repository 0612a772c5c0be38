"""Listen addresses: parsing them, binding them, and which name of ours others can reach."""

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.discovery import choose_interfaces
from appliance.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Address:
    """`ADDR:PORT`; an IPv6 address stands in brackets in text."""

    host: str
    port: int

    def __str__(self) -> str:
        return render_address(self.host, self.port)

    @property
    def is_wildcard(self) -> bool:
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound


def parse_address(text: str) -> Address:
    """Raises ConfigurationError."""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(
            f"{text!r} is not an address to listen on.", hint="Say ADDR:PORT, 0.0.0.0:8443."
        )
    return Address(bare, int(port))


def bind(address: Address) -> socket.socket:
    """A listening TCP socket. Raises ConfigurationError with what the system says."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"Nothing can listen on {address}: {error.strerror or error}.",
            hint="Is the port taken, or the address not one of this machine's?",
        ) from error
    listener.setblocking(False)
    return listener


def public_host(address: Address, *, advertise_url: str = "") -> str:
    """The host that others use: what the operator said, the address itself, or our first real one."""
    if advertised := urlsplit(advertise_url).hostname:
        return advertised
    if not address.is_wildcard:
        return f"[{address.host}]" if ":" in address.host else address.host
    return next(iter(choose_interfaces([address.host])), socket.gethostname())


def certificate_names(*addresses: Address, advertise_url: str = "") -> list[str]:
    """Every name that a client may use for us, without repetition, in a stable order."""
    names = ["localhost", "127.0.0.1", "::1"]
    if hostname := _dns_name(socket.gethostname()):
        names += [hostname, f"{hostname}.local"] if "." not in hostname else [hostname]
    if advertised := urlsplit(advertise_url).hostname:
        names.append(advertised)
    for address in addresses:
        names += sorted(choose_interfaces([address.host])) if address.is_wildcard else [address.host]
    return list(dict.fromkeys(names))


def render_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _dns_name(hostname: str) -> str:
    """The host name if a certificate may carry it; a box can be called anything."""
    legal = (
        hostname.isascii()
        and len(hostname) <= 253
        and all(part and part.replace("-", "").replace("_", "").isalnum() for part in hostname.split("."))
    )
    return hostname.lower() if legal else ""
