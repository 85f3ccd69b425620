"""The file behind `--admission-control-config-file`: settings of single plugins.

    apiVersion: apiserver.config.k8s.io/v1
    kind: AdmissionConfiguration
    plugins:
    - name: PodSecurity
      configuration:                    # or `path`, of a file that holds it
        apiVersion: pod-security.admission.config.k8s.io/v1
        kind: PodSecurityConfiguration
        defaults: {enforce: baseline}
        exemptions: {namespaces: [kube-system]}

Source: k8s.io/apiserver/pkg/admission/config.go, pkg/apis/apiserver/v1; k8s.io/pod-security-admission/admission/api;
k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.api.pod_security.policy import MODES, PREFIX, of_labels
from sampan.api.quota import Selector
from sampan.apiserver.admission.chain import Plugin

Json = dict[str, Any]


def read(path: Path) -> dict[str, Json]:
    """Configurations by the name of their plugin. Raises ValueError, OSError."""
    found = _load(path, ("AdmissionConfiguration",))
    out: dict[str, Json] = {}
    for item in found.get("plugins") or ():
        name = str(item.get("name", ""))
        if name not in MAKERS:
            raise ValueError(f'{path}: plugin "{name}" takes no configuration; those that do: {", ".join(MAKERS)}')
        if item.get("configuration") is not None:
            out[name] = item["configuration"]
        elif item.get("path"):
            # beside the file that names it
            out[name] = _load(path.parent / item["path"], KINDS[name])
        if name in out and out[name].get("kind") not in KINDS[name]:
            raise ValueError(f"{path}: the configuration of {name} must be a {' or '.join(KINDS[name])}")
    return out


def make(name: str, configuration: Json) -> Plugin:
    """The plugin, so configured. Raises ValueError."""
    return MAKERS[name](configuration)


def _load(path: Path, kinds: tuple[str, ...]) -> Json:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(found, dict) or found.get("kind") not in kinds:
        raise ValueError(f"{path}: not a {' or '.join(kinds)}")
    return found


def _pod_security(configuration: Json) -> Plugin:
    from sampan.apiserver.admission.pod_security import Exemptions, PodSecurity

    allowed = {name for mode in MODES for name in (mode, f"{mode}-version")}
    given = configuration.get("defaults") or {}
    unknown = sorted(set(given) - allowed)
    if unknown:
        raise ValueError(f"PodSecurityConfiguration: unknown defaults: {', '.join(unknown)}")
    defaults, problems = of_labels({PREFIX + name: str(value) for name, value in given.items()})
    if problems:
        raise ValueError(f"PodSecurityConfiguration: defaults: {problems[0].detail}")
    exempt = configuration.get("exemptions") or {}
    names = [frozenset(exempt.get(name) or ()) for name in ("usernames", "namespaces", "runtimeClasses")]
    return PodSecurity(defaults, Exemptions(*names))


def _resource_quota(configuration: Json) -> Plugin:
    from sampan.apiserver.admission.resource_quota import Limited, ResourceQuota

    return ResourceQuota(
        [
            Limited(
                (item.get("apiGroup", ""), item.get("resource", "")),
                tuple(item.get("matchContains") or ()),
                tuple(
                    Selector(scope.get("scopeName", ""), scope.get("operator", ""), tuple(scope.get("values") or ()))
                    for scope in item.get("matchScopes") or ()
                ),
            )
            for item in configuration.get("limitedResources") or ()
        ]
    )


KINDS = {"PodSecurity": ("PodSecurityConfiguration",), "ResourceQuota": ("ResourceQuotaConfiguration", "Configuration")}
MAKERS = {"PodSecurity": _pod_security, "ResourceQuota": _resource_quota}
