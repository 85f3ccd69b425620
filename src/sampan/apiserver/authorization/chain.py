"""The authorizers of one server, asked in order: the first with an opinion decides; nobody's opinion is a refusal.

Source: k8s.io/apiserver/pkg/authorization/union/union.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sampan.apiserver.authentication.user import MASTERS, User
from sampan.apiserver.authorization.attributes import NO_OPINION, Attributes, Decision


class Authorizer(Protocol):
    def authorize(self, user: User, asked: Attributes) -> Decision:
        """Answers from memory, at once."""


class Masters:
    """`system:masters` may do everything."""

    def authorize(self, user: User, asked: Attributes) -> Decision:
        return Decision(True) if MASTERS in user.groups else NO_OPINION


class PublicPaths:
    """Everybody may ask for health and version."""

    PATHS = ("/healthz", "/livez", "/readyz", "/version")

    def authorize(self, user: User, asked: Attributes) -> Decision:
        if asked.resource or asked.verb != "get" or asked.path.rstrip("/") not in self.PATHS:
            return NO_OPINION
        role = "system:public-info-viewer"
        return Decision(True, f'RBAC: allowed by ClusterRoleBinding "{role}" of ClusterRole "{role}"')


class Authorization:
    """All of them."""

    def __init__(self, authorizers: Sequence[Authorizer]) -> None:
        self.authorizers = tuple(authorizers)

    def authorize(self, user: User, asked: Attributes) -> Decision:
        reasons: list[str] = []
        for authorizer in self.authorizers:
            decision = authorizer.authorize(user, asked)
            if decision.allowed is not None:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(None, "\n".join(reasons)) if reasons else NO_OPINION
