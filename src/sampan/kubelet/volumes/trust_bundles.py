"""ClusterTrustBundles: certificates of authorities, by name or by signer and labels, as one PEM file.

Source: kubernetes pkg/kubelet/clustertrustbundle/clustertrustbundle_manager.go
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.selectors import label_selector_from
from sampan.client import Client
from sampan.client.errors import is_not_found
from sampan.http import HttpError
from sampan.kubelet.volumes.errors import SetUpFailed

Obj = dict[str, Any]
_RESOURCE = "clustertrustbundles.certificates.k8s.io"
_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----\s+(?:[^\n:]+: [^\n]*\n)*\s*([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----"
)


async def read(client: Client, source: Obj) -> bytes:
    """The PEM, each certificate once, in an order of its own. Raises SetUpFailed."""
    try:
        if name := source.get("name"):
            bundles = [await client.get(_RESOURCE, name)]
        else:
            signer = source["signerName"]
            selector = label_selector_from(source.get("labelSelector"))
            field = f"spec.signerName={signer}"
            found = await client.items(_RESOURCE, field_selector=field)
            bundles = [each for each in found if selector.matches(each["metadata"].get("labels") or {})]
            if not bundles:
                text = "combination of signerName and labelSelector matched zero ClusterTrustBundles"
                raise StatusError(404, "NotFound", text)
    except StatusError as error:
        if is_not_found(error) and source.get("optional"):
            return b""
        raise SetUpFailed(error.message) from None
    except HttpError as error:
        raise SetUpFailed(str(error)) from None
    return _joined(each["spec"]["trustBundle"] for each in bundles)


def _joined(texts: Iterable[str]) -> bytes:
    found = {base64.b64decode(match[1]) for text in texts for match in _BLOCK.finditer(text)}
    out = []
    for der in sorted(found):
        encoded = base64.encodebytes(der).decode().replace("\n", "")
        lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
        out += ["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----"]
    return "".join(line + "\n" for line in out).encode()
