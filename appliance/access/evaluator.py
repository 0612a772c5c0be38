"""May this caller do that? Built-in roles first, which need no reading; then the namespace's own Roles."""

from appliance.access.bindings import bound_grants
from appliance.access.roles import HOSTS, standing_grants
from appliance.access.rules import Asked, Caller, Grant, is_granted
from appliance.resources.meta import decode
from appliance.resources.rbac import ROLE, ROLE_BINDING, Role, RoleBinding
from appliance.store.base import Selection, Store


class Evaluator:
    """Decisions over one store. It keeps nothing: what was bound or taken away counts at once."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def is_allowed(self, caller: Caller, asked: Asked) -> bool:
        """Answer the question. Raises StoreError when the Roles cannot be read."""
        if is_granted(standing_grants(caller), asked):
            return True
        if not asked.namespace or asked.path:
            return False  # a Role counts in its namespace only
        return is_granted(await self._bound(caller, asked.namespace), asked)

    async def grants(self, caller: Caller, namespace: str) -> list[Grant]:
        """All that the caller may in a namespace."""
        bound = await self._bound(caller, namespace) if namespace else []
        return [*(each for each in standing_grants(caller) if each.namespace in ("", namespace)), *bound]

    async def _bound(self, caller: Caller, namespace: str) -> list[Grant]:
        if HOSTS in caller.groups:
            return []  # there are thousands, and nobody binds them
        here = Selection(namespace=namespace)
        bindings = [decode(RoleBinding, each) for each in (await self._store.list(ROLE_BINDING, here)).items]
        if not bindings:
            return []
        roles = [decode(Role, each) for each in (await self._store.list(ROLE, here)).items]
        return bound_grants(caller, namespace, roles=roles, bindings=bindings)
