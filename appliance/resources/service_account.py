"""core/v1 ServiceAccount: the part that registrations make."""

import msgspec

from appliance.resources.meta import Column, Kind, ObjectReference, Resource


class ServiceAccount(Resource, frozen=True, kw_only=True, rename="camel"):
    secrets: list[ObjectReference] = msgspec.field(default_factory=list)
    automount_service_account_token: bool | None = None


SERVICE_ACCOUNT = Kind(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    struct=ServiceAccount,
    is_partial=True,
    short_names=("sa",),
    has_status=False,
    columns=(Column("AGE", "metadata.creationTimestamp", type="date"),),
)
