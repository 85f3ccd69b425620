"""The annotation by which a Node once asked the scheduler to keep away pods of some controllers.

Nobody looks at it any more, but what it says must still make sense.

Source: kubernetes/pkg/apis/core/validation/validation.go (ValidateAvoidPodsInNodeAnnotations)
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from sampan.api.field import ErrorList, Path

KEY = "scheduler.alpha.kubernetes.io/preferAvoidPods"
HERE = Path("metadata", "annotations")


def avoided_pods(annotations: Mapping[str, str], out: ErrorList) -> None:
    text = annotations.get(KEY, "")
    if not text:
        return
    try:
        found = orjson.loads(text)
        entries = (found.get("preferAvoidPods") if isinstance(found, dict) else found) or []
        controllers = [((entry.get("podSignature") or {}).get("podController")) for entry in entries]
        led = [owner if owner is None else bool(owner.get("controller")) for owner in controllers]
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        out.invalid(HERE / "AvoidPods", KEY, "invalid JSON, or not a list of pods to avoid")
        return
    for index, owner in enumerate(led):
        here = HERE / KEY @ index / "PodSignature"
        if owner is None:
            out.required(here, "")
        elif not owner:
            out.invalid(here / "PodController" / "Controller", owner, "must point to a controller")
