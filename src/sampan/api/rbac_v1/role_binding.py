"""RoleBinding.

Source: kubernetes/pkg/registry/rbac/rolebinding/strategy.go
"""

from __future__ import annotations

from sampan.api.rbac_v1.binding import AnyBinding


class RoleBinding(AnyBinding):
    roles = ("ClusterRole", "Role")
