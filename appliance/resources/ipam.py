"""Cluster API's address management: a claim, the address given for it, and the pool it came from."""

import msgspec

from appliance.resources.meta import Column, Condition, Kind, Resource

GROUP = "ipam.cluster.x-k8s.io"
VERSION = "v1beta2"
POOL_VERSION = "v1alpha2"


class PoolReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    name: str
    kind: str
    api_group: str = ""


class NameReference(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class IPAddressClaimSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    pool_ref: PoolReference
    cluster_name: str = ""


class IPAddressClaimStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    conditions: list[Condition] = msgspec.field(default_factory=list)
    address_ref: NameReference | None = None


class IPAddressClaim(Resource, frozen=True, kw_only=True):
    spec: IPAddressClaimSpec
    status: IPAddressClaimStatus = IPAddressClaimStatus()


class IPAddressSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    claim_ref: NameReference
    pool_ref: PoolReference
    address: str
    prefix: int | None = None
    gateway: str = ""


class IPAddress(Resource, frozen=True, kw_only=True):
    spec: IPAddressSpec


class InClusterIPPoolSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`addresses` holds single addresses, ranges (`a-b`) and subnets (`a/n`)."""

    addresses: list[str]
    prefix: int
    gateway: str = ""
    excluded_addresses: list[str] = msgspec.field(default_factory=list)
    allocate_reserved_ip_addresses: bool = msgspec.field(name="allocateReservedIPAddresses", default=False)


class PoolUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    total: int = 0
    free: int = 0
    used: int = 0
    out_of_range: int = 0


class InClusterIPPoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    ip_addresses: PoolUsage | None = msgspec.field(name="ipAddresses", default=None)


class InClusterIPPool(Resource, frozen=True, kw_only=True):
    spec: InClusterIPPoolSpec
    status: InClusterIPPoolStatus = InClusterIPPoolStatus()


IP_ADDRESS_CLAIM = Kind(
    group=GROUP,
    version=VERSION,
    kind="IPAddressClaim",
    plural="ipaddressclaims",
    struct=IPAddressClaim,
    is_partial=True,
    columns=(
        Column("POOL", "spec.poolRef.name"),
        Column("ADDRESS", "status.addressRef.name"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
IP_ADDRESS = Kind(
    group=GROUP,
    version=VERSION,
    kind="IPAddress",
    plural="ipaddresses",
    struct=IPAddress,
    is_partial=True,
    has_status=False,
    columns=(
        Column("ADDRESS", "spec.address"),
        Column("POOL", "spec.poolRef.name"),
        Column("CLAIM", "spec.claimRef.name", wide=True),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
IN_CLUSTER_IP_POOL = Kind(
    group=GROUP,
    version=POOL_VERSION,
    kind="InClusterIPPool",
    plural="inclusterippools",
    struct=InClusterIPPool,
    is_partial=True,
    columns=(
        Column("ADDRESSES", "spec.addresses"),
        Column("FREE", "status.ipAddresses.free", type="integer"),
        Column("USED", "status.ipAddresses.used", type="integer"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
