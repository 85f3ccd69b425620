"""Which checks a level of a version consists of, and what they find in a pod.

Source: k8s.io/pod-security-admission/policy/{registry,checks}.go
"""

from __future__ import annotations

import functools

from sampan.api.kind import Obj
from sampan.api.pod_security import baseline, restricted
from sampan.api.pod_security.policy import LATEST, Level, Standard
from sampan.api.pod_security.words import Check, Finding

#: the last version that changed a check; later ones are the same
NEWEST = max(
    minor for checks in (baseline.CHECKS, restricted.CHECKS) for versions in checks.values() for minor in versions
)


def violations(standard: Standard, meta: Obj, spec: Obj) -> list[Finding]:
    """In upstream's order: baseline first, then restricted, each by name."""
    if standard.level == "privileged":
        return []
    version = NEWEST if standard.version == LATEST else min(standard.version, NEWEST)
    found = (check(meta, spec) for check in _checks(standard.level, version))
    return [finding for finding in found if finding is not None]


@functools.cache
def _checks(level: Level, version: int) -> tuple[Check, ...]:
    out = _at(baseline.CHECKS, version)
    if level == "restricted":
        more = _at(restricted.CHECKS, version)
        for name in more:
            out.pop(restricted.OVERRIDES.get(name, ""), None)
        out.update(more)
    return tuple(out.values())


def _at(checks: dict[str, dict[int, Check]], version: int) -> dict[str, Check]:
    """Each check in its form at that version, in order of names."""
    out = {}
    for name in sorted(checks):
        minors = [minor for minor in checks[name] if minor <= version]
        if minors:
            out[name] = checks[name][max(minors)]
    return out
