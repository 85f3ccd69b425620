"""What is asked of an authorizer, and how a refusal reads.

Source: k8s.io/apiserver/pkg/authorization/authorizer/interfaces.go, pkg/endpoints/handlers/responsewriters/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.api import errors
from sampan.apiserver.authentication.user import User
from sampan.apiserver.routing import RequestInfo


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


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed` None: no opinion, which is a refusal once nobody has one. `reason` as upstream words it."""

    allowed: bool | None
    reason: str = ""


NO_OPINION = Decision(None)


def of_request(info: RequestInfo) -> Attributes:
    """The attributes of a request; a namespace is within itself."""
    namespace = info.name if info.resource == "namespaces" and info.name and not info.namespace else info.namespace
    return Attributes(
        info.verb, info.group, info.version, info.resource, info.subresource, namespace, info.name, info.path
    )


def refusal(user: User, asked: Attributes, reason: str = "") -> errors.StatusError:
    who = f'User "{user.name}" cannot {asked.verb}'
    why = f": {reason}" if reason else ""
    if not asked.resource:
        return errors.forbidden("", "", "", f'{who} path "{asked.path}"{why}')
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    said = f'{who} resource "{resource}" in API group "{asked.group}" {where}{why}'
    return errors.forbidden(asked.group, asked.resource, asked.name, said)
