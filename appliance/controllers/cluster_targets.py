"""Which clusters a ManagedOSImage means, for an appliance that is one cluster. Pure.

Upstream hands `clusterTargets` to Fleet, which knows many clusters. Here there is exactly one: it is called
`local`, as Rancher calls the cluster it runs in, has no labels and is in no group; all hosts of the namespace
belong to it. Without targets it is meant. With targets Fleet's rule holds: the first one that fits decides,
one fits if everything that it names does, and one that names nothing fits nothing. `clusterRolloutStrategy`
says how many clusters may be down at once, which with one cluster says nothing.
"""

from collections.abc import Sequence

from appliance.resources.managed_os_image import ClusterTarget

LOCAL = "local"
LOCAL_NAMESPACE = "fleet-local"


def find_exclusion(targets: Sequence[ClusterTarget] | None) -> str:
    """Why the appliance's hosts are not meant; empty if they are."""
    if not targets:
        return ""
    for target in targets:
        if _fits(target):
            name = f" {target.name}" if target.name else ""
            return f"target{name} of spec.clusterTargets says doNotDeploy" if target.do_not_deploy else ""
    return f"no target of spec.clusterTargets means this appliance, which is the one cluster {LOCAL!r}"


def _fits(target: ClusterTarget) -> bool:
    if target.cluster_group or target.cluster_group_selector is not None:
        return False
    if target.cluster_name and target.cluster_name != LOCAL:
        return False
    if target.cluster_selector is not None and not target.cluster_selector.matches({}):
        return False
    return bool(target.cluster_name) or target.cluster_selector is not None
