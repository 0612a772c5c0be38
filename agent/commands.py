"""What each command of `skerry-agent` does, given its options: the doors put together, one story each."""

import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import yaml

from agent.client import Appliance
from agent.config import CONFIG_PATH, AgentConfig, load_config, render_config
from agent.connection import (
    OEM_NAME,
    UPSTREAM_PATH,
    Connection,
    from_config,
    load_connection,
    render_connection,
)
from agent.durable import make_directories, write_durably
from agent.errors import ConfigInvalid, Denied, Unreachable
from agent.host import Host
from agent.install import OemFile, install
from agent.installation import Installation, open_installation, transaction_lock
from agent.journal import Fault, Record, no_fault
from agent.loop import Ended, run, settle_now
from agent.protocol.client_config import (
    Config,
    Registration,
    parse_registration,
    render_registration,
)
from agent.protocol.discovery import TXT_ID, HostState
from agent.protocol.report import Report
from agent.protocol.system_data import render_leaf
from agent.reference import parse_reference
from agent.registry import Registry, open_registry
from agent.reporter import Reporter
from agent.settle import Settled
from agent.status import build_report, find_addresses, read_version
from agent.upgrade import resume, switch_back, upgrade

if TYPE_CHECKING:
    from agent.facts.sent import Sent

log = logging.getLogger("agent")

REGISTRATION_PATHS = ("/oem/registration/config.yaml", "/run/initramfs/live/livecd-cloud-config.yaml")
LIVE_STATE_PATH = "/tmp/registration/state.yaml"  # noqa: S108 - upstream's name, below the host's root
LABELS_PATH = "/etc/elemental/labels.yaml"
PAIRED_PATH = "/run/skerry/registration.yaml"  # as long as this boot lasts; an installation keeps its own
MAX_FILE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class RegisterOptions:
    """The flags of `register` and `install`; a flag beats the file."""

    config_path: str = ""
    url: str = ""
    ca_cert: str = ""
    emulate_tpm: bool = False
    seed: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    overwrite: bool = False
    first_delay: float = 1.0
    max_delay: float = 30.0
    discover: bool = False
    interfaces: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """What every command starts from."""

    host: Host
    config: AgentConfig
    stop: threading.Event
    fault: Fault = no_fault


def open_machine(host: Host, *, config_path: str, stop: threading.Event, fault: Fault) -> Machine:
    """Read the configuration: the named file, the system's, or the OEM volume's."""
    places = [CONFIG_PATH, "/run/elemental/oem/skerry/agent.toml", "/oem/skerry/agent.toml"]
    paths = [Path(config_path)] if config_path else [host.path(place) for place in places]
    found = next((path for path in paths if path.exists()), paths[0])
    if config_path and not found.exists():
        raise ConfigInvalid(f"there is no configuration at {config_path}")
    return Machine(host, load_config(found), stop, fault)


def join_appliance(machine: Machine, options: RegisterOptions) -> Connection:
    """Register, wait for approval, and keep the connection where the run loop finds it."""
    oem = machine.host.volume("oem")
    is_installed = oem.is_dir()
    state = oem / "registration/state.yaml" if is_installed else machine.host.path(LIVE_STATE_PATH)
    connection = from_config(_register(machine, options, state_path=state))
    target = oem / OEM_NAME if is_installed else machine.host.path(UPSTREAM_PATH)
    make_directories(target.parent, mode=0o700)
    write_durably(target, render_connection(connection), mode=0o600)
    return connection


def install_host(machine: Machine, options: RegisterOptions) -> Record:
    """Register, then put the image that the registration (or `--image`) names on a disk."""
    host = machine.host
    state_path = host.path(LIVE_STATE_PATH)
    reply = _register(machine, options, state_path=state_path)
    connection = from_config(reply)
    reporter = Reporter(connection)
    installation = open_installation(host, machine.config, fault=machine.fault, observe=reporter.observe)
    reporter.attach(installation)
    wanted = options.image or reply.elemental.install.system_uri
    if not wanted:
        raise ConfigInvalid(
            "nobody said which image to install",
            hint="set config.elemental.install.system-uri in the MachineRegistration, or give --image",
        )
    reference = parse_reference(wanted)
    registry = open_registry(reference.address, machine.config.mirror, host=host, ca_pem=connection.ca_pem)
    with transaction_lock(host, who="install"):
        record = install(
            installation,
            reference,
            options=reply.elemental.install,
            registry=registry,
            oem=_oem_files(machine, reply, connection, state=state_path.read_bytes()),
            overwrite=options.overwrite,
            fault=machine.fault,
        )
    reporter.send()
    installation.disk.unmount()
    return record


