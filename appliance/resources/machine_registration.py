"""MachineRegistration: who may register, how they are named, and what they install."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

GROUP = "elemental.cattle.io"
VERSION = "v1beta1"

# Our own switch, kept out of upstream's schema: `required` (default) or `automatic`.
APPROVAL_POLICY = "skerry.dev/approval-policy"

MachineRegistrationCondition = Literal["Ready"]
MachineRegistrationReason = Literal[
    "SuccessfullyCreated", "MissingTokenOrServerURL", "DuplicateToken", "RbacCreationFailure"
]


Configurator = Literal["none", "nmc", "nmstate", "nmconnections"]


class DeviceSelector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule about the disk to install to; all rules must hold.

    key: `Name` compares the kernel name (with or without /dev/), `Size` the size.
    operator: In and NotIn are for names, Gt and Lt for sizes.
    values: Names, or one size as a quantity such as 100Gi.
    """

    key: Literal["Name", "Size"]
    operator: Literal["In", "NotIn", "Gt", "Lt"]
    values: list[str] = msgspec.field(default_factory=list)


class Snapshotter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the installed system keeps its versions.

    type: `loopdevice` or `btrfs`.
    max_snaps: How many versions are kept, the current one included.
    """

    type: str = "loopdevice"
    max_snaps: Annotated[int, Meta(ge=2)] = 2


class Install(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """How a machine is installed; the keys are the wire's too.

    firmware: Firmware to install for, such as efi.
    device: Disk to install to; goes before the selector.
    device_selector: Rules by which the disk is chosen.
    no_format: Install into existing partitions instead of making new ones.
    config_urls: Accepted for compatibility, not read.
    iso: Image of the live system to install from.
    system_uri: Image to install, as `oci:registry/image:tag`; the medium itself if empty.
    debug: Tell more while installing.
    tty: Console of the installed system.
    poweroff: Power off when the installation is done.
    reboot: Reboot when the installation is done.
    eject_cd: Eject the medium at the reboot.
    disable_boot_entry: Leave the firmware's boot entries alone.
    config_dir: Folder with further installer configuration.
    snapshotter: How the installed system keeps its versions.
    """

    firmware: str = ""
    device: str = ""
    device_selector: list[DeviceSelector] = msgspec.field(default_factory=list)
    no_format: bool = False
    config_urls: list[str] = msgspec.field(default_factory=list)
    iso: str = ""
    system_uri: str = ""
    debug: bool = False
    tty: str = ""
    poweroff: bool = False
    reboot: bool = False
    eject_cd: bool = False
    disable_boot_entry: bool = False
    config_dir: str = ""
    snapshotter: Snapshotter = Snapshotter()


class Reset(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """How a machine is reset when its inventory is deleted.

    enabled: New machines may be reset: deleting one from the inventory wipes it first.
    reset_persistent: Wipe the persistent partition.
    reset_oem: Wipe the OEM partition.
    config_urls: Accepted for compatibility, not read.
    system_uri: Image to reset to; the recovery system if empty.
    debug: Tell more while resetting.
    poweroff: Power off after the reset.
    reboot: Reboot after the reset.
    disable_boot_entry: Leave the firmware's boot entries alone.
    """

    enabled: bool = False
    reset_persistent: bool = True
    reset_oem: bool = True
    config_urls: list[str] = msgspec.field(default_factory=list)
    system_uri: str = ""
    debug: bool = False
    poweroff: bool = False
    reboot: bool = True
    disable_boot_entry: bool = False


class Registration(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """How a machine proves which one it is.

    url: Where machines register; filled in by the server.
    ca_cert: Certificates that machines trust, PEM; filled in by the server.
    auth: `tpm`, `mac` or `sys-uuid`.
    emulate_tpm: Use a software TPM: for tests, no proof of anything.
    emulated_tpm_seed: Seed of the software TPM; -1 takes it from the firmware.
    no_smbios: Machines send no SMBIOS and system data.
    no_toolkit: The OS is not managed: it has no Elemental toolkit.
    labels: Labels that machines send.
    """

    url: str = ""
    ca_cert: str = ""
    auth: str = "tpm"
    emulate_tpm: bool = False
    emulated_tpm_seed: int = 0
    no_smbios: bool = False
    no_toolkit: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class SystemAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The plan agent's connection; filled in by the server, whatever is written here.

    strict_tls_mode: Trust only the registration's certificates.
    url: Kubernetes API that the agent asks for plans.
    token: The agent's credential.
    secret_name: Secret that holds the plan.
    secret_namespace: Namespace of that Secret.
    """

    strict_tls_mode: bool = msgspec.field(name="strictTLSMode", default=False)
    url: str = ""
    token: str = ""
    secret_name: str = msgspec.field(name="secret-name", default="")
    secret_namespace: str = msgspec.field(name="secret-namespace", default="")


