"""Services may not take addresses that nobody gave them (CVE-2020-8554): no new `externalIPs`.

Source: kubernetes/plugin/pkg/admission/network/denyserviceexternalips/admission.go
"""

from __future__ import annotations

from sampan.apiserver.admission.chain import Attributes, Plugin


class DenyServiceExternalIPs(Plugin):
    resources = frozenset({("", "services")})
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = None

    async def validate(self, attributes: Attributes) -> None:
        new, old = (
            set(((obj or {}).get("spec") or {}).get("externalIPs") or ()) for obj in (attributes.obj, attributes.old)
        )
        if not new <= old:
            raise attributes.forbidden("Use of external IPs is denied by admission control.")
