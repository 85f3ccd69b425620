"""ConfigMap.

Source: kubernetes/pkg/registry/core/configmap/strategy.go; ValidateConfigMap
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age

MAX_BYTES = 1024 * 1024
#: the one that every namespace has, with the CA that signs the API server's certificates; and what it says of itself
ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = "kubernetes.io/description"
ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def decoded_length(text: str) -> int:
    """Bytes that this base64 stands for."""
    return len(text) * 3 // 4 - text[-2:].count("=")


class ConfigMap(Kind):
    has_generation = False
    columns = (NAME, Column("Data", "integer"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        total = 0
        for key, value in sorted(data.items()):
            for problem in names.is_config_map_key(key):
                out.invalid(Path("data") @ key, key, problem)
            if key in binary:
                out.invalid(Path("data") @ key, key, "duplicate of key present in binaryData")
            total += len(value.encode())
        for key, value in sorted(binary.items()):
            for problem in names.is_config_map_key(key):
                out.invalid(Path("binaryData") @ key, key, problem)
            total += decoded_length(value)
        if total > MAX_BYTES:
            out.too_long(Path(""), MAX_BYTES)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self.validate(obj)
        if old.get("immutable"):
            if not obj.get("immutable"):
                out.forbidden(Path("immutable"), "field is immutable when `immutable` is set")
            for name in ("data", "binaryData"):
                if obj.get(name) != old.get(name):
                    out.forbidden(Path(name), "field is immutable when `immutable` is set")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
        return [obj["metadata"]["name"], count, age(obj["metadata"].get("creationTimestamp"), now)]
