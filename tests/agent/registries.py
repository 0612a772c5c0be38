"""A small HTTP registry for the agent's tests, real on the wire, that can be told to misbehave."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
REPOSITORY = "os/demo"
BOOTARGS = b"set kernel=/boot/vmlinuz\nset initramfs=/boot/initrd\nset kernelcmd=quiet\n"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def make_layer(build: Callable[[tarfile.TarFile], None], *, compressed: bool = True) -> tuple[bytes, str]:
    """Return a layer's blob and its diff id."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        build(archive)
    plain = buffer.getvalue()
    return (gzip.compress(plain, mtime=0) if compressed else plain), digest_of(plain)


def add_file(archive: tarfile.TarFile, name: str, content: bytes = b"", *, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    archive.addfile(member, io.BytesIO(content))


def add_member(archive: tarfile.TarFile, name: str, type: bytes, *, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.type = type
    member.linkname = link
    member.mode = 0o755
    archive.addfile(member)


def fill_os(archive: tarfile.TarFile, version: str, *, healthy: bool = True, payload: int = 1000) -> None:
    """Write the small OS of the contract."""
    release = f'NAME="Demo"\nVERSION="{version}"\nID=skerry-demo\nIMAGE_TAG={version}\n'
    checker = "#!/bin/sh\nexit 0\n" if healthy else "#!/bin/sh\necho the plug is out\nexit 1\n"
    add_file(archive, "etc/os-release", release.encode())
    add_file(archive, "etc/elemental/bootargs.cfg", BOOTARGS)
    add_file(archive, "boot/vmlinuz", b"kernel " + version.encode())
    add_file(archive, "boot/initrd", b"initrd " + version.encode())
    add_file(archive, "usr/libexec/elemental-checker/50-demo.sh", checker.encode(), mode=0o755)
    seed = hashlib.sha256(version.encode()).digest()
    add_file(archive, "usr/share/payload", (seed * (payload // 32 + 1))[:payload])


@dataclass
class Request:
    path: str
    range: str


@dataclass
class RegistryContent:
    """Blobs and manifests in memory. `limits` cuts a blob's answer after so many bytes, once each."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    ignores_ranges: bool = False
    requests: list[Request] = field(default_factory=list)

    def put_blob(self, content: bytes) -> dict[str, object]:
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"digest": digest, "size": len(content)}

    def put_manifest(self, document: Mapping[str, object], *, media_type: str = MANIFEST) -> str:
        content = json.dumps(document).encode()
        digest = digest_of(content)
        self.manifests[digest] = (content, media_type)
        return digest

    def put_image(self, *layers: tuple[bytes, str], version: str = "", media_type: str = LAYER) -> str:
        """Store an image of these layers and return its digest."""
        config = {
            "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
            "config": {"Labels": {"org.opencontainers.image.version": version}},
        }
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.put_blob(json.dumps(config).encode()),
            "layers": [{**self.put_blob(blob), "mediaType": media_type} for blob, _ in layers],
        }
        return self.put_manifest(document)

    def put_os(self, version: str, *, healthy: bool = True, payload: int = 1000) -> str:
        layer = make_layer(lambda archive: fill_os(archive, version, healthy=healthy, payload=payload))
        return self.put_image(layer, version=version)


class RunningRegistry:
    """The registry on a loopback port of its own."""

    def __init__(self) -> None:
        self.content = RegistryContent()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self.content))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def reference(self, digest: str) -> str:
        return f"{self.address}/{REPOSITORY}@{digest}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _make_handler(content: RegistryContent) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            content.requests.append(Request(self.path, self.headers.get("Range", "")))
            if "/manifests/" in self.path and name in content.manifests:
                self._answer(*content.manifests[name])
            elif "/blobs/" in self.path and name in content.blobs:
                self._answer_blob(name)
            else:
                self._answer(b"{}", "application/json", status=404)

        def _answer_blob(self, digest: str) -> None:
            blob = content.blobs[digest]
            wanted = self.headers.get("Range", "")
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if start and content.ignores_ranges:
                start = 0
            rest = blob[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(blob) - 1}/{len(blob)}")
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            limit = content.limits.pop(digest, len(rest))
            self.wfile.write(rest[:limit])
            if limit < len(rest):
                self.close_connection = True

        def _answer(self, body: bytes, media_type: str, *, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