class Elemental(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """How machines register, install, are reset and get their plans."""

    install: Install = Install()
    reset: Reset = Reset()
    registration: Registration = Registration()
    system_agent: SystemAgent = SystemAgent()


class TypedLocalReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """core/v1 TypedLocalObjectReference.

    kind: Kind of what is meant.
    name: Name of what is meant, in the same namespace.
    api_group: API group of what is meant; core if empty.
    """

    kind: str
    name: str
    api_group: str = ""


class NetworkTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Network configuration of the machines, with a placeholder {key} an address.

    configurator: Which tool the configuration is for; none leaves the network to DHCP.
    ip_addresses: Pool that the address of each placeholder comes from.
    config: The tool's own configuration.
    """

    configurator: Configurator = "none"
    ip_addresses: dict[str, TypedLocalReference] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class Config(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """What machines are told.

    cloud_config: cloud-init or yip configuration of the installed system.
    """

    elemental: Elemental = Elemental()
    network: NetworkTemplate = NetworkTemplate()
    cloud_config: dict[str, Any] = msgspec.field(default_factory=dict)


class MachineRegistrationSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who may register, how machines are named, and what they install.

    token: Fixed token of the registration URL; made up if left out.
    machine_name: Template for the names of machines, such as m-${System Information/UUID}.
    machine_inventory_labels: Templates for the labels of machines.
    machine_inventory_annotations: Templates for the annotations of machines.
    label_prefix: Prefix of the labels that machines send: elemental.cattle.io/ if empty, none if `-`.
    config: What machines are told.
    """

    token: Annotated[str, Meta(max_length=253, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")] = ""
    machine_name: str = ""
    machine_inventory_labels: dict[str, str] = msgspec.field(default_factory=dict)
    machine_inventory_annotations: dict[str, str] = msgspec.field(default_factory=dict)
    label_prefix: str = ""
    config: Config = Config()


class MachineRegistrationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where machines register.

    conditions: `Ready`: machines can register.
    registration_url: URL that machines register at.
    registration_token: Token of that URL.
    service_account_ref: Account of the machines that registered here.
    """

    conditions: list[Condition] = msgspec.field(default_factory=list)
    registration_url: str = msgspec.field(name="registrationURL", default="")
    registration_token: str = msgspec.field(name="registrationToken", default="")
    service_account_ref: ObjectReference | None = msgspec.field(name="serviceAccountRef", default=None)


class MachineRegistration(Resource, frozen=True, kw_only=True):
    spec: MachineRegistrationSpec = MachineRegistrationSpec()
    status: MachineRegistrationStatus = MachineRegistrationStatus()


MACHINE_REGISTRATION = Kind(
    group=GROUP,
    version=VERSION,
    kind="MachineRegistration",
    plural="machineregistrations",
    struct=MachineRegistration,
    short_names=("mr", "reg"),
    columns=(
        Column("READY", "status.conditions[Ready].status"),
        Column("REASON", "status.conditions[Ready].reason", wide=True),
        Column("URL", "status.registrationURL", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
