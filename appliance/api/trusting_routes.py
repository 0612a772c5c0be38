"""The table of the routes of trust, under `/skerry/v1`."""

from appliance.api import contract as c
from appliance.api import trusting_contract as t
from appliance.api.routes import HOST, Route

REGISTRATION = "/namespaces/{namespace}/registrations/{name}"

TRUST_ROUTES: tuple[Route, ...] = (
    Route(
        "POST", f"{HOST}/resolve", "resolve_host", "Say which machine is right", c.HostView, t.ResolveRequest
    ),
    Route(
        "POST",
        f"{REGISTRATION}/rotate",
        "rotate_registration",
        "Another token",
        t.RotatedToken,
        t.RotateRequest,
    ),
    Route("GET", "/trust/ek-roots", "list_ek_roots", "Whose TPMs are believed", t.RootList),
    Route(
        "POST",
        "/trust/ek-roots",
        "add_ek_roots",
        "Believe a TPM maker",
        t.RootList,
        t.RootsRequest,
        status=201,
    ),
    Route("POST", "/trust/ek-roots/{id}/remove", "remove_ek_root", "Believe it no longer", t.RootList),
)
