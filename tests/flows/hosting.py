"""What tests of the hosted mode share: the command line, and the manifests in a cluster."""

import json
import subprocess
import sys

from appliance.k3s.documents import NAME
from appliance.k3s.documents import NAMESPACE as SYSTEM
from tests.kube_cluster import KubeCluster

PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": f"/api/v1/namespaces/{SYSTEM}/serviceaccounts",
    "Service": f"/api/v1/namespaces/{SYSTEM}/services",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Deployment": f"/apis/apps/v1/namespaces/{SYSTEM}/deployments",
}


def skerry(*words: str) -> str:
    """The command's standard output; a failure fails the test with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def request_account_token(cluster: KubeCluster) -> str:
    """A token of the ServiceAccount that the manifests made, as a pod is given one."""
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = cluster.request("POST", f"{PATHS['ServiceAccount']}/{NAME}/token", asked)
    token: str = json.loads(answer)["status"]["token"]
    return token
