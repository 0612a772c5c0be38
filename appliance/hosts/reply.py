"""What the appliance tells a host about its registration: the open document, and the whole configuration.

Pure: a registration and a machine in, the wire's structs out. Defaults that upstream leaves to its
schema (and loses when a parent object is missing, D43) are filled in here.
"""

from typing import cast

import msgspec

from agent.protocol import client_config as wire
from agent.protocol.documents import JSON
from agent.protocol.secrets import SecretText
from appliance.hosts.errors import NotAdmissible
from appliance.resources.machine_inventory import MachineInventory
from appliance.resources.machine_registration import MachineRegistration

DEFAULT_SNAPSHOTTER = wire.Snapshotter(type="loopdevice", max_snaps=2)


def describe_registration(registration: MachineRegistration, *, ca_pem: str) -> wire.Registration:
    """The six keys that anybody with the URL may read."""
    given = registration.spec.config.elemental.registration
    return wire.Registration(
        url=registration.status.registration_url,
        ca_cert=ca_pem,
        emulate_tpm=given.emulate_tpm,
        emulated_tpm_seed=given.emulated_tpm_seed,
        no_smbios=given.no_smbios,
        auth=given.auth,
    )


def describe_config(
    registration: MachineRegistration,
    inventory: MachineInventory,
    *,
    ca_pem: str,
    server_url: str,
    token: SecretText,
    with_network: bool,
) -> wire.Config:
    """Everything an admitted host needs. Raises NotAdmissible while its network addresses are missing."""
    config = registration.spec.config
    install = msgspec.convert(msgspec.to_builtins(config.elemental.install), wire.Install)
    if not install.snapshotter.type:
        install = msgspec.structs.replace(install, snapshotter=DEFAULT_SNAPSHOTTER)
    return wire.Config(
        elemental=wire.Elemental(
            install=install,
            reset=msgspec.convert(msgspec.to_builtins(config.elemental.reset), wire.Reset),
            registration=describe_registration(registration, ca_pem=ca_pem),
            system_agent=wire.SystemAgent(
                strict_tls_mode=True,
                url=f"{server_url.rstrip('/')}/k8s/clusters/local",
                token=token,
                secret_name=inventory.metadata.name,
                secret_namespace=inventory.metadata.namespace,
            ),
        ),
        cloud_config=cast("dict[str, JSON]", config.cloud_config),
        network=_describe_network(inventory) if with_network else wire.NetworkConfig(),
    )


def _describe_network(inventory: MachineInventory) -> wire.NetworkConfig:
    network = inventory.spec.network
    if network.configurator in ("", "none"):
        return wire.NetworkConfig()
    missing = sorted(inventory.spec.ip_address_pools.keys() - network.ip_addresses.keys())
    if missing:
        raise NotAdmissible(
            f"the network configuration of {inventory.metadata.name} is not ready: "
            f"no address for {', '.join(missing)}"
        )
    return wire.NetworkConfig(
        configurator=network.configurator,
        ip_addresses=network.ip_addresses,
        config=cast("dict[str, JSON]", network.config),
    )