def upgrade_host(machine: Machine, image: str, *, correlation_id: str, again: bool = False) -> Record | None:
    """Stage and arm the image; the run loop (or the caller) reboots."""
    installation, reporter, connection = _open_installed(machine)
    reference = parse_reference(image)
    registry = _registry_for(machine, image, connection)
    with transaction_lock(machine.host, who="upgrade"):
        record = upgrade(
            installation, reference, registry=registry, correlation_id=correlation_id, again=again
        )
    if reporter is not None:
        reporter.send()
    return record


def roll_back_host(machine: Machine) -> Record:
    installation, reporter, _ = _open_installed(machine)
    with transaction_lock(machine.host, who="rollback"):
        record = switch_back(installation)
    if reporter is not None:
        reporter.send()
    return record


def settle_host(machine: Machine) -> Settled:
    installation, reporter, _ = _open_installed(machine)
    settled = settle_now(installation)
    if reporter is not None:
        reporter.send()
    return settled


def run_host(machine: Machine) -> Ended:
    """Settle, report, apply plans, until a reboot is due or the process is told to stop."""
    installation, reporter, connection = _open_installed(machine)
    if connection is None or reporter is None:
        raise ConfigInvalid("this host is not registered", hint="run `skerry-agent register` first")

    def finish(record: Record) -> object:
        registry = _registry_for(machine, record.reference, connection)
        return resume(installation, record, registry=registry)

    with _announcing(machine, installation, connection):
        return run(installation, Appliance(connection), reporter=reporter, resume=finish, stop=machine.stop)


def read_status(machine: Machine) -> Report:
    installation = open_installation(machine.host, machine.config)
    return build_report(installation)


def read_sent(machine: Machine, options: RegisterOptions) -> "Sent":
    """What registering would send. Nothing is sent, and no registration need be known yet."""
    from agent.facts import NO_FACTS, read_annotations, read_facts
    from agent.facts.sent import Sent

    host = machine.host
    registration = _find_registration(host, options)
    annotations = {
        **read_annotations(host, software=read_version(), unmanaged=registration.no_toolkit),
        "auth": "emulated-tpm" if registration.emulate_tpm else registration.auth or "tpm",
    }
    for address in find_addresses(registration.url)[:1]:
        annotations["registration-ip"] = f"[{address}]" if ":" in address else address
    return Sent(
        facts=NO_FACTS if registration.no_smbios else read_facts(host),
        annotations=annotations,
        labels=_collect_labels(host, registration, options),
        has_facts=not registration.no_smbios,
    )


def _register(machine: Machine, options: RegisterOptions, *, state_path: Path) -> Config:
    # Only here: a host that runs for years registers once, and these bring cryptography and websockets.
    from agent.admission import wait_for_admission
    from agent.arrival import follow_appliance
    from agent.register import Outcome, register_host

    options, is_paired = _pair_if_alone(machine, options)
    registration = _read_registration(machine.host, options)
    labels = _collect_labels(machine.host, registration, options)
    with _announcing_arrival(machine, towards=registration.url):

        def attempt() -> Outcome:
            nonlocal registration
            try:
                return register_host(
                    machine.host,
                    registration,
                    state_path=state_path,
                    labels=labels,
                    software=read_version(),
                    only_its_ca=is_paired,
                )
            except Denied:
                raise
            except Unreachable:
                if machine.config.discovery:
                    registration = follow_appliance(registration)
                raise

        return wait_for_admission(
            attempt,
            stop=machine.stop,
            first_delay=options.first_delay,
            max_delay=options.max_delay,
        )


def _pair_if_alone(machine: Machine, options: RegisterOptions) -> tuple[RegisterOptions, bool]:
    """The options with the registration of an appliance that knew our code, where nothing else names one."""
    host = machine.host
    paired = host.path(PAIRED_PATH)
    is_told = options.config_path or options.url or any(host.path(at).is_file() for at in REGISTRATION_PATHS)
    if is_told or not (options.discover or paired.is_file()):
        return options, False
    if not paired.is_file():
        from agent.arrival import pair_here

        registration = pair_here(
            host,
            version=read_version(),
            interfaces=options.interfaces,
            stop=machine.stop,
            show=show_on_screen,
        )
        make_directories(paired.parent, mode=0o700)
        write_durably(paired, render_registration(registration), mode=0o600)
    return replace(options, config_path=str(paired)), True


def show_on_screen(text: str) -> None:
    """On the console that whoever stands before the machine sees."""
    print(f"\n{text}\n", file=sys.stderr, flush=True)


