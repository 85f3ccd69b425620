"""The plugins that are on by default, in upstream's order.

Source: kubernetes/pkg/kubeapiserver/options/plugins.go (AllOrderedPlugins, DefaultOffAdmissionPlugins)
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Chain, Plugin
from sampan.apiserver.admission.namespace_lifecycle import NamespaceLifecycle
from sampan.apiserver.webhooks.mutating import MutatingAdmissionWebhook
from sampan.apiserver.webhooks.validating import ValidatingAdmissionWebhook


def default_chain() -> Chain:
    plugins: list[Plugin] = [
        NamespaceLifecycle(),
        MutatingAdmissionWebhook(),
        ValidatingAdmissionWebhook(),
    ]
    return Chain(plugins)
