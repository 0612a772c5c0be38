"""`skerry serve`: builds everything and runs it. Read this first.

One process, one event loop: the store, the routes for hosts, for people and for kubectl, the controllers,
the operations, discovery; and the mirror as a child. `serve` makes each once, top to bottom, and takes
them down in the opposite order; nothing below reaches for a global.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from agent.protocol.pairing import MAX_NAME
from appliance import jobs
from appliance.access.accounts import AccountTokens
from appliance.access.evaluator import Evaluator
from appliance.access.users import Users
from appliance.addresses import bind, certificate_names, parse_address, public_host
from appliance.api import contract
from appliance.api.auditing import record_decisions
from appliance.api.identity import (
    AUTHENTICATOR,
    CALLER,
    EVALUATOR,
    Authenticator,
    check_access,
    identify_callers,
    recheck_access,
)
from appliance.api.inventory import add_inventory_routes
from appliance.api.kubernetes import Reviews, add_kubernetes_routes, answer_with_statuses
from appliance.api.problems import answer_with_problems
from appliance.api.seed_images import SEED_IMAGE_PATH, add_seed_image_routes
from appliance.api.server import Control, add_control_routes
from appliance.api.trusting import add_trust_routes
from appliance.api.users import UserDesk
from appliance.attestation.roots import FOLDER as ROOTS
from appliance.attestation.roots import TrustedRoots
from appliance.audit.log import Audit
from appliance.channel_lists import ChannelLists
from appliance.config import ServeConfig
from appliance.controllers import ControllerSettings
from appliance.controllers import build as build_controllers
from appliance.controllers.events import Recorder, keep_events_pruned
from appliance.controllers.manager import Manager
from appliance.controllers.metadata import write_metadata
from appliance.credentials import AdminToken, Authority, HostTokens
from appliance.discovery import Announcement, Candidates, Discovery
from appliance.discovery.pairing import Self
from appliance.discovery.probing import probe_forever
from appliance.errors import ApplianceFault
from appliance.files import PRIVATE, make_private_directory, write_durably
from appliance.hosts.admission import HostSettings, ignore_registration
from appliance.hosts.conditions import Conditions
from appliance.hosts.gate import Gate, Trust
from appliance.hosts.reports import REPORT_PATH
from appliance.hosts.rotation import rotate
from appliance.hosts.server import REGISTRATION_PATH, RUNNER_LIMITS, add_host_routes
from appliance.images import MirrorImages
from appliance.inventory.errors import InventoryError
from appliance.inventory.inventory import Inventory
from appliance.listening import Door, raise_file_limit, settle_connections
from appliance.mirror_accounts import MirrorAccounts
from appliance.mirror_process import MirrorProcess
from appliance.mirror_schedule import MirrorSchedule
from appliance.mirror_settings import read_intervals, read_limits
from appliance.moving.place import check_place, lock_directory
from appliance.operations import Operations
from appliance.pairing_desk import PairingDesk
from appliance.resources.seed_image import SEED_IMAGE
from appliance.store.base import Store
from appliance.store.sqlite import SqliteStore, utc_now
from mirror.registry import Registry

log = logging.getLogger(__name__)

# Elemental's agents use the second one: their URL ends in /k8s/clusters/local.
KUBERNETES_PREFIXES = ("", "/k8s/clusters/local")
MAX_BODY_BYTES = 4 * 1024 * 1024  # above what any handler takes, so that its own refusal is heard
SHUTDOWN_SECONDS = 3.0
CERTIFICATE_CHECK_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running appliance answers; the ready line and `endpoints.json`."""

    url: str
    mirror: str
    socket: str

    def render(self) -> str:
        return json.dumps({"ready": True, "url": self.url, "mirror": self.mirror, "socket": self.socket})


