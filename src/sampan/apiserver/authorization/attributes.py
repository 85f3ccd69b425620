"""What is asked of an authorizer, and how a refusal reads.

Source: k8s.io/apiserver/pkg/authorization/authorizer/interfaces.go, pkg/endpoints/handlers/responsewriters/errors.go
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from sampan.api import errors
from sampan.api.frozen import frozen
from sampan.api.kind import Obj
from sampan.api.names import path_segment_name
from sampan.api.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector
from sampan.api.user import User
from sampan.apiserver.routing import RequestInfo

if TYPE_CHECKING:
    from sampan.apiserver.call import Call

MANY = ("list", "watch", "deletecollection")


@frozen
class Attributes:
    """What is asked, of a resource or (without one) of a path. Selectors narrow a list, watch or deletecollection."""

    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: FieldSelector | None = None
    label_selector: LabelSelector | None = None

    @property
    def is_resource(self) -> bool:
        return bool(self.resource) or not self.path


@frozen
class Decision:
    """`allowed` None: no opinion, which is a refusal once nobody has one. `reason` as upstream words it."""

    allowed: bool | None
    reason: str = ""


NO_OPINION = Decision(None)


class Holdings(NamedTuple):
    """The rules that apply to somebody in a namespace, what went wrong finding them, and whether there may be more."""

    rules: list[Obj]
    problems: list[str]
    incomplete: bool = False


def of_request(info: RequestInfo, query: Mapping[str, str]) -> Attributes:
    """The attributes of a request. A namespace is within itself; who lists the one object of a name asks for that."""
    namespace = info.name if info.resource == "namespaces" and info.name and not info.namespace else info.namespace
    name, fields, labels = info.name, None, None
    if info.verb in MANY and info.resource:
        if query.get("fieldSelector"):
            fields = _field_selector(query["fieldSelector"])
            exact = fields.exact("metadata.name") if fields is not None and info.verb != "deletecollection" else None
            if exact and not name and not path_segment_name(exact):
                name = exact
        if query.get("labelSelector"):
            labels = _label_selector(query["labelSelector"])
    return Attributes(
        info.verb, info.group, info.version, info.resource, info.subresource, namespace, name, info.path, fields, labels
    )


def _field_selector(text: str) -> FieldSelector | None:
    """None for one that cannot be read: it narrows nothing here, and is refused later."""
    try:
        return parse_field_selector(text)
    except ValueError:
        return None


def _label_selector(text: str) -> LabelSelector | None:
    try:
        return parse_label_selector(text)
    except ValueError:
        return None


def authorize_create(call: Call) -> None:
    """An update or apply that makes a new object needs the right to create it, too. Raises 403."""
    info = call.info
    asked = Attributes(
        "create", info.group, info.version, info.resource, info.subresource, info.namespace, info.name, info.path
    )
    decision = call.api.authorizer.authorize(call.user, asked)
    if decision.allowed is not True:
        raise refusal(call.user, asked, decision.reason)


def refusal(user: User, asked: Attributes, reason: str = "") -> errors.StatusError:
    who = f'User "{user.name}" cannot {asked.verb}'
    why = f": {reason}" if reason else ""
    if not asked.is_resource:
        return errors.forbidden("", "", "", f'{who} path "{asked.path}"{why}')
    resource = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    said = f'{who} resource "{resource}" in API group "{asked.group}" {where}{why}'
    return errors.forbidden(asked.group, asked.resource, asked.name, said)
