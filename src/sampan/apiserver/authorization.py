"""May they: the stage after authentication.

For now `system:masters` may do everything and everybody may ask for health and version; RBAC joins here. A refusal
says what upstream says.

Source: k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api import errors
from sampan.apiserver.authentication import User
from sampan.apiserver.routing import RequestInfo

_PUBLIC = ("/healthz", "/livez", "/readyz", "/version")


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked, of a resource or (without one) of a path."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def allows(user: User, asked: Attributes) -> tuple[bool, str]:
    """Whether, and why (upstream gives no reason for superusers)."""
    if "system:masters" in user.groups:
        return True, ""
    if not asked.resource and asked.verb == "get" and _public(asked.path):
        return (
            True,
            'RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer"',
        )
    return False, ""


def _public(path: str) -> bool:
    return path.rstrip("/") in _PUBLIC


def authorize(user: User, info: RequestInfo) -> None:
    """Raises 403 with upstream's words."""
    if "system:masters" in user.groups:
        return
    asked = Attributes(
        info.verb, info.group, info.version, info.resource, info.subresource, info.namespace, info.name, info.path
    )
    if info.resource == "namespaces" and info.name:
        asked = Attributes(
            info.verb, "", info.version, info.resource, info.subresource, info.name, info.name, info.path
        )
    if not allows(user, asked)[0]:
        raise refusal(user, asked)


def refusal(user: User, asked: Attributes) -> errors.StatusError:
    who = f'User "{user.name}" cannot {asked.verb}'
    if not asked.resource:
        return errors.forbidden("", "", "", f'{who} path "{asked.path}"')
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    why = f'{who} resource "{resource}" in API group "{asked.group}" {where}'
    return errors.forbidden(asked.group, asked.resource, asked.name, why)