async def serve(config: ServeConfig, *, announce: Callable[[Endpoints], None], stop: asyncio.Event) -> None:
    """Run the appliance until `stop` is set. Raises ApplianceFault and StoreError when it cannot start."""
    data = make_private_directory(Path(config.data))
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_directory(data))
        listen, mirror_listen = parse_address(config.listen), parse_address(config.mirror_listen)
        listener = stack.enter_context(closing(bind(listen)))

        authority = Authority.load_or_create(data / "pki")
        names = certificate_names(listen, mirror_listen, advertise_url=config.advertise_url)
        certificate = authority.keep_server_certificate(data / "pki", names)
        tls = None if config.insecure_http else (certificate.certificate, certificate.key)

        admin = AdminToken.load_or_create(data / "admin.token")
        tokens = HostTokens.load_or_create(data / "pki" / "host-token.key")
        users = Users.load(data / "pki" / "users.json")
        accounts = MirrorAccounts(data / "pki", tokens, admin, people=users.records)
        accounts.prepare()
        limits, intervals = read_limits(config), read_intervals(config)

        # The slowest part first: it starts while we build the rest.
        mirror = MirrorProcess(
            data / "mirror", config.mirror_listen, tls=tls, options=render_mirror_options(config, accounts)
        )
        mirror_started = asyncio.create_task(mirror.start())
        stack.push_async_callback(mirror.stop)
        stack.callback(mirror_started.cancel)

        store = await _open_store(config, data, stack)
        registry = stack.enter_context(
            closing(await asyncio.to_thread(Registry, data / "mirror", limits=limits))
        )
        mirror_listens = parse_address(await mirror_started)
        port = int(listener.getsockname()[1])
        endpoints = choose_endpoints(config, port=port, mirror_port=mirror_listens.port)
        ca_pem = authority.certificate_pem if tls else ""

        operations = Operations(
            data / "operations",
            jobs.kinds(jobs.Workshop(store, registry, endpoints.mirror, data / "trust", ca_pem)),
        )
        await operations.open()
        stack.push_async_callback(operations.close)
        await jobs.refresh_versions(store, endpoints.mirror)

        admin = AdminToken.load_or_create(data / "admin.token")
        site = config.site or socket.gethostname()
        state = _State()
        candidates = Candidates()
        own = Self(id=authority.fingerprint[-12:], site=site[:MAX_NAME], fingerprint=authority.fingerprint)
        pairing = PairingDesk(store, candidates, own=own, ca_pem=ca_pem)
        control = Control(
            store=store,
            operations=operations,
            candidates=candidates,
            version=_describe(endpoints, site),
            access=contract.Access(url=endpoints.url, ca=ca_pem, token=admin.secret.reveal(), site=site),
            trust_directory=data / "trust",
            users=UserDesk(store, users, authority if tls else None, now=utc_now),
            is_ready=lambda: state.is_ready and mirror.is_running,
            pair=pairing.pair if config.discovery else None,
        )
        authenticator = Authenticator(
            store,
            hosts=HostTokens.load_or_create(data / "pki" / "host-token.key"),
            admin=admin,
            users=users,
            accounts=AccountTokens.load_or_create(store, data / "pki" / "service-account.key"),
        )
        inventory = await _open_inventory(data, stack)
        hear = inventory.hear_registration if isinstance(inventory, Inventory) else ignore_registration
        record = Recorder(store, clock=utc_now).record
        told = HostSettings(server_url=endpoints.url, ca_pem=ca_pem, hear=hear, record=record)
        audit = Audit(data)
        stack.callback(audit.close)
        trust = Trust(audit, TrustedRoots(data / "trust" / ROOTS))
        gate = Gate(store, trust)
        app = build_application(control, authenticator, told, gate=gate, audit=audit)
        add_trust_routes(app, store, data / "trust" / ROOTS, rotate=partial(rotate, store, now=trust.now))
        add_inventory_routes(app, inventory)
        media = jobs.SeedImageBuilder(operations, data / "seed-images", ca_pem)
        add_seed_image_routes(app, store, media.directory)
        context = _tls_context(tls, ca_pem=ca_pem) if tls else None
        stack.push_async_callback(await _listen(app, listener, Path(endpoints.socket), context))

        state.is_ready = True
        write_durably(data / "endpoints.json", f"{endpoints.render()}\n".encode(), mode=PRIVATE)
        announce(endpoints)
        log.info("appliance: %s answers at %s, mirror at %s", site, endpoints.url, endpoints.mirror)

        known = {image["metadata"]["uid"] for image in (await store.list(SEED_IMAGE)).items}
        await media.sweep(known)
        await write_metadata(store, version=control.version.version, server_url=endpoints.url)
        settings = ControllerSettings(
            server_url=endpoints.url,
            resolve=MirrorImages(registry, endpoints.mirror).resolve,
            read_list=ChannelLists(registry, endpoints.mirror, ca_pem=ca_pem).read,
            media=media,
            # A cluster that serves InClusterIPPools has the provider that brought them.
            gives_addresses=config.store == "sqlite",
        )
        work = [
            Manager(store, build_controllers(store, settings)).run(),
            keep_events_pruned(store, clock=settings.clock),
            mirror.supervise(),
            accounts.run(store),
            Conditions(store, gate, now=trust.now).run(),
            MirrorSchedule(operations, data / "mirror", intervals).run(),
            _renew_certificate(authority, data / "pki", names, context, on_renewed=mirror.restart),
        ]
        if isinstance(inventory, Inventory):
            origin = f"{config.store} {config.kubeconfig}".strip()
            work.append(inventory.follow(store, control.candidates, origin=origin))
        if config.discovery:
            announcement = Announcement(
                id=authority.fingerprint[-12:],
                site=site,
                version=control.version.version,
                fingerprint=authority.fingerprint,
                addresses=(listen.host,),
                registration_port=port,
                mirror_port=mirror_listens.port,
                namespace=contract.DEFAULT_NAMESPACE,
            )
            work += [Discovery(announcement, candidates).run(), probe_forever(candidates)]
        await _run_until(stop, work)
        state.is_ready = False
        log.info("appliance: stopping")


