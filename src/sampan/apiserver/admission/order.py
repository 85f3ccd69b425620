"""The plugins, in upstream's order; which are on is said by the flags `--enable-` and `--disable-admission-plugins`.

Source: kubernetes/pkg/kubeapiserver/options/plugins.go (AllOrderedPlugins, DefaultOffAdmissionPlugins)
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Iterator
from pathlib import Path

from sampan.apiserver.admission.chain import Chain, Plugin

_HERE = "sampan.apiserver.admission"

#: name, module and whether it is on by default; the class is called as the plugin is
PLUGINS: tuple[tuple[str, str, bool], ...] = (
    ("AlwaysAdmit", f"{_HERE}.always", False),
    ("NamespaceLifecycle", f"{_HERE}.namespace_lifecycle", True),
    ("LimitRanger", f"{_HERE}.limit_ranger", True),
    ("ServiceAccount", f"{_HERE}.service_account", True),
    # DEVIATION: off by default upstream; every cluster with nodes that kubeadm makes has it on
    ("NodeRestriction", f"{_HERE}.node_restriction", True),
    ("TaintNodesByCondition", f"{_HERE}.taint_nodes_by_condition", True),
    ("AlwaysPullImages", f"{_HERE}.always_pull_images", False),
    ("PodSecurity", f"{_HERE}.pod_security", True),
    ("Priority", f"{_HERE}.priority", True),
    ("DefaultTolerationSeconds", f"{_HERE}.default_toleration_seconds", True),
    ("DefaultStorageClass", f"{_HERE}.default_classes", True),
    ("StorageObjectInUseProtection", f"{_HERE}.storage_object_in_use_protection", True),
    ("OwnerReferencesPermissionEnforcement", f"{_HERE}.owner_references", False),
    ("PersistentVolumeClaimResize", f"{_HERE}.persistent_volume_claim_resize", True),
    ("RuntimeClass", f"{_HERE}.runtime_class", True),
    ("CertificateApproval", f"{_HERE}.certificates", True),
    ("CertificateSigning", f"{_HERE}.certificates", True),
    ("ClusterTrustBundleAttest", f"{_HERE}.certificates", True),
    ("CertificateSubjectRestriction", f"{_HERE}.certificates", True),
    ("DefaultIngressClass", f"{_HERE}.default_classes", True),
    ("DenyServiceExternalIPs", f"{_HERE}.deny_service_external_ips", False),
    ("PodTopologyLabels", f"{_HERE}.pod_topology_labels", True),
    ("PodResizeValidator", f"{_HERE}.pod_resize_validator", True),
    ("MutatingAdmissionPolicy", "sampan.apiserver.policies.plugin", True),
    ("MutatingAdmissionWebhook", "sampan.apiserver.webhooks.plugins", True),
    ("ValidatingAdmissionPolicy", "sampan.apiserver.policies.plugin", True),
    ("ValidatingAdmissionWebhook", "sampan.apiserver.webhooks.plugins", True),
    ("ResourceQuota", f"{_HERE}.resource_quota", True),
    ("AlwaysDeny", f"{_HERE}.always", False),
)


def chain(enable: Collection[str] = (), disable: Collection[str] = (), configuration: Path | None = None) -> Chain:
    """Those on by default, with `enable` and without `disable`; `configuration`: a file with settings of single ones.
    Raises ValueError for a name that is no plugin's and for a file that cannot be understood, OSError."""
    known = {name for name, _, _ in PLUGINS}
    for flag, names in (("enable-admission-plugins", enable), ("disable-admission-plugins", disable)):
        for name in names:
            if name not in known:
                raise ValueError(f'{flag} plugin "{name}" is unknown')
    both = sorted(set(enable) & set(disable))
    if both:
        raise ValueError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")
    settings = {}
    if configuration is not None:
        from sampan.apiserver.admission.configuration import make, read

        settings = read(configuration)
    # those with settings are made at once, since settings may be wrong; the others with the first write
    made = {name: make(name, setting) for name, setting in settings.items()}

    def plugins() -> Iterator[Plugin]:
        for name, module, default in PLUGINS:
            if (default or name in enable) and name not in disable:
                yield made.get(name) or getattr(importlib.import_module(module), name)()

    return Chain(plugins())
