"""Every pod runs as a ServiceAccount of its namespace, and finds that one's token mounted.

Source: kubernetes/plugin/pkg/admission/serviceaccount/admission.go
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sampan.api.core_v1.pod_references import secret_names
from sampan.api.kind import Obj
from sampan.apiserver.admission.chain import Attributes, Plugin
from sampan.apiserver.admission.lookup import Parsed, find

MIRROR = "kubernetes.io/config.mirror"
ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
#: an hour and a bit, by which the server knows its own projections
TOKEN_SECONDS = 3607
#: a new namespace gets its default account a moment after it is made
WAIT_FOR_DEFAULT = 1.5


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    automount: bool
    pull_secrets: tuple[str, ...]
    secrets: frozenset[str]
    enforce: bool


def _parse(obj: Obj) -> _Account:
    meta = obj["metadata"]
    automount = obj.get("automountServiceAccountToken")
    return _Account(
        meta["name"],
        automount is not False,
        tuple(item.get("name", "") for item in obj.get("imagePullSecrets") or ()),
        frozenset(item.get("name", "") for item in obj.get("secrets") or ()),
        (meta.get("annotations") or {}).get(ENFORCE_MOUNTABLE) in ("1", "t", "T", "TRUE", "true", "True"),
    )


class ServiceAccount(Plugin):
    resources = frozenset({("", "pods")})
    operations = frozenset({"CREATE", "UPDATE"})
    subresources = frozenset({"", "ephemeralcontainers"})

    def __init__(self) -> None:
        self.parsed = Parsed(_parse)

    async def mutate(self, attributes: Attributes) -> None:
        """Raises 403: no such account, or a mirror pod that refers to what it may not."""
        pod = attributes.obj
        if pod is None or attributes.operation != "CREATE" or attributes.subresource:
            return
        spec = pod["spec"]
        if _is_mirror(pod):
            self._check_mirror(attributes, spec)
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = await self._account(attributes, spec["serviceAccountName"], WAIT_FOR_DEFAULT)
        automount = spec.get("automountServiceAccountToken")
        if account.automount if automount is None else automount:
            mount_token(spec, attributes.api.new_suffix())
        if not spec.get("imagePullSecrets") and account.pull_secrets:
            spec["imagePullSecrets"] = [{"name": name} for name in account.pull_secrets]

    async def validate(self, attributes: Attributes) -> None:
        """Raises 403; asked again because webhooks may have changed the account."""
        pod = attributes.obj
        ephemeral = attributes.subresource == "ephemeralcontainers"
        if pod is None or (attributes.operation == "UPDATE") is not ephemeral:
            return
        spec = pod["spec"]
        if not ephemeral and _is_mirror(pod):
            self._check_mirror(attributes, spec)
            return
        name = spec.get("serviceAccountName")
        if not name:
            shown = f"{attributes.namespace}/{pod['metadata'].get('name', '')}"
            raise attributes.forbidden(f"no service account specified for pod {shown}")
        account = await self._account(attributes, name, 0)
        if account.enforce:
            _limit_secrets(attributes, account, spec, ephemeral)

    async def _account(self, attributes: Attributes, name: str, wait: float) -> _Account:
        namespace = attributes.namespace
        cache = attributes.api.cached("", "serviceaccounts")
        record = cache.get(f"{namespace}/{name}") or await find(
            attributes.api, cache, f"{namespace}/{name}", wait=wait if name == "default" else 0
        )
        if record is None:
            why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
            raise attributes.forbidden(why)
        return self.parsed(record)

    @staticmethod
    def _check_mirror(attributes: Attributes, spec: Obj) -> None:
        if spec.get("serviceAccountName"):
            raise attributes.forbidden("a mirror pod may not reference service accounts")
        if any(True for _ in secret_names(spec)):
            raise attributes.forbidden("a mirror pod may not reference secrets")
        for volume in spec.get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("serviceAccountToken") is not None:
                    raise attributes.forbidden("a mirror pod may not use ServiceAccountToken volume projections")


def _is_mirror(pod: Obj) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def mount_token(spec: Obj, suffix: str) -> None:
    """Mount the token where nothing else is mounted there, and add the volume if anybody needs it."""
    volumes = spec.get("volumes") or []
    there = next((item["name"] for item in volumes if item.get("name", "").startswith(VOLUME_PREFIX)), "")
    name = there or VOLUME_PREFIX + suffix
    needed = False
    for kind in ("initContainers", "containers"):
        for container in spec.get(kind) or ():
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            mount = {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}
            container["volumeMounts"] = [*mounts, mount]
            needed = True
    if needed and not there:
        spec["volumes"] = [*volumes, {"name": name, "projected": _token_source()}]


def _token_source() -> dict[str, Any]:
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [namespace]}},
        ],
        "defaultMode": 0o644,
    }


def _limit_secrets(attributes: Attributes, account: _Account, spec: Obj, ephemeral: bool) -> None:
    """An account with the (deprecated) annotation lets its pods refer only to the secrets it lists."""

    def refuse(what: str) -> None:
        why = f"{what} is not allowed because service account {account.name} does not reference that secret"
        raise attributes.forbidden(why)

    groups = (
        (("ephemeral container", "ephemeralContainers"),)
        if ephemeral
        else (("init container", "initContainers"), ("container", "containers"))
    )
    if not ephemeral:
        for volume in spec.get("volumes") or ():
            secret = volume.get("secret")
            if secret is not None and secret.get("secretName", "") not in account.secrets:
                refuse(f'volume with secret.secretName="{secret.get("secretName", "")}"')
    for word, kind in groups:
        for container in spec.get(kind) or ():
            for env in container.get("env") or ():
                reference = (env.get("valueFrom") or {}).get("secretKeyRef")
                if reference is not None and reference.get("name", "") not in account.secrets:
                    referring = f'referencing secret.secretName="{reference.get("name", "")}"'
                    refuse(f"{word} {container['name']} with envVar {env['name']} {referring}")
    if ephemeral:
        return
    for index, reference in enumerate(spec.get("imagePullSecrets") or ()):
        name = reference.get("name", "")
        if name not in account.pull_secrets:
            why = f'imagePullSecrets[{index}].name="{name}" is not allowed because service account {account.name}'
            raise attributes.forbidden(f"{why} does not reference that imagePullSecret")
