"""From files on a node to an appliance that runs in k3s: start it, move the store, start the appliance there.

Each step asks first what is done already, so whatever ends this, the same again goes on from there. The
appliance's manifest comes only when its store has moved: two appliances never write.
"""

import os
from collections.abc import Callable
from pathlib import Path

from appliance.errors import DataDirectoryBusy, Refused
from appliance.k3s.documents import NAME
from appliance.k3s.files import APPLIANCE, KUBECONFIG, PRIVATE, Node, NodeFile, render_appliance
from appliance.k3s.install import write_node_file
from appliance.k3s.starting import (
    READY,
    Kubectl,
    Run,
    crds_established,
    image_taken_up,
    rolled_out,
    run,
    start_k3s,
    wait_for,
)
from appliance.moving.folders import check_has_store, move_to_kubernetes
from appliance.moving.place import find_place, lock_directory
from appliance.resources.crds import custom_kinds

Tell = Callable[[str], None]


def check_can_move(data: Path) -> None:
    """Raise ApplianceFault's children for what would stop the move, before anything is started."""
    check_has_store(data)
    for path in (data, data / "pki", data / "mirror"):
        if path.exists() and path.stat().st_uid != os.geteuid():
            raise Refused(
                f"{path} belongs to another user than root, as whom the appliance runs in k3s",
                hint=f"chown -R root: {data}",
            )
    if find_place(data) == "kubernetes":
        return
    try:
        with lock_directory(data):
            pass
    except DataDirectoryBusy as error:
        raise DataDirectoryBusy(
            f"The appliance still runs on {data}.",
            hint="systemctl disable --now skerry, then the same command again",
        ) from error


def settle_in(
    node: Node, data: Path, *, tell: Tell, seconds: float, root: Path = Path("/"), run: Run = run
) -> None:
    """Start what `appliance.k3s.install` laid down and end with the appliance running in it.

    A node that joins a cluster takes nothing with it: the appliance is in the cluster already.
    Raises ClusterNotReady, MovingError and StoreError.
    """
    kubectl = Kubectl(root, run)
    start_k3s(run)
    tell("Waiting for k3s …")
    wait_for(kubectl, READY, what="k3s", seconds=seconds)
    if node.server_url:
        tell(f"This node has joined {node.server_url}.")
        return
    names = [f"{kind.plural}.{kind.group}" for kind in custom_kinds()]
    wait_for(kubectl, crds_established(names), what="the cluster's knowledge of our kinds", seconds=seconds)
    if find_place(data) == "kubernetes":
        tell("The objects are in the cluster already.")
    else:
        tell("Moving the objects into the cluster …")
        moved = move_to_kubernetes(data, root / KUBECONFIG)
        tell(f"Moved {moved.objects} objects into the cluster; each was read back and compared.")
    write_node_file(root, NodeFile(APPLIANCE, render_appliance(node.hosted).encode(), PRIVATE))
    tell("Waiting for the appliance …")
    for question in (
        image_taken_up(node.hosted.namespace, NAME, node.hosted.image),
        rolled_out(node.hosted.namespace, NAME),
    ):
        wait_for(kubectl, question, what="the appliance in the cluster", seconds=seconds)
    tell("The appliance runs in k3s.")