def build_application(
    control: Control,
    authenticator: Authenticator,
    host_settings: HostSettings,
    *,
    gate: Gate,
    audit: Audit,
) -> web.Application:
    """Every route of the appliance on one application."""
    app = web.Application(
        client_max_size=MAX_BODY_BYTES,
        middlewares=[
            answer_with_problems,
            answer_with_statuses,
            identify_callers(authenticator, open_routes=(REGISTRATION_PATH, REPORT_PATH, SEED_IMAGE_PATH)),
            record_decisions(audit),
        ],
    )
    app[AUTHENTICATOR] = authenticator
    evaluator = app[EVALUATOR] = Evaluator(control.store)
    reviews = Reviews(
        evaluator,
        authenticator.accounts,
        caller_of=lambda request: request[CALLER],
        identify=authenticator.identify_token,
    )
    add_host_routes(app, store=control.store, tokens=authenticator.hosts, settings=host_settings, gate=gate)
    add_control_routes(app, control)
    for prefix in KUBERNETES_PREFIXES:
        add_kubernetes_routes(
            app, control.store, authorize=check_access, recheck=recheck_access, reviews=reviews, prefix=prefix
        )
    return app


def choose_endpoints(config: ServeConfig, *, port: int, mirror_port: int) -> Endpoints:
    """Where others reach us: what the operator advertises, else the addresses we listen on."""
    scheme = "http" if config.insecure_http else "https"
    host = public_host(parse_address(config.listen))
    mirror_host = public_host(parse_address(config.mirror_listen), advertise_url=config.advertise_url)
    return Endpoints(
        url=config.advertise_url.rstrip("/") or f"{scheme}://{host}:{port}",
        mirror=f"{mirror_host}:{mirror_port}",
        socket=str(Path(config.data).absolute() / "skerry.sock"),
    )


def render_mirror_options(config: ServeConfig, accounts: MirrorAccounts) -> list[str]:
    """What the mirror is told beside where it is: who may write, and how much."""
    return [
        *("--tokens", str(accounts.tokens_file)),
        *("--access", config.mirror_access or str(accounts.rules_file)),
        *(("--htpasswd", config.mirror_htpasswd) if config.mirror_htpasswd else ()),
        *(("--quota", config.mirror_quota) if config.mirror_quota else ()),
        *(("--keep-free", config.mirror_keep_free) if config.mirror_keep_free else ()),
    ]


