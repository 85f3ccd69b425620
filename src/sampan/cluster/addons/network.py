"""What nodes' service proxies may read beyond kube-proxy's role, because they enforce NetworkPolicies too.

Source: kind pkg/cluster/internal/create/actions/installcni (ClusterRole kindnet)
"""

from __future__ import annotations

from typing import Any

NAME = "sampan:network-policies"
USER = "system:kube-proxy"
API = "rbac.authorization.k8s.io"
READ = ["get", "list", "watch"]


def objects() -> list[dict[str, Any]]:
    rules = [
        {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": READ},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": READ},
    ]
    role = {"apiVersion": f"{API}/v1", "kind": "ClusterRole", "metadata": {"name": NAME}, "rules": rules}
    binding = {
        "apiVersion": f"{API}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": API, "kind": "ClusterRole", "name": NAME},
        "subjects": [{"apiGroup": API, "kind": "User", "name": USER}],
    }
    return [role, binding]
