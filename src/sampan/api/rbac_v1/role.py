"""Role.

Source: kubernetes/pkg/registry/rbac/role/strategy.go
"""

from __future__ import annotations

from sampan.api.rbac_v1.rules import AnyRole


class Role(AnyRole):
    """All rules are of one namespace."""
