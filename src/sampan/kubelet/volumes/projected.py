"""Several sources in one directory; the usual one holds a pod's access to the API: token, certificate and namespace.

Source: kubernetes pkg/volume/projected/projected.go, pkg/kubelet/clustertrustbundle
"""

from __future__ import annotations

from sampan.api.errors import StatusError
from sampan.http import HttpError
from sampan.kubelet.volumes import downward_api, empty_dir, keys, ownership, trust_bundles
from sampan.kubelet.volumes.atomic import File
from sampan.kubelet.volumes.errors import SetUpFailed, joined
from sampan.kubelet.volumes.setting import Mounted, Obj, Setting

TOKEN_SECONDS = 3600


async def set_up(volume: Obj, at: Setting) -> Mounted:
    source = volume["projected"]
    mode = source.get("defaultMode", 0o644)
    payload: dict[str, File] = {}
    errors = []
    for each in source.get("sources") or ():
        try:
            payload |= await _files(each, at, mode)
        except SetUpFailed as error:
            errors.append(str(error))
    if errors:
        raise SetUpFailed(joined(errors))
    directory = at.place.volume("projected", volume["name"])
    empty_dir.wrap(directory, at, memory=True)
    at.project(directory, payload)
    return Mounted(directory, read_only=True)


async def _files(each: Obj, at: Setting, mode: int) -> dict[str, File]:
    if found := each.get("secret"):
        return await keys.of_secret(at.sources, at.namespace, found, mode)
    if found := each.get("configMap"):
        return await keys.of_config_map(at.sources, at.namespace, found, mode)
    if (found := each.get("downwardAPI")) is not None:
        return downward_api.files(found.get("items") or (), at, mode)
    if found := each.get("serviceAccountToken"):
        return await _token(found, at, mode)
    if found := each.get("clusterTrustBundle"):
        return {found["path"]: File(await trust_bundles.read(at.sources.client, found), mode)}
    # DEVIATION: pod certificates are not issued
    raise SetUpFailed("unsupported volume projection: " + ", ".join(each))


async def _token(source: Obj, at: Setting, mode: int) -> dict[str, File]:
    user = ownership.user_of(at.pod)
    if user is not None or ownership.group_of(at.pod) is not None:
        mode = 0o600  # for one user, or (by what is added for it) one group
    seconds = source.get("expirationSeconds") or TOKEN_SECONDS
    try:
        token = await at.sources.token(at.pod, source.get("audience") or "", seconds)
    except (StatusError, HttpError) as error:
        text = error.message if isinstance(error, StatusError) else str(error)
        raise SetUpFailed(f"failed to fetch token: {text}") from None
    return {source["path"]: File(token.encode(), mode, user)}
