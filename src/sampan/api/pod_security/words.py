"""What a check finds, and how it is put into words.

Source: k8s.io/pod-security-admission/policy/{helpers,visitor}.go
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

from sampan.api.core_v1.pod_references import all_containers
from sampan.api.kind import Obj


class Finding(NamedTuple):
    """`reason` is short and told of every pod; `detail` names what is wrong with this one."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


#: of a pod's metadata and spec
Check = Callable[[Obj, Obj], Finding | None]


def quoted(names: Iterable[str]) -> str:
    return '"' + '", "'.join(names) + '"'


def several(singular: str, plural: str, items: Collection[Any]) -> str:
    return singular if len(items) == 1 else plural


def containers(names: Collection[str]) -> str:
    return f"{several('container', 'containers', names)} {quoted(names)}"


def context(of: Obj) -> Obj:
    """The security context of a pod spec or container, maybe empty."""
    return of.get("securityContext") or {}


def where(spec: Obj, bad: Callable[[Obj], Any]) -> list[str]:
    """Names of the containers that are bad."""
    return [container.get("name", "") for container in all_containers(spec) if bad(container)]


def setters(pod: bool, names: Collection[str]) -> str:
    """Who has set something: `pod and containers "a", "b"`."""
    return " and ".join([*(["pod"] if pod else []), *([containers(names)] if names else [])])


def user_namespace(spec: Obj) -> bool:
    """Root in it is nobody outside: some checks are lenient then, from 1.35 on."""
    return spec.get("hostUsers") is False


def windows(spec: Obj) -> bool:
    """What only Linux knows need not be said, from 1.25 on."""
    return (spec.get("os") or {}).get("name") == "windows"
