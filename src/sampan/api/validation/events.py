"""Events: older ones must only be in their object's namespace; those with `eventTime` say who did what.

Source: kubernetes/pkg/apis/core/validation/events.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.meta import IMMUTABLE

_LONG, _NOTE = 128, 1024
SYSTEM = "kube-system"
_FIXED = ("involvedObject", "reason", "message", "type", "related", "reportingComponent", "reportingInstance", "action")


def event(obj: Obj, newer: bool, out: ErrorList) -> None:
    """Of an event in its core form; `newer`: it came as events.k8s.io/v1."""
    _namespace(obj, out)
    if newer:
        _reporter(obj, out)
    elif obj.get("eventTime") is not None:
        _reporter(obj, out, legacy=True)


def _namespace(obj: Obj, out: ErrorList) -> None:
    about = (obj.get("involvedObject") or {}).get("namespace", "")
    own, here = obj["metadata"].get("namespace", ""), Path("involvedObject", "namespace")
    if not about:
        if own not in ("", "default", SYSTEM):
            out.invalid(here, about, "does not match event.namespace")
    elif about != own:
        out.invalid(here, about, "does not match event.namespace")


def _reporter(obj: Obj, out: ErrorList, legacy: bool = False) -> None:
    get = obj.get
    if not legacy and get("eventTime") is None:
        out.required(Path("eventTime"), "")
    controller = get("reportingComponent", "")
    if not controller:
        out.required(Path("reportingController"), "")
    out.each(Path("reportingController"), controller, names.is_qualified_name(controller) if controller else ())
    if not get("reportingInstance"):
        out.required(Path("reportingInstance"), "")
    elif len(get("reportingInstance", "")) > _LONG:
        out.invalid(Path("reportingInstance"), "", f"can have at most {_LONG} characters")
    if not get("action"):
        out.required(Path("action"), "")
    elif len(get("action", "")) > _LONG:
        out.invalid(Path("action"), "", f"can have at most {_LONG} characters")
    if not get("reason"):
        out.required(Path("reason"), "")
    elif len(get("reason", "")) > _LONG:
        out.invalid(Path("reason"), "", f"can have at most {_LONG} characters")
    if len(get("message", "")) > _NOTE:
        out.invalid(Path("message"), "", f"can have at most {_NOTE} characters")
    if not legacy:
        kind = get("type", "")
        if kind not in ("Normal", "Warning"):
            out.invalid(Path("type"), "", f"has invalid value: {kind}")
        for ours, shown in (
            ("firstTimestamp", "deprecatedFirstTimestamp"),
            ("lastTimestamp", "deprecatedLastTimestamp"),
            ("count", "deprecatedCount"),
            ("source", "deprecatedSource"),
        ):
            if get(ours):
                out.invalid(Path(shown), "", "needs to be unset")
    series = get("series")
    if series is not None:
        if series.get("count", 0) < 2:
            out.invalid(Path("series.count"), "", "should be at least 2")
        if series.get("lastObservedTime") is None:
            out.required(Path("series.lastObservedTime"), "")


def event_update(obj: Obj, old: Obj, newer: bool, out: ErrorList) -> None:
    if not newer and obj.get("eventTime") is None:
        _namespace(obj, out)
        return
    event(obj, newer, out)
    for field in _FIXED:
        if (obj.get(field) or None) != (old.get(field) or None):
            out.invalid(Path(field), obj.get(field), IMMUTABLE)
    if obj.get("eventTime") != old.get("eventTime"):
        out.invalid(Path("eventTime"), obj.get("eventTime"), IMMUTABLE)
