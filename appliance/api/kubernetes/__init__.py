"""The Kubernetes API face of the embedded store: what kubectl, k9s and the plan agents talk to.

- `routes`: paths to handlers; start here
- `objects`: get, list, create, update, patch, delete
- `watching`: the watch stream
- `requests`: bodies, query options, targets
- `representations`: an object, a Table, or only its metadata
- `discovery`, `openapi`, `access`: what clients ask before they ask for objects
- `statuses`: errors as Status objects
"""

from appliance.api.kubernetes.requests import Authorize, Verb
from appliance.api.kubernetes.routes import add_kubernetes_routes
from appliance.api.kubernetes.statuses import Forbidden

__all__ = ["Authorize", "Forbidden", "Verb", "add_kubernetes_routes"]
