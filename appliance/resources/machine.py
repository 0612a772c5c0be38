"""Cluster API's Machine: the part that bootstrap needs, which is where the bootstrap script lies."""

import msgspec

from appliance.resources.meta import Column, Kind, Resource


class Bootstrap(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    data_secret_name: str | None = None


class MachineSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    cluster_name: str = ""
    bootstrap: Bootstrap = Bootstrap()
    provider_id: str = msgspec.field(name="providerID", default="")


class Machine(Resource, frozen=True, kw_only=True):
    spec: MachineSpec = MachineSpec()


MACHINE = Kind(
    group="cluster.x-k8s.io",
    version="v1beta2",
    kind="Machine",
    plural="machines",
    struct=Machine,
    is_partial=True,
    short_names=("ma",),
    columns=(
        Column("CLUSTER", "spec.clusterName"),
        Column("PHASE", "status.phase"),
        Column("AGE", "metadata.creationTimestamp", type="date"),
    ),
)