def _read_registration(host: Host, options: RegisterOptions) -> Registration:
    """The registration to go to. Raises ConfigInvalid where nobody said which."""
    registration = _find_registration(host, options)
    if urlsplit(registration.url).scheme not in ("http", "https"):
        raise ConfigInvalid(
            "no registration URL is known",
            hint="give --registration-url, or --discover, or put the registration document at "
            + " or ".join(REGISTRATION_PATHS),
        )
    return registration


def _find_registration(host: Host, options: RegisterOptions) -> Registration:
    """The file, overlaid with the flags. Flags alone are enough."""
    places = (
        [Path(options.config_path)]
        if options.config_path
        else [host.path(place) for place in REGISTRATION_PATHS]
    )
    path = next((place for place in places if place.is_file()), None)
    if path is None and options.config_path:
        raise ConfigInvalid(f"there is no registration document at {options.config_path}")
    registration = parse_registration(path.read_bytes()) if path else Registration()
    if options.ca_cert:
        registration = msgspec.structs.replace(registration, ca_cert=_read_ca(options.ca_cert))
    if options.emulate_tpm:
        registration = msgspec.structs.replace(registration, emulate_tpm=True, emulated_tpm_seed=options.seed)
    if options.url:
        registration = msgspec.structs.replace(registration, url=options.url)
    return registration


def _read_ca(text: str) -> str:
    """A file name or the PEM itself, as upstream's flag takes either."""
    if "-----BEGIN" in text:
        return text
    try:
        return Path(text).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"cannot read the CA certificate {text}: {error}") from error


def _collect_labels(host: Host, registration: Registration, options: RegisterOptions) -> dict[str, str]:
    """The registration document's, the labels file's and the flags'; later ones win."""
    own = {key: render_leaf(value) for key, value in registration.labels.items()}
    return {**own, **_read_labels(host), **options.labels}


def _read_labels(host: Host) -> dict[str, str]:
    text = host.read_text(LABELS_PATH, limit=MAX_FILE_BYTES)
    try:
        return msgspec.convert(yaml.safe_load(text) or {}, dict[str, str])
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ConfigInvalid(f"{LABELS_PATH} is not a flat mapping of labels: {error}") from error


def _oem_files(
    machine: Machine, reply: Config, connection: Connection, *, state: bytes
) -> dict[str, OemFile]:
    """What the installed system must know of this conversation."""
    files = {
        "registration/config.yaml": OemFile(render_registration(reply.elemental.registration)),
        "registration/state.yaml": OemFile(state),
        OEM_NAME: OemFile(render_connection(connection)),
        "skerry/agent.toml": OemFile(render_config(machine.config), mode=0o644),
    }
    if reply.cloud_config:
        document = yaml.safe_dump(dict(reply.cloud_config), sort_keys=False)
        head = "" if "stages" in reply.cloud_config else "#cloud-config\n"
        files["elemental-cloud-init.yaml"] = OemFile((head + document).encode())
    return files


def _open_installed(machine: Machine) -> tuple[Installation, Reporter | None, Connection | None]:
    """Mount the installation and prepare to report on it."""
    opened = open_installation(machine.host, machine.config)
    opened.disk.mount()
    connection = load_connection(machine.host)
    if connection is None:
        return open_installation(machine.host, machine.config, fault=machine.fault), None, None
    reporter = Reporter(connection)
    installation = open_installation(
        machine.host, machine.config, fault=machine.fault, observe=reporter.observe
    )
    reporter.attach(installation)
    return installation, reporter, connection


def _registry_for(machine: Machine, image: str, connection: Connection | None) -> Registry:
    return open_registry(
        parse_reference(image).address,
        machine.config.mirror,
        host=machine.host,
        ca_pem=connection.ca_pem if connection else "",
    )


def _announcing_arrival(machine: Machine, *, towards: str) -> AbstractContextManager[None]:
    """Say that we are here before we are anybody: a technician sees us even if registering fails."""
    if not machine.config.discovery:
        return nullcontext()
    from agent.discovery import announce, describe_host

    texts = describe_host(machine.host, state="unreg", version=read_version())
    return announce(f"new-{texts[TXT_ID]}", texts, addresses=find_addresses(towards))


def _announcing(
    machine: Machine, installation: Installation, connection: Connection
) -> AbstractContextManager[None]:
    if not machine.config.discovery:
        return nullcontext()
    from agent.discovery import announce, describe_host

    report = build_report(installation, towards=connection.url)
    state: HostState = "ready" if report.booted_slot else "fail"
    texts = describe_host(machine.host, state=state, version=report.version)
    return announce(connection.name, texts, addresses=report.addresses)
