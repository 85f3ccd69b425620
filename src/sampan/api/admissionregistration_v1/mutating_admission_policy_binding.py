"""MutatingAdmissionPolicyBinding.

Source: kubernetes/pkg/printers/internalversion/printers.go (printMutatingAdmissionPolicyBinding)
"""

from __future__ import annotations

from sampan.api.admissionregistration_v1.policies import PolicyBinding


class MutatingAdmissionPolicyBinding(PolicyBinding):
    not_enforced = True
