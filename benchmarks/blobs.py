"""The mirror's speed beside docker-registry and distribution v3 under the same load. Prints ratios.

    python -m benchmarks.blobs [--mib 192] [--rounds 2] [--dir DIR] [--tls] [--only pull,manifest,list,push]

Limits in the same run: a bare sendfile loop for pulls; sha256 and a durable write of the same bytes for
pushes. Clients are processes on loopback that share the machine's cores with the server, so the processor
time that a server takes for a gigabyte is the steadier number. Rounds are interleaved; medians are printed.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.pool import Pool
from pathlib import Path

from benchmarks.blob_clients import (
    Blob,
    count_answers,
    count_lists,
    name_suite,
    open_connection,
    pull,
    push,
    warm,
)
from benchmarks.blob_servers import Peer, find_peers, serve_by_sendfile, serve_docker_registry, serve_mirror
from mirror.oci import OCI_INDEX, OCI_MANIFEST
from mirror.registry import Registry
from tests.mirror.certificates import make_certificate
from tests.mirror.running import image_manifest

MIB = 1024 * 1024
GB = 1e9
MANIFEST_SECONDS = 1.0
REPOSITORY = "bench/images"
TAGS_REPOSITORY = "bench/tags"
TAGS = 10_000
CLIENTS = 32
KINDS = ("pull", "manifest", "list", "push")
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


@dataclass
class Measured:
    """Rates in GB or thousands of requests a second, and the server's processor seconds for one of these."""

    unit: str
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


Results = dict[str, dict[str, Measured]]  # what, then who


