"""An operator: every Boat has a Deployment with a pod for each of its crew."""

from __future__ import annotations

from typing import Any

import kopf
import kubernetes


@kopf.on.create("boats.example.com")
@kopf.on.update("boats.example.com", field="spec.crew")
def staff(name: str, namespace: str, spec: Any, **_: Any) -> dict[str, Any]:
    labels = {"boat": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": spec["crew"],
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "sailor", "image": "sailor:1"}]},
            },
        },
    }
    kopf.adopt(deployment)
    kubernetes.config.load_kube_config()
    apps = kubernetes.client.AppsV1Api()
    try:
        apps.create_namespaced_deployment(namespace, deployment)
    except kubernetes.client.exceptions.ApiException as error:
        if error.status != 409:
            raise
        apps.patch_namespaced_deployment(name, namespace, deployment)
    return {"crew": spec["crew"]}
