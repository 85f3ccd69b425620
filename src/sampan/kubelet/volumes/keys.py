"""ConfigMaps and Secrets as files: all keys, or those that `items` name, each at its path.

Source: kubernetes pkg/volume/{configmap/configmap,secret/secret}.go (MakePayload)
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.errors import StatusError
from sampan.client.errors import is_not_found
from sampan.kubelet.sources import NotSynced, Sources
from sampan.kubelet.volumes.atomic import File
from sampan.kubelet.volumes.errors import SetUpFailed

Obj = dict[str, Any]


async def of_config_map(sources: Sources, namespace: str, source: Obj, mode: int) -> dict[str, File]:
    """`source`: a volume's, or a projection's. Raises SetUpFailed."""
    found = await _read(sources.config_map, namespace, source["name"], source)
    data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    data |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    return _chosen(data, source, mode, "configmap references non-existent config key: ")


async def of_secret(sources: Sources, namespace: str, source: Obj, mode: int) -> dict[str, File]:
    found = await _read(sources.secret, namespace, source.get("secretName") or source.get("name") or "", source)
    data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    return _chosen(data, source, mode, "references non-existent secret key: ")


async def _read(get: Callable[[str, str], Any], namespace: str, name: str, source: Obj) -> Obj:
    try:
        found: Obj = await get(namespace, name)
    except StatusError as error:
        if is_not_found(error) and source.get("optional"):
            return {}
        raise SetUpFailed(error.message) from None
    except NotSynced as error:
        raise SetUpFailed(str(error)) from None
    return found


def _chosen(data: Mapping[str, bytes], source: Obj, mode: int, missing: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    out = {}
    for item in items:
        if item["key"] in data:
            own = item.get("mode")
            out[item["path"]] = File(data[item["key"]], mode if own is None else own)
        elif not source.get("optional"):
            raise SetUpFailed(missing + item["key"])
    return out
