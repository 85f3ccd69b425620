"""What Table cells are made of: ages, selectors, lists of containers, as upstream prints them.

Source: k8s.io/apimachinery/pkg/util/duration/duration.go; kubernetes/pkg/printers/internalversion/printers.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.times import parse_time

UNKNOWN, NONE, UNSET = "<unknown>", "<none>", "<unset>"


def human_duration(seconds: float) -> str:
    """At most two units, fewer digits the longer it is: `5s`, `3m20s`, `2d4h`, `3y`."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = whole // 3600
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    years = days // 365
    if hours < 24 * 365 * 8:
        return _two(years, "y", days % 365, "d")
    return f"{years}y"


def _two(big: int, unit: str, small: int, small_unit: str) -> str:
    return f"{big}{unit}{small}{small_unit}" if small else f"{big}{unit}"


def age(timestamp: str | None, now: float) -> str:
    return human_duration(now - parse_time(timestamp)) if timestamp else UNKNOWN


def labels_text(labels: dict[str, str] | None) -> str:
    """`a=b,c=d` in order of keys, `<none>` without any."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def selector_text(selector: dict[str, Any] | None) -> str:
    """A LabelSelector as `metav1.FormatLabelSelector` prints it."""
    if selector is None:
        return NONE
    parts = [(key, f"{key}={value}") for key, value in (selector.get("matchLabels") or {}).items()]
    for item in selector.get("matchExpressions") or ():
        key, values = item.get("key", ""), ",".join(sorted(item.get("values") or ()))
        shown = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append((key, shown.get(item.get("operator", ""), "<error>")))
    return ",".join(text for _, text in sorted(parts)) or NONE


def containers_cells(spec: dict[str, Any]) -> tuple[str, str]:
    """Names and images of a pod's containers."""
    containers = spec.get("containers") or ()
    return ",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers)
