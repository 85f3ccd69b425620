"""`/configz`: what this kubelet was told, as a KubeletConfiguration.

Source: k8s.io/kubelet/config/v1beta1/types.go
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.kubelet import options as settings
from sampan.kubelet.options import Options

Obj = dict[str, Any]


def configz(options: Options) -> Obj:
    found: Obj = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1"}
    for name, (ours, kind) in settings._FILE.items():
        value = getattr(options, ours)
        if value is not None:
            found[name] = _shown(value, kind)
    found["authentication"] = {
        "x509": {"clientCAFile": str(options.client_ca)} if options.client_ca else {},
        "webhook": {"enabled": options.webhook, "cacheTTL": "2m0s"},
        "anonymous": {"enabled": options.anonymous},
    }
    found["authorization"] = {"mode": options.authorization}
    if options.authorization == "Webhook":
        found["authorization"]["webhook"] = {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}
    return {"kubeletconfig": found}


def _shown(value: Any, kind: Any) -> Any:
    if kind == "duration":
        return _duration(value)
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else dict(value) if kind is dict else value


def _duration(seconds: float) -> str:
    """As Go prints it: `1m30s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}" if minutes else text
