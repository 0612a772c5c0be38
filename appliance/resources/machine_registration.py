"""MachineRegistration: who may register, how they are named, and what they install."""

from typing import Any, Literal

import msgspec

from appliance.resources.meta import Column, Condition, Kind, ObjectReference, Resource

GROUP = "elemental.cattle.io"
VERSION = "v1beta1"

# Our own switch, kept out of upstream's schema: `required` (default) or `automatic`.
APPROVAL_POLICY = "skerry.dev/approval-policy"

MachineRegistrationCondition = Literal["Ready"]
MachineRegistrationReason = Literal[
    "SuccessfullyCreated", "MissingTokenOrServerURL", "DuplicateToken", "RbacCreationFailure"
]


class DeviceSelector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    key: Literal["Name", "Size"]
    operator: Literal["In", "NotIn", "Gt", "Lt"]
    values: list[str] = msgspec.field(default_factory=list)


class Snapshotter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    type: str = "loopdevice"
    max_snaps: int = 2


class Install(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    """`spec.config.elemental.install`; the keys are the wire's too."""

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
    snapshotter: Snapshotter | None = None


class Reset(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
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
    url: str = ""
    ca_cert: str = ""
    auth: str = ""
    emulate_tpm: bool = False
    emulated_tpm_seed: int = 0
    no_smbios: bool = False
    no_toolkit: bool = False
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class SystemAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    strict_tls_mode: bool = msgspec.field(name="strictTLSMode", default=False)
    url: str = ""
    token: str = ""
    secret_name: str = msgspec.field(name="secret-name", default="")
    secret_namespace: str = msgspec.field(name="secret-namespace", default="")


class Elemental(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    install: Install = Install()
    reset: Reset = Reset()
    registration: Registration = Registration()
    system_agent: SystemAgent = SystemAgent()


class TypedLocalReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """core/v1 TypedLocalObjectReference."""

    kind: str
    name: str
    api_group: str = ""


class NetworkTemplate(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    configurator: str = ""
    ip_addresses: dict[str, TypedLocalReference] = msgspec.field(default_factory=dict)
    config: dict[str, Any] = msgspec.field(default_factory=dict)


class Config(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", omit_defaults=True):
    elemental: Elemental = Elemental()
    network: NetworkTemplate = NetworkTemplate()
    cloud_config: dict[str, Any] = msgspec.field(default_factory=dict)


class MachineRegistrationSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    token: str = ""
    machine_name: str = ""
    machine_inventory_labels: dict[str, str] = msgspec.field(default_factory=dict)
    machine_inventory_annotations: dict[str, str] = msgspec.field(default_factory=dict)
    label_prefix: str = ""
    config: Config = Config()


class MachineRegistrationStatus(msgspec.Struct, frozen=True, kw_only=True):
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
        Column("URL", "status.registrationURL", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
