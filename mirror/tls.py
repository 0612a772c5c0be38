"""TLS by the OpenSSL that the cryptography wheel brings, straight on a socket that never blocks.

The interpreter's own `ssl` is linked with the system's OpenSSL, which may be old and encrypt at half the
speed (3.1 brought AES-GCM for AVX-512), and it takes one record of 16 KiB a call. Here one call, without the
interpreter's lock, encrypts a whole buffer and hands it to the kernel.

What has to wait is an outcome, what is broken a ConnectionError. This is the only file that imports
pyOpenSSL, and only a mirror that speaks TLS imports it: it takes 12 MB. It knows no event loop.
"""

import contextlib
import socket
from pathlib import Path
from typing import Final, Literal

from OpenSSL import SSL

from mirror.errors import SettingInvalid

RECORD_BYTES: Final = 16 * 1024  # RFC 8446 5.1

# The order that Go's servers and clients have too: the longer key costs both ends more. A client that puts
# ChaCha20 first has no AES in hardware, and gets it.
TLS13_SUITES: Final = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
TLS12_SUITES: Final = b"ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20"
OP_PRIORITIZE_CHACHA: Final = 1 << 21  # SSL_CTX_set_options(3); pyOpenSSL has no name for it
MODE_ENABLE_PARTIAL_WRITE: Final = 1  # SSL_CTX_set_mode(3)

Wait = Literal["nothing", "readable", "writable"]  # what a handshake waits for


class TlsContext:
    """A server's certificate and what it agrees to, ready for any number of connections."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def open_session(self, sock: socket.socket) -> "TlsSession":
        return TlsSession(SSL.Connection(self._context, sock))


def load_tls(certificate: Path, key: Path | None = None) -> TlsContext:
    """A chain and its key, both PEM; the key may lie in the chain's file. OSError if they cannot be read."""
    key = key or certificate
    for path in (certificate, key):
        path.open("rb").close()
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE | OP_PRIORITIZE_CHACHA)
    context.set_tls13_ciphersuites(TLS13_SUITES)
    context.set_cipher_list(TLS12_SUITES)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.clear_mode(MODE_ENABLE_PARTIAL_WRITE)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # tickets resume without one
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
        context.check_privatekey()
    except SSL.Error as error:
        raise SettingInvalid(
            f"the certificate {certificate} with the key {key} cannot be used for TLS",
            hint="both must be PEM, the server's certificate first; the key its own, without a passphrase",
        ) from error
    return TlsContext(context)


class TlsSession:
    """The server's end of one connection. One user at a time; the socket stays the caller's."""

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        self._connection.set_accept_state()

    def shake_hands(self) -> Wait:
        """Go on with the handshake; it is done when it waits for nothing."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return "readable"
        except SSL.WantWriteError:
            return "writable"
        except SSL.Error as error:
            raise _broken(error) from error
        return "nothing"

    def read(self) -> bytes | None:
        """One record at most; None if there is none yet, nothing once the client has said goodbye."""
        try:
            return self._connection.recv(RECORD_BYTES)
        except (SSL.WantReadError, SSL.WantWriteError):
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise _broken(error) from error

    def write(self, data: bytes | memoryview) -> bool:
        """All of it. If not, it must be called with the same bytes once the socket is writable."""
        try:
            self._connection.send(data)
        except (SSL.WantWriteError, SSL.WantReadError):
            return False
        except SSL.Error as error:
            raise _broken(error) from error
        return True

    def say_goodbye(self) -> None:
        """A close_notify, so that the end is no accident; nobody waits for the other's."""
        with contextlib.suppress(SSL.Error):
            self._connection.shutdown()


def _broken(error: SSL.Error) -> ConnectionError:
    match error:
        case SSL.SysCallError():
            return ConnectionResetError(f"the connection broke: {error.args[-1]}")
        case _:
            reasons = error.args[0] if error.args else ""
            return ConnectionAbortedError(f"this is no TLS that we can speak: {reasons}")
