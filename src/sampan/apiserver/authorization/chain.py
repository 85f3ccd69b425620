"""The authorizers of one server, asked in order: the first with an opinion decides; nobody's opinion is a refusal.

`system:masters` comes before them all. Which ones there are, and in which order, `--authorization-mode` says.

Source: k8s.io/apiserver/pkg/authorization/union/union.go; kubernetes/pkg/kubeapiserver/authorizer/reload.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sampan.api.user import MASTERS, User
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision, Holdings
from sampan.apiserver.authorization.rbac import Rbac
from sampan.apiserver.authorization.rules import Rule

if TYPE_CHECKING:
    from sampan.apiserver.api import Api

MODES = ("Node", "RBAC", "AlwaysAllow", "AlwaysDeny")
ALLOWED = Decision(True)


class Authorizer(Protocol):
    def authorize(self, user: User, asked: Attributes) -> Decision:
        """Answers from memory, at once."""

    def rules_for(self, user: User, namespace: str) -> Holdings:
        """What a user may do in a namespace, and why that is not all."""


class AlwaysAllow:
    RULES: tuple[Rule, ...] = (
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
        {"verbs": ["*"], "nonResourceURLs": ["*"]},
    )

    def authorize(self, user: User, asked: Attributes) -> Decision:
        return ALLOWED

    def rules_for(self, user: User, namespace: str) -> Holdings:
        return Holdings(list(self.RULES), [])


class AlwaysDeny:
    REFUSED = Decision(None, "Everything is forbidden.")

    def authorize(self, user: User, asked: Attributes) -> Decision:
        return self.REFUSED

    def rules_for(self, user: User, namespace: str) -> Holdings:
        return Holdings([], [])


class Authorization:
    """All of them. `rbac` is there in every mode: roles and bindings are checked against it when they are written."""

    def __init__(self, api: Api, modes: Sequence[str] = ("Node", "RBAC")) -> None:
        self.rbac = Rbac(api)
        self.authorizers: tuple[Authorizer, ...] = tuple(self._make(api, mode) for mode in modes)

    def _make(self, api: Api, mode: str) -> Authorizer:
        match mode:
            case "RBAC":
                return self.rbac
            case "Node":
                from sampan.apiserver.authorization.node import Node

                return Node(api)
            case "AlwaysAllow":
                return AlwaysAllow()
            case "AlwaysDeny":
                return AlwaysDeny()
        raise ValueError(f'unknown authorization mode "{mode}" specified')

    def authorize(self, user: User, asked: Attributes) -> Decision:
        if MASTERS in user.groups:
            return ALLOWED
        reasons: list[str] = []
        for authorizer in self.authorizers:
            decision = authorizer.authorize(user, asked)
            if decision.allowed is not None:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(None, "\n".join(reasons)) if reasons else NO_OPINION

    def rules_for(self, user: User, namespace: str) -> Holdings:
        rules: list[Rule] = []
        problems: list[str] = []
        incomplete = False
        for authorizer in self.authorizers:
            held = authorizer.rules_for(user, namespace)
            rules.extend(held.rules)
            problems.extend(held.problems)
            incomplete = incomplete or held.incomplete
        return Holdings(rules, problems, incomplete)
