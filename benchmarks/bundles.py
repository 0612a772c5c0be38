"""How fast a bundle loads, beside what others need for the same bytes. Prints ratios; asserts nothing.

    python -m benchmarks.bundles [--mib 1024] [--rounds 3] [--dir DIR]

Peers in the same run: `sha256sum`, and `cp` + `sync` of the same files (the disk alone). The hash alone is
the faster of `sha256sum` and our own check, since coreutils may lack the processor's SHA instructions. And,
where both are installed, `skopeo copy` from the bundle's layout into docker-registry.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from bundles.images.small import build_small_image
from bundles.load import load
from bundles.pack import Source, pack
from bundles.signing import PublicKey, generate_key, parse_private_key, trust_of
from bundles.verify import check_bundle
from mirror.registry import Registry

MIB = 1024 * 1024


def main() -> None:
    arguments = _parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix="skerry-bench-") as folder:
        work = Path(folder)
        bundle, trust = _make_bundle(work, mib=arguments.mib)
        size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())
        print(f"bundle of {size / MIB:.0f} MiB in 4 images, {arguments.rounds} rounds, seconds median (best)")
        seconds = _measure(work, bundle, trust, rounds=arguments.rounds)
        for name, values in seconds.items():
            median = statistics.median(values)
            print(f"{name:28} {median:8.3f} ({min(values):.3f})   {size / median / 1e9:6.2f} GB/s")
        _print_ratios({name: statistics.median(values) for name, values in seconds.items()})


def _measure(work: Path, bundle: Path, trust: dict[str, PublicKey], *, rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {}

    def record(name: str, work_to_do: Callable[[], object]) -> None:
        started = time.perf_counter()
        work_to_do()
        seconds.setdefault(name, []).append(time.perf_counter() - started)

    for _ in range(rounds):
        record("sha256sum", lambda: _run("sha256sum", *_files(bundle)))
        record("cp + sync", lambda: _copy_durably(bundle, work / "copy"))
        shutil.rmtree(work / "copy")
        record("verify", lambda: check_bundle(bundle, trust))
        registry = Registry(work / "mirror")
        record("load", lambda registry=registry: load(bundle, trust=trust, registry=registry))  # type: ignore[misc]
        record("load again", lambda registry=registry: load(bundle, trust=trust, registry=registry))  # type: ignore[misc]
        registry.close()
        shutil.rmtree(work / "mirror")
        if shutil.which("skopeo") and shutil.which("docker-registry"):
            with _docker_registry(work / "peer") as address:
                record("skopeo to docker-registry", lambda address=address: _skopeo(bundle, address))  # type: ignore[misc]
                record("skopeo again", lambda address=address: _skopeo(bundle, address))  # type: ignore[misc]
            shutil.rmtree(work / "peer")
    return seconds


def _print_ratios(seconds: dict[str, float]) -> None:
    hashing = min(seconds["sha256sum"], seconds["verify"])
    disk = seconds["cp + sync"]
    load_once = seconds["load"]
    print(f"load / slower of hash and disk      {load_once / max(hashing, disk):.2f}   (target 1.20 or less)")
    print(f"load / (sha256sum + cp + sync)      {load_once / (seconds['sha256sum'] + disk):.2f}")
    if "skopeo again" in seconds:
        print(f"load / skopeo to docker-registry    {load_once / seconds['skopeo to docker-registry']:.2f}")
        print(f"second load / skopeo again          {seconds['load again'] / seconds['skopeo again']:.2f}")


def _make_bundle(work: Path, *, mib: int) -> tuple[Path, dict[str, PublicKey]]:
    key = parse_private_key(generate_key()[0])
    sources = []
    for number in range(4):
        name = f"bench/image{number}"
        build_small_image(work / "layout", name=name, version="1", payload_bytes=mib * MIB // 4)
        sources.append(Source(work / "layout", f"{name}:1", name=f"{name}:1"))
    pack(sources, work / "bundle", key=key, name="bench")
    shutil.rmtree(work / "layout")
    return work / "bundle", trust_of(key.public)


def _files(bundle: Path) -> list[str]:
    return [str(path) for path in sorted(bundle.rglob("*")) if path.is_file()]


def _copy_durably(source: Path, target: Path) -> None:
    _run("cp", "-r", str(source), str(target))
    _run("sync", *_files(target))


def _skopeo(bundle: Path, address: str) -> None:
    for image in json.loads((bundle / "bundle.json").read_bytes())["images"]:
        name = image["reference"]
        _run(
            "skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--preserve-digests",
            f"oci:{bundle}:{name}", f"docker://{address}/{name}",
        )  # fmt: skip


@contextlib.contextmanager
def _docker_registry(root: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    root.mkdir()
    config = root / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with subprocess.Popen(
        ["docker-registry", "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as registry:
        try:
            _wait_for(f"http://{address}/v2/")
            yield address
        finally:
            registry.send_signal(signal.SIGTERM)


def _wait_for(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing answers at {url}")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the bundle")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"), help="on the disk to measure")
    return parser.parse_args()


if __name__ == "__main__":
    main()
