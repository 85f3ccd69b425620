"""The node authorizer: a kubelet reads what its own pods need, writes its own objects, and nothing else.

A user `system:node:NAME` in group `system:nodes` is node NAME. What every node may do alike is role `system:node`;
where objects belong to one node, `graph.py` tells whose they are. Contents are NodeRestriction's business (admission).

Source: kubernetes/plugin/pkg/auth/authorizer/node/node_authorizer.go, pkg/auth/nodeidentifier
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.api.selectors import FieldSelector
from sampan.api.user import User
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision, Holdings
from sampan.apiserver.authorization.graph import Graph
from sampan.apiserver.authorization.rules import Rule, rule_allows

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

PREFIX = "system:node:"
NODES = "system:nodes"
LEASES = "kube-node-lease"
ALLOWED = Decision(True)
OWN_VERBS = ("get", "create", "update", "patch", "delete")
Check = Callable[["Node", str, Attributes], Decision]


def node_name(user: User) -> str:
    """The node that a user is; empty: none."""
    return user.name[len(PREFIX) :] if NODES in user.groups and user.name.startswith(PREFIX) else ""


def _no(reason: str) -> Decision:
    return Decision(None, reason)


class Node:
    def __init__(self, api: Api) -> None:
        self.graph = Graph(api)
        self._rules: list[Rule] = []

    def authorize(self, user: User, asked: Attributes) -> Decision:
        if NODES not in user.groups or not user.name.startswith(PREFIX):
            return NO_OPINION
        node = user.name[len(PREFIX) :]
        if not node:
            return _no(f'unknown node for user "{user.name}"')
        check = CHECKS.get((asked.group, asked.resource))
        if check is not None:
            return check(self, node, asked)
        return ALLOWED if any(rule_allows(rule, asked) for rule in self.rules()) else NO_OPINION

    def rules(self) -> list[Rule]:
        if not self._rules:
            from sampan.apiserver.authorization.bootstrap import node_rules

            self._rules = node_rules()
        return self._rules

    def rules_for(self, user: User, namespace: str) -> Holdings:
        if not node_name(user):
            return Holdings([], [])
        return Holdings([], ["node authorizer does not support user rule resolution"], incomplete=True)

    # -- by resource ---------------------------------------------------------------------------------------------------

    def _related(self, node: str, asked: Attributes) -> Decision:
        if not asked.name:
            return _no("No Object name found")
        if self.graph.reaches(asked.resource, asked.namespace, asked.name, node):
            return ALLOWED
        return _no(f"no relationship found between node '{node}' and this object")

    def _readable(self, node: str, asked: Attributes) -> Decision:
        """Secrets and ConfigMaps: one by one."""
        if asked.verb not in ("get", "list", "watch"):
            return _no("can only read resources of this type")
        if asked.subresource:
            return _no("cannot read subresource")
        if not asked.namespace:
            return _no("can only read namespaced object of this type")
        return self._related(node, asked)

    def _gettable(self, node: str, asked: Attributes) -> Decision:
        if asked.verb != "get":
            return _no("can only get individual resources of this type")
        if asked.subresource:
            return _no("cannot get subresource")
        return self._related(node, asked)

    def _claim(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource != "status":
            return self._gettable(node, asked)
        if asked.verb not in ("update", "patch"):
            return _no("can only get/update/patch this type")
        return self._related(node, asked)

    def _account(self, node: str, asked: Attributes) -> Decision:
        if asked.verb == "get" and not asked.subresource:
            return self._related(node, asked)
        if asked.verb != "create" or not asked.name:
            return _no("can only create tokens for individual service accounts")
        if asked.subresource != "token":
            return _no("can only create token subresource of serviceaccount")
        return self._related(node, asked)

    def _lease(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in OWN_VERBS:
            return _no("can only get, create, update, patch, or delete a node lease")
        if asked.namespace != LEASES:
            return _no(f'can only access leases in the "{LEASES}" system namespace')
        # the name of what is created is not known yet; NodeRestriction sees it
        if asked.verb != "create" and asked.name != node:
            return _no("can only access node lease with the same name as the requesting node")
        return ALLOWED

    def _csi_node(self, node: str, asked: Attributes) -> Decision:
        if asked.verb not in OWN_VERBS:
            return _no("can only get, create, update, patch, or delete a CSINode")
        if asked.subresource:
            return _no("cannot authorize CSINode subresources")
        if asked.verb != "create" and asked.name != node:
            return _no("can only access CSINode with the same name as the requesting node")
        return ALLOWED

    def _slice(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource:
            return _no("cannot authorize ResourceSlice subresources")
        match asked.verb:
            case "create":
                return ALLOWED
            case "get" | "update" | "patch" | "delete":
                return self._related(node, asked)
            case "watch" | "list" | "deletecollection":
                if _selects(asked.field_selector, "nodeName", node):
                    return ALLOWED
                return _no("can only list/watch/deletecollection resourceslices with nodeName field selector")
        return _no(
            "only the following verbs are allowed for a ResourceSlice: "
            "get, watch, list, create, update, patch, delete, deletecollection"
        )

    def _certificate(self, node: str, asked: Attributes) -> Decision:
        if asked.subresource:
            return _no("nodes may not access the status subresource of PodCertificateRequests")
        match asked.verb:
            case "create":
                return ALLOWED
            case "get":
                return self._related(node, asked)
            case "list" | "watch":
                if _selects(asked.field_selector, "spec.nodeName", node):
                    return ALLOWED
                return _no("can only list/watch podcertificaterequests with nodeName field selector")
        return NO_OPINION

    def _node(self, node: str, asked: Attributes) -> Decision:
        match asked.subresource, asked.verb:
            case ("", "create" | "update" | "patch") | ("status", "update" | "patch"):
                return ALLOWED
            case "", "get" | "list" | "watch":
                # by name alone: a kubelet looks for its Node before that is there
                if asked.name == node:
                    return ALLOWED
                if not asked.name:
                    return _no(f"node '{node}' cannot read all nodes, only its own Node object")
                return _no(f"node '{node}' cannot read '{asked.name}', only its own Node object")
        return NO_OPINION

    def _pod(self, node: str, asked: Attributes) -> Decision:
        match asked.subresource, asked.verb:
            case "", "get":
                return self._related(node, asked)
            case "", "list" | "watch":
                if _selects(asked.field_selector, "spec.nodeName", node):
                    return ALLOWED
                if asked.name:
                    return self._related(node, asked)
                return _no("can only list/watch pods with spec.nodeName field selector")
            case ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create"):
                return ALLOWED
        return NO_OPINION


def _selects(selector: FieldSelector | None, field: str, value: str) -> bool:
    return selector is not None and selector.exact(field) == value


CHECKS: dict[tuple[str, str], Check] = {
    ("", "secrets"): Node._readable,
    ("", "configmaps"): Node._readable,
    ("", "persistentvolumeclaims"): Node._claim,
    ("", "persistentvolumes"): Node._gettable,
    ("", "serviceaccounts"): Node._account,
    ("", "nodes"): Node._node,
    ("", "pods"): Node._pod,
    ("resource.k8s.io", "resourceclaims"): Node._gettable,
    ("resource.k8s.io", "resourceslices"): Node._slice,
    ("storage.k8s.io", "volumeattachments"): Node._gettable,
    ("storage.k8s.io", "csinodes"): Node._csi_node,
    ("coordination.k8s.io", "leases"): Node._lease,
    ("certificates.k8s.io", "podcertificaterequests"): Node._certificate,
}
