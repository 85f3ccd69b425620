"""`kube-public/cluster-info`: where the cluster is and its CA, for whoever comes with a token; anybody may read it.

Source: kubernetes/cmd/kubeadm/app/phases/bootstraptoken/clusterinfo/clusterinfo.go
"""

from __future__ import annotations

import base64
from typing import Any

import yaml

Obj = dict[str, Any]
NAMESPACE, ROLE = "kube-public", "kubeadm:bootstrap-signer-clusterinfo"
RBAC = "rbac.authorization.k8s.io"


def objects(server: str, ca: str) -> list[Obj]:
    data = base64.b64encode(ca.encode()).decode()
    config: Obj = {
        "apiVersion": "v1",
        "clusters": [{"cluster": {"certificate-authority-data": data, "server": server}, "name": ""}],
        "contexts": None,
        "current-context": "",
        "kind": "Config",
        "preferences": {},
        "users": None,
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cluster-info", "namespace": NAMESPACE},
            "data": {"kubeconfig": yaml.safe_dump(config)},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": ROLE, "namespace": NAMESPACE},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cluster-info"], "verbs": ["get"]}
            ],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": ROLE, "namespace": NAMESPACE},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": ROLE},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "system:anonymous"}],
        },
    ]
