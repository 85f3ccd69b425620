"""Labels of nodes that have newer names.

Source: kubernetes/pkg/api/node/util.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import Path
from sampan.api.kind import Obj

DEPRECATED = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def term_warnings(term: Obj, path: Path, check_values: bool) -> list[str]:
    """Of one node selector term; `check_values`: where impossible values are no errors, they are told here."""
    out: list[str] = []
    for index, item in enumerate(term.get("matchExpressions") or ()):
        here, key = path / "matchExpressions" @ index, item.get("key", "")
        if key in DEPRECATED:
            out.append(f"{here / 'key'}: {key} is {DEPRECATED[key]}")
        for at, value in enumerate(item.get("values") or () if check_values else ()):
            for problem in names.is_valid_label_value(value):
                out.append(f"{here / 'values' @ at}: {value} is invalid, {problem}")
    return out


def selector_warnings(selector: Obj | None, path: Path) -> list[str]:
    """Of a label selector over nodes."""
    out: list[str] = []
    for index, item in enumerate((selector or {}).get("matchExpressions") or ()):
        key = item.get("key", "")
        if key in DEPRECATED:
            out.append(f"{path / 'matchExpressions' @ index / 'key'}: {key} is {DEPRECATED[key]}")
    for key in sorted((selector or {}).get("matchLabels") or ()):
        if key in DEPRECATED:
            out.append(f"{path / 'matchLabels' / key}: {DEPRECATED[key]}")
    return out
