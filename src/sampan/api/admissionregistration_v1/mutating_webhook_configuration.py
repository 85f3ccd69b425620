"""MutatingWebhookConfiguration.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api.admissionregistration_v1.webhooks import Webhooks


class MutatingWebhookConfiguration(Webhooks):
    reinvocation = True
