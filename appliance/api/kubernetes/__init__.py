"""The Kubernetes API face of the embedded store: what kubectl, k9s and the plan agents talk to.

- `routes`: paths to handlers; start here
- `objects`: get, list, create, update, patch, delete
- `watching`: the watch stream
- `requests`: bodies, query options, targets
- `representations`: an object, a Table, or only its metadata
- `discovery`, `openapi`: what clients ask before they ask for objects
- `reviews`: what they may, and tokens
- `statuses`: errors as Status objects
"""

from appliance.api.kubernetes.requests import Authorize, Verb
from appliance.api.kubernetes.reviews import Reviews
from appliance.api.kubernetes.routes import add_kubernetes_routes, answer_with_statuses
from appliance.api.kubernetes.statuses import Forbidden

__all__ = ["Authorize", "Forbidden", "Reviews", "Verb", "add_kubernetes_routes", "answer_with_statuses"]
