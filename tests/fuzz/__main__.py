"""`python -m tests.fuzz SECONDS [TARGET]`: every target in turn, with the time shared among them.

With atheris installed (it is in no lock, for it is a compiler's runtime: `pip install atheris`) inputs follow
the coverage; without it they are honest inputs, changed at random. An input that breaks a promise is written
to `crash-…` in the working directory and ends the run with a failure; it belongs into `test_targets`.
"""

import hashlib
import random
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.targets import TARGETS, Target, seeds

MAX_INPUT_BYTES = 4096


def main(seconds: float, names: list[str]) -> int:
    failed = []
    for name in names:
        if find_spec("atheris"):
            command = [sys.executable, "-m", "tests.fuzz", "--guided", name, str(seconds / len(names))]
            done = subprocess.run(command, check=False).returncode == 0
        else:
            done = mutate(TARGETS[name], seeds(name), seconds=seconds / len(names), name=name)
        if not done:
            failed.append(name)
    print(f"broken: {', '.join(failed)}" if failed else "no promise was broken")
    return 1 if failed else 0


def mutate(target: Target, honest: list[bytes], *, seconds: float, name: str) -> bool:
    """Feed changed inputs until the time is over; says whether all was well."""
    chance = random.Random()
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = change(chance.choice(honest), chance)
        count += 1
        try:
            target(data)
        except Exception as error:
            crash = Path(f"crash-{name}-{hashlib.sha256(data).hexdigest()[:16]}")
            crash.write_bytes(data)
            print(f"{name}: {error!r}; the input is in {crash}")
            return False
    print(f"{name}: {count} inputs")
    return True


def change(data: bytes, chance: random.Random) -> bytes:
    """A few of: a byte changed, bytes taken out, bytes put in, a part doubled, the end cut off."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        size = chance.choice((1, 2, 4, 64))
        match chance.randrange(5):
            case 0 if place < len(changed):
                changed[place] = chance.randrange(256)
            case 1:
                del changed[place : place + size]
            case 2:
                changed[place:place] = chance.randbytes(size)
            case 3:
                changed[place:place] = changed[place : place + size]
            case _:
                del changed[place:]
    return bytes(changed[:MAX_INPUT_BYTES])


def follow_coverage(name: str, seconds: float) -> None:
    """Hand the process to libFuzzer, which does not come back."""
    atheris = import_module("atheris")
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(seeds(name)):
        (corpus / str(number)).write_bytes(seed)
    atheris.instrument_all()
    options = [f"-max_total_time={max(1, int(seconds))}", f"-max_len={MAX_INPUT_BYTES}", "-timeout=10"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix=crash-{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--guided", name, seconds]:
            follow_coverage(name, float(seconds))
        case [seconds, *names]:
            raise SystemExit(main(float(seconds), names or list(TARGETS)))
        case _:
            raise SystemExit("usage: python -m tests.fuzz SECONDS [TARGET…]")