def main(config: ServeConfig) -> None:
    """Run the appliance in this process until SIGTERM or SIGINT; the ready line goes to stdout."""
    import uvloop

    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    try:
        uvloop.run(_serve_until_signal(config))
    except* ApplianceFault as faults:
        # A group of one in all that can happen at start; the first is the cause of the others.
        raise faults.exceptions[0] from None


async def _serve_until_signal(config: ServeConfig) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(config, announce=lambda endpoints: print(endpoints.render(), flush=True), stop=stop)


@dataclass(slots=True)
class _State:
    is_ready: bool = False


async def _open_store(config: ServeConfig, data: Path, stack: AsyncExitStack) -> Store:
    """The store that the settings name, if it is the one that holds this folder's objects."""
    check_place(data, config.store)
    if config.store == "sqlite":
        return stack.enter_context(closing(SqliteStore.open(data / "skerry.db")))
    from appliance.store.kubernetes import KubernetesStore  # slow to import, and only hosted mode needs it

    kubeconfig = Path(config.kubeconfig) if config.kubeconfig else None
    return await stack.enter_async_context(await KubernetesStore.open(kubeconfig))


async def _open_inventory(data: Path, stack: AsyncExitStack) -> Inventory | InventoryError:
    """A damaged inventory stops nothing else: it says so to whoever asks."""
    try:
        return stack.enter_context(closing(await asyncio.to_thread(Inventory.open, data)))
    except InventoryError as error:
        log.error("inventory: %s %s", error, error.hint)
        return error


def _describe(endpoints: Endpoints, site: str) -> contract.VersionInfo:
    return contract.VersionInfo(
        version=version("skerry"),
        site=site,
        url=endpoints.url,
        mirror=endpoints.mirror,
        namespace=contract.DEFAULT_NAMESPACE,
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


async def _listen(
    app: web.Application, listener: socket.socket, path: Path, context: ssl.SSLContext | None
) -> Callable[[], Awaitable[None]]:
    """Serve `app` on the TCP listener and on the socket at `path`; returns how to end that."""
    raise_file_limit()
    door = Door()
    app.middlewares.insert(0, settle_connections(door))
    runner = web.AppRunner(
        app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS, **RUNNER_LIMITS
    )
    await runner.setup()
    server = runner.server
    assert server is not None, "a runner that is set up has its server"
    door.open(listener, context, server)
    path.unlink(missing_ok=True)  # noqa: ASYNC240 - we hold the directory's lock, so whoever made it is gone
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    mask = os.umask(0o177)
    try:
        # By way of the directory: the kernel takes at most 107 bytes for a socket's path.
        await web.UnixSite(runner, f"/proc/self/fd/{directory}/{path.name}").start()
    finally:
        os.umask(mask)
        os.close(directory)

    async def end() -> None:
        door.close()
        await runner.cleanup()

    return end


async def _renew_certificate(
    authority: Authority,
    directory: Path,
    names: Sequence[str],
    context: ssl.SSLContext | None,
    *,
    on_renewed: Callable[[], None],
) -> None:
    """A box can run for years: look once a day, and let new connections see a renewed certificate."""
    kept = authority.keep_server_certificate(directory, names)
    shown = await asyncio.to_thread(kept.certificate.read_bytes)
    while context is not None:
        await asyncio.sleep(CERTIFICATE_CHECK_SECONDS)
        kept = authority.keep_server_certificate(directory, names)
        context.load_cert_chain(kept.certificate, kept.key)
        current = await asyncio.to_thread(kept.certificate.read_bytes)
        if current != shown:
            shown = current
            on_renewed()


async def _run_until(stop: asyncio.Event, work: Sequence[Coroutine[None, None, None]]) -> None:
    """Run everything side by side; one part that fails ends the others, and the appliance."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in work]
        await stop.wait()
        for task in tasks:
            task.cancel()


def _tls_context(pair: tuple[Path, Path], *, ca_pem: str) -> ssl.SSLContext:
    """Clients may show a certificate; one that is not from our CA ends the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*pair)
    context.num_tickets = 0  # no client of ours resumes, and each ticket costs its making and sending
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=ca_pem)
    return context
