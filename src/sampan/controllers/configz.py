"""The controller manager's options as `/configz` shows them, under upstream's names.

Source: kubernetes/pkg/controller/apis/config/types.go
"""

from __future__ import annotations

from typing import Any

from sampan.controllers.context import Options


def configz(options: Options, *, leader_elect: bool) -> dict[str, Any]:
    def seconds(value: float) -> str:
        minutes, rest = divmod(value, 60)
        return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"

    hpa = {
        "HorizontalPodAutoscalerSyncPeriod": seconds(options.horizontal_pod_autoscaler_sync_period),
        "HorizontalPodAutoscalerDownscaleStabilizationWindow": seconds(
            options.horizontal_pod_autoscaler_downscale_stabilization
        ),
        "HorizontalPodAutoscalerTolerance": options.horizontal_pod_autoscaler_tolerance,
        "HorizontalPodAutoscalerCPUInitializationPeriod": seconds(
            options.horizontal_pod_autoscaler_cpu_initialization_period
        ),
        "HorizontalPodAutoscalerInitialReadinessDelay": seconds(
            options.horizontal_pod_autoscaler_initial_readiness_delay
        ),
    }
    shared = {
        "ClusterName": options.cluster_name,
        "ClusterCIDR": options.cluster_cidr,
        "AllocateNodeCIDRs": options.allocate_node_cidrs,
        "NodeMonitorPeriod": seconds(options.node_monitor_period),
    }
    return {
        "kubecontrollermanager.config.k8s.io": {
            "Generic": {"Controllers": list(options.controllers), "LeaderElection": {"LeaderElect": leader_elect}},
            "KubeCloudShared": shared,
            "HPAController": hpa,
            "NamespaceController": {"NamespaceSyncPeriod": seconds(options.namespace_sync_period)},
            "NodeIPAMController": {
                "ServiceCIDR": options.service_cluster_ip_range,
                "NodeCIDRMaskSize": options.node_cidr_mask_size,
            },
            "NodeLifecycleController": {
                "NodeEvictionRate": options.node_eviction_rate,
                "NodeStartupGracePeriod": seconds(options.node_startup_grace_period),
                "NodeMonitorGracePeriod": seconds(options.node_monitor_grace_period),
            },
            "PodGCController": {"TerminatedPodGCThreshold": options.terminated_pod_gc_threshold},
            "ResourceQuotaController": {"ResourceQuotaSyncPeriod": seconds(options.resource_quota_sync_period)},
        }
    }