def main() -> None:
    options = _parse_arguments()
    programs = find_peers()
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(dir=options.dir, prefix="skerry-bench-") as folder,
        contextlib.ExitStack() as stack,
        spawn.Pool(CLIENTS) as clients,
    ):
        work = Path(folder)
        blob = _make_blob(work / "blob", options.mib, seed="pull")
        certificate = make_certificate(work / "pki") if options.tls else None
        peers = [stack.enter_context(serve_mirror(work, certificate))]
        for name, binary in programs.items():
            peers.append(stack.enter_context(serve_docker_registry(name, binary, work, certificate)))
        for peer in peers:
            _store(peer, blob)
            _store_tags(peer, work)
        if certificate is None:
            peers.append(stack.enter_context(serve_by_sendfile(blob)))
        results: Results = {}
        for number in range(options.rounds):
            for peer in peers:
                if "pull" in options.only:
                    _measure_pulls(results, peer, clients, blob)
                if peer.name == "bare sendfile":
                    continue
                if "manifest" in options.only:
                    _measure_manifests(results, peer, clients)
                if "list" in options.only:
                    _measure_listing(results, peer, clients)
                if "push" in options.only:
                    _measure_pushes(results, peer, clients, work, mib=options.mib // 2, seed=str(number))
            if "push" in options.only:
                _measure_limits(results, blob, work)
        _print(results, title=f"{options.mib} MiB blob, {'TLS' if options.tls else 'plain HTTP'}")
        for peer in peers:
            peak = _memory_peak(peer.process) / MIB
            start = f"started in {peer.start_seconds:.2f} s"
            print(f"{peer.name}: {name_suite(peer.target)}, {start}, largest resident size {peak:.0f} MiB")


def _measure_pulls(results: Results, peer: Peer, clients: Pool, blob: Blob) -> None:
    path = f"/v2/{REPOSITORY}/blobs/{blob.digest}"
    for count, is_discarding in ((1, False), (4, False), (4, True), (CLIENTS, True)):
        what = f"pull, {count} client{'s' * (count > 1)}{', discarding' * is_discarding}"
        part = blob.size if count <= 4 else blob.size * 4 // count
        arguments = [(peer.target, path, part, is_discarding)] * count
        with _measuring(results, what, peer, count * part / GB, unit="GB"):
            clients.starmap(pull, arguments, chunksize=1)


def _measure_manifests(results: Results, peer: Peer, clients: Pool) -> None:
    """One client cannot ask faster than it is answered; four keep a server busy."""
    for method, count in (("GET", 1), ("GET", 4), ("HEAD", 1), ("HEAD", 4)):
        arguments = (peer.target, f"/v2/{REPOSITORY}/manifests/v1", MANIFEST_SECONDS, method)
        before = _cpu_seconds(peer.process)
        answered = sum(clients.starmap(count_answers, [arguments] * count, chunksize=1)) / 1000
        what = f"manifest {method}, {count} client{'s' * (count > 1)}"
        measured = results.setdefault(what, {}).setdefault(peer.name, Measured("k"))
        measured.rates.append(answered / MANIFEST_SECONDS)
        measured.cpu.append((_cpu_seconds(peer.process) - before) / answered)


def _measure_listing(results: Results, peer: Peer, clients: Pool) -> None:
    """Whole lists of ten thousand tags."""
    arguments = (peer.target, f"/v2/{TAGS_REPOSITORY}/tags/list", MANIFEST_SECONDS / 2, TAGS)
    before, started = _cpu_seconds(peer.process), time.perf_counter()
    answered = clients.apply(count_lists, arguments)
    measured = results.setdefault(f"list of {TAGS:,} tags", {}).setdefault(peer.name, Measured("lists"))
    measured.rates.append(answered / (time.perf_counter() - started))
    measured.cpu.append((_cpu_seconds(peer.process) - before) / answered)


def _measure_pushes(results: Results, peer: Peer, clients: Pool, work: Path, *, mib: int, seed: str) -> None:
    for count in (1, 4):
        blobs = [
            _make_blob(work / f"push-{number}", mib // count, seed=f"{peer.name} {seed} {count} {number}")
            for number in range(count)
        ]
        size = sum(blob.size for blob in blobs) / GB
        with _measuring(results, f"push, {count} client{'s' * (count > 1)}", peer, size, unit="GB"):
            clients.starmap(push, [(peer.target, REPOSITORY, blob) for blob in blobs], chunksize=1)


def _measure_limits(results: Results, blob: Blob, work: Path) -> None:
    content = blob.path.read_bytes()
    started = time.perf_counter()
    hashlib.sha256(content)
    hashed = time.perf_counter()
    with (work / "written").open("wb", buffering=0) as file:
        file.write(content)
        os.fdatasync(file.fileno())
    written = time.perf_counter()
    (work / "written").unlink()
    for name, seconds in (("sha256 alone", hashed - started), ("durable write alone", written - hashed)):
        measured = results.setdefault("push, 1 client", {}).setdefault(name, Measured("GB"))
        measured.rates.append(blob.size / GB / seconds)


@contextlib.contextmanager
def _measuring(results: Results, what: str, peer: Peer, amount: float, *, unit: str) -> Iterator[None]:
    measured = results.setdefault(what, {}).setdefault(peer.name, Measured(unit))
    before, started = _cpu_seconds(peer.process), time.perf_counter()
    yield
    measured.rates.append(amount / (time.perf_counter() - started))
    measured.cpu.append((_cpu_seconds(peer.process) - before) / amount)


def _print(results: Results, *, title: str) -> None:
    print(f"{title}; median (best), the server's own processor time, and our rate over the other's")
    for what, peers in results.items():
        ours = statistics.median(peers["mirror"].rates)
        for name, measured in peers.items():
            median = statistics.median(measured.rates)
            cpu = f"{statistics.median(measured.cpu):6.3f} CPU s/{measured.unit}" if measured.cpu else ""
            ratio = f"{ours / median:6.2f}x" if name != "mirror" else ""
            rate = f"{median:7.2f} ({max(measured.rates):5.2f}) {measured.unit}/s"
            print(f"{what:28} {name:20} {rate:24} {cpu:19} {ratio}")


def _store(peer: Peer, blob: Blob) -> None:
    """Push the blob to be pulled, and a small image under the tag v1.

    It is pulled once unmeasured: the mirror writes past the page cache, docker-registry through it.
    """
    push(peer.target, REPOSITORY, blob)
    pull(peer.target, f"/v2/{REPOSITORY}/blobs/{blob.digest}", blob.size, False)
    config = blob.path.with_name("config")
    config.write_bytes(CONFIG)
    push(peer.target, REPOSITORY, _describe(config))
    connection = open_connection(peer.target)
    headers = {"Content-Type": OCI_MANIFEST}
    connection.request("PUT", f"/v2/{REPOSITORY}/manifests/v1", image_manifest(CONFIG), headers)
    answer = connection.getresponse()
    if answer.status != 201:
        raise RuntimeError(f"{peer.name} answered {answer.status} to a manifest: {answer.read()!r}")
    connection.close()


def _store_tags(peer: Peer, work: Path) -> None:
    """Past the API, for nobody waits for ten thousand pushes; the peers keep a folder a tag."""
    tags = [f"v{number}" for number in range(TAGS)]
    if peer.tags_folder is None:
        registry = Registry(work / "mirror")
        content = b'{"schemaVersion":2,"manifests":[]}'
        registry.push_manifest(TAGS_REPOSITORY, content, OCI_INDEX, tags=tags)
        registry.close()
        return
    for tag in tags:
        (peer.tags_folder / TAGS_REPOSITORY / "_manifests/tags" / tag).mkdir(parents=True)


# what a benchmark needs of the machine


def _make_blob(path: Path, mib: int, *, seed: str) -> Blob:
    """Bytes that are the same nowhere else: noise, with the seed and a number in every mebibyte."""
    noise = os.urandom(MIB - 64)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(f"{seed} {number}".encode().ljust(64) + noise)
    warm(path)
    return _describe(path)


def _describe(path: Path) -> Blob:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(path, path.stat().st_size, f"sha256:{digest}")


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_peak(process: int) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.blobs", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--mib", type=int, default=192, help="size of the pulled blob; pushes are half of it")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--dir", type=Path, help="where to work; a folder on a real disk, not a tmpfs")
    parser.add_argument("--tls", action="store_true", help="measure inside TLS")
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=KINDS, help=f"some of {','.join(KINDS)}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
