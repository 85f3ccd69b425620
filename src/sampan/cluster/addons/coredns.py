"""The cluster's DNS as kubeadm sets it up: the same names, labels, ports, probes and Corefile, so that what is written
about it holds here. The program is ours, from the runtime's built-in image.

Source: kubernetes/cmd/kubeadm/app/phases/addons/dns/{manifests,dns}.go
"""

from __future__ import annotations

import textwrap
from typing import Any

Obj = dict[str, Any]
NAMESPACE, NAME, SERVICE = "kube-system", "coredns", "kube-dns"
LABELS = {"k8s-app": SERVICE}
RBAC = "rbac.authorization.k8s.io"
ROLE = "system:coredns"


def built_in() -> str:
    from sampan.runtime import builtin

    return builtin.name()


def corefile(domain: str) -> str:
    return textwrap.dedent(f"""\
        .:53 {{
            errors
            health {{
               lameduck 5s
            }}
            ready
            kubernetes {domain} in-addr.arpa ip6.arpa {{
               pods insecure
               fallthrough in-addr.arpa ip6.arpa
               ttl 30
            }}
            prometheus :9153
            forward . /etc/resolv.conf {{
               max_concurrent 1000
            }}
            cache 30 {{
               disable success {domain}
               disable denial {domain}
            }}
            loop
            reload
            loadbalance
        }}
        """)


def objects(image: str, address: str, domain: str, replicas: int) -> list[Obj]:
    return [*_rights(), _config(domain), _service(address), _deployment(image, replicas)]


def _rights() -> list[Obj]:
    watched = [("", ["endpoints", "services", "pods", "namespaces"]), ("discovery.k8s.io", ["endpointslices"])]
    rules = [{"apiGroups": [group], "resources": names, "verbs": ["list", "watch"]} for group, names in watched]
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": ROLE},
            "rules": rules,
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": ROLE},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        },
    ]


def _config(domain: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {"Corefile": corefile(domain)},
    }


def _service(address: str) -> Obj:
    ports = [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP")]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {**LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
            "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        },
        "spec": {
            "clusterIP": address,
            "ports": [
                {"name": name, "port": port, "protocol": protocol, "targetPort": port} for name, port, protocol in ports
            ],
            "selector": LABELS,
        },
    }


def _deployment(image: str, replicas: int) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": _pod(image)},
        },
    }


def _pod(image: str) -> Obj:
    return {
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": NAME,
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {
                            "labelSelector": {
                                "matchExpressions": [{"key": "k8s-app", "operator": "In", "values": [SERVICE]}]
                            },
                            "topologyKey": "kubernetes.io/hostname",
                        },
                    }
                ]
            }
        },
        "tolerations": [
            {"key": "CriticalAddonsOnly", "operator": "Exists"},
            {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},
        ],
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "containers": [_container(image)],
        "dnsPolicy": "Default",
        "volumes": [
            {"name": "config-volume", "configMap": {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile"}]}}
        ],
    }


def _container(image: str) -> Obj:
    ports = [
        ("dns", 53, "UDP"), ("dns-tcp", 53, "TCP"), ("metrics", 9153, "TCP"), ("liveness-probe", 8080, "TCP"),
        ("readiness-probe", 8181, "TCP"),
    ]  # fmt: skip
    return {
        "name": NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        # the image holds all of us: the first word says which part
        "args": ["dns", "-conf", "/etc/coredns/Corefile"],
        "volumeMounts": [{"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": True}],
        "ports": [{"containerPort": port, "name": name, "protocol": protocol} for name, port, protocol in ports],
        "livenessProbe": {
            "httpGet": {"path": "/health", "port": "liveness-probe", "scheme": "HTTP"},
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
            "successThreshold": 1,
            "failureThreshold": 5,
        },
        # DEVIATION: coredns is asked every second whether it is ready, not every ten, so that a new cluster has DNS soon.
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": "readiness-probe", "scheme": "HTTP"},
            "periodSeconds": 1,
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
