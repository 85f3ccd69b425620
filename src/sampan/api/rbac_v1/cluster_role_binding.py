"""ClusterRoleBinding.

Source: kubernetes/pkg/registry/rbac/clusterrolebinding/strategy.go
"""

from __future__ import annotations

from sampan.api.rbac_v1.binding import AnyBinding


class ClusterRoleBinding(AnyBinding):
    roles = ("ClusterRole",)
