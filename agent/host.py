"""The one door to the machine: paths, programs, mounts, block devices, reboot.

Every absolute path is taken below `root`. On a real host that is `/`; a simulated host is the same code over
a directory. Nothing else in this package starts a program or touches an absolute path by itself.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import CommandFailed, NoSpace

VOLUMES = ("efi", "oem", "recovery", "state", "persistent")
VOLUMES_PATH = "/run/elemental"
MAX_OUTPUT_BYTES = 256 * 1024
REBOOT_REQUEST = "/run/skerry/reboot-requested"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Completed:
    """What a program said. `status` is negative for a signal, as in subprocess."""

    status: int
    output: bytes
    errors: bytes

    @property
    def last_words(self) -> str:
        """The last lines, for a message: errors if there are any, else output."""
        text = (self.errors.strip() or self.output.strip()).decode(errors="replace")
        return "\n".join(text.splitlines()[-5:])


@dataclass(frozen=True, slots=True)
class Host:
    """One machine. `root` is where its file system begins."""

    root: Path = Path("/")

    def path(self, absolute: str) -> Path:
        """Return where this machine's `absolute` path is for us."""
        return self.root / absolute.lstrip("/")

    def volume(self, name: str) -> Path:
        """Return where the volume is mounted while we work: efi, oem, recovery, state or persistent."""
        return self.path(f"{VOLUMES_PATH}/{name}")

    def read_text(self, absolute: str, *, limit: int = 64 * 1024) -> str:
        """Return a small text file's content, or "" where there is none."""
        try:
            with self.path(absolute).open("rb") as file:
                return file.read(limit).decode(errors="replace").strip()
        except OSError:
            return ""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float = 600.0,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        text: str = "",
    ) -> Completed:
        """Run a program to its end; output beyond a limit is cut. A missing program is CommandFailed."""
        try:
            done = subprocess.run(
                list(command),
                input=text.encode(),
                capture_output=True,
                timeout=timeout,
                env=self._environment(environment or {}),
                cwd=directory,
                check=False,
            )
        except FileNotFoundError as error:
            raise CommandFailed(f"{command[0]} is not installed on this host") from error
        except PermissionError as error:
            raise CommandFailed(f"{command[0]} may not be executed: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise CommandFailed(f"{command[0]} did not end within {timeout:g} s") from error
        except OSError as error:
            raise CommandFailed(f"{command[0]} cannot be executed: {error.strerror}") from error
        return Completed(done.returncode, done.stdout[-MAX_OUTPUT_BYTES:], done.stderr[-MAX_OUTPUT_BYTES:])

    def require(self, command: Sequence[str], *, timeout: float = 600.0, text: str = "") -> Completed:
        """Run a program that must succeed; `text` is its standard input."""
        done = self.run(command, timeout=timeout, text=text)
        if done.status != 0:
            raise CommandFailed(
                f"`{' '.join(command)}` failed with status {done.status}: {done.last_words or 'no output'}"
            )
        return done

    def command_line(self) -> dict[str, str]:
        """Return the kernel command line's `name=value` words, the boot loader's own testimony."""
        words = (word.partition("=") for word in self.read_text("/proc/cmdline").split())
        return {name: value for name, _, value in words}

    def boot_id(self) -> str:
        return self.read_text("/proc/sys/kernel/random/boot_id")

    def uptime_seconds(self) -> int:
        """Seconds since this machine's kernel started; 0 where it does not say."""
        first, _, _ = self.read_text("/proc/uptime").partition(" ")
        try:
            return int(float(first))
        except ValueError:
            return 0

    def os_release(self) -> dict[str, str]:
        """Return /etc/os-release as a mapping, quotes removed."""
        pairs = (line.partition("=") for line in self.read_text("/etc/os-release").splitlines())
        return {name: value.strip("\"'") for name, separator, value in pairs if separator}

    def request_reboot(self) -> None:
        """Ask the run loop (or whoever looks) to reboot. Forgotten by the reboot itself: /run is memory."""
        request = self.path(REBOOT_REQUEST)
        request.parent.mkdir(parents=True, exist_ok=True)
        request.touch()

    def is_reboot_requested(self) -> bool:
        return self.path(REBOOT_REQUEST).exists()

    def reboot(self, command: Sequence[str]) -> None:
        """Reboot this machine. A host below a directory never reboots the machine it is simulated on."""
        if self.root != Path("/"):
            raise CommandFailed(f"the host below {self.root} is not this machine; not rebooting")
        self.require(command)

    def _environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        search = environment.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        if self.root != Path("/"):
            environment["SKERRY_AGENT_ROOT"] = str(self.root)
            search = f"{self.path('/usr/local/bin')}:{self.path('/usr/bin')}:{search}"
        environment["PATH"] = search
        return {**environment, **extra}


def check_space(path: Path, needed: int, *, what: str) -> None:
    """Raise NoSpace unless the file system of `path` has `needed` bytes free for us."""
    free = free_bytes(path)
    if needed > free:
        raise NoSpace(
            f"{what} needs {to_mib(needed)} MiB on {path.name}, which has {to_mib(free)} MiB free",
            hint=f"free at least {to_mib(needed - free)} MiB there, or install with a larger volume",
        )


def free_bytes(path: Path) -> int:
    statistics = os.statvfs(path)
    return statistics.f_bavail * statistics.f_frsize


def to_mib(size: int) -> int:
    """Round up: a refusal must never name a number that would not do."""
    return -(-size // MIB)


def now_text() -> str:
    """The time as we write it everywhere: RFC 3339, UTC, seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
