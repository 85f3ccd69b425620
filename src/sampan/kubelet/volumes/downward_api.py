"""What a pod knows of itself, as files. Source: kubernetes pkg/volume/downwardapi/downwardapi.go"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.kubelet import fields
from sampan.kubelet.volumes import empty_dir
from sampan.kubelet.volumes.atomic import File
from sampan.kubelet.volumes.errors import SetUpFailed, joined
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source = volume["downwardAPI"]
    payload = files(source.get("items") or (), at, source.get("defaultMode", 0o644))
    directory = at.place.volume("downward-api", volume["name"])
    empty_dir.wrap(directory, at, memory=True)
    at.project(directory, payload)
    return Mounted(directory, read_only=True)


def files(items: Iterable[Obj], at: Setting, mode: int) -> dict[str, File]:
    """Raises SetUpFailed."""
    out, errors = {}, []
    for item in items:
        own = item.get("mode")
        try:
            text = _value(item, at)
        except fields.Unsupported as error:
            errors.append(str(error))
        else:
            out[item["path"]] = File(text.encode(), mode if own is None else own)
    if errors:
        raise SetUpFailed(joined(errors))
    return out


def _value(item: Obj, at: Setting) -> str:
    if ref := item.get("fieldRef"):
        return fields.of_metadata(at.pod, ref["fieldPath"])
    return fields.of_resources(at.pod, None, item["resourceFieldRef"], at.allocatable)
