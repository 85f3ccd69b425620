"""Secret.

Source: kubernetes/pkg/registry/core/secret/strategy.go; ValidateSecret
"""

from __future__ import annotations

import base64

import orjson

from sampan.api import names
from sampan.api.core_v1.config_map import MAX_BYTES, decoded_length
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age
from sampan.api.validation.key_pairs import key_pair_problem
from sampan.api.validation.meta import validate_immutable

DOCKER_JSON, DOCKER_CFG = "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"
TOKEN = "kubernetes.io/service-account-token"
#: labels of such: the day on which the token was last used, and the day since which it does not hold
LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
#: the ConfigMap that says since when uses are noted, and its key
TRACKING, SINCE = "kube-apiserver-legacy-service-account-token-tracking", "since"


class Secret(Kind):
    has_generation = False
    columns = (NAME, Column("Type"), Column("Data", "integer"), AGE)

    def default(self, obj: Obj) -> None:
        if not obj.get("type"):
            obj["type"] = "Opaque"
        given = obj.pop("stringData", None)
        if given:
            data = dict(obj.get("data") or {})
            data.update({key: base64.b64encode(value.encode()).decode() for key, value in given.items()})
            obj["data"] = data

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        data, kind = obj.get("data") or {}, obj.get("type", "")
        for key in sorted(data):
            for problem in names.is_config_map_key(key):
                out.invalid(Path("data") @ key, key, problem)
        if sum(decoded_length(value) for value in data.values()) > MAX_BYTES:
            out.too_long(Path("data"), MAX_BYTES)
        if kind == TOKEN:
            if not (obj["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name"):
                out.required(Path("metadata", "annotations") @ "kubernetes.io/service-account.name", "")
        elif kind in (DOCKER_JSON, DOCKER_CFG):
            key = ".dockerconfigjson" if kind == DOCKER_JSON else ".dockercfg"
            if key not in data:
                out.required(Path("data") @ key, "")
            elif not _is_json(data[key]):
                out.invalid(Path("data") @ key, "<secret contents redacted>", "invalid character in JSON")
        elif kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
            out.required(Path("data") @ "username", "")
            out.required(Path("data") @ "password", "")
        elif kind == "kubernetes.io/ssh-auth" and not data.get("ssh-privatekey"):
            out.required(Path("data") @ "ssh-privatekey", "")
        elif kind == "kubernetes.io/tls":
            for key in ("tls.crt", "tls.key"):
                if key not in data:
                    out.required(Path("data") @ key, "")
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = validate_immutable(obj.get("type"), old.get("type"), Path("type"))
        if old.get("immutable"):
            if not obj.get("immutable"):
                out.forbidden(Path("immutable"), "field is immutable when `immutable` is set")
            if obj.get("data") != old.get("data"):
                out.forbidden(Path("data"), "field is immutable when `immutable` is set")
        out.extend(self.validate(obj))
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        if obj.get("type") != "kubernetes.io/tls":
            return []
        data = obj.get("data") or {}
        problem = key_pair_problem(*(base64.b64decode(data.get(key, "")) for key in ("tls.crt", "tls.key")))
        return [problem] if problem else []

    def selectable_fields(self, obj: Obj) -> dict[str, str]:
        return {"type": obj.get("type", "")}

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], obj.get("type", ""), len(obj.get("data") or {}), age(meta.get("creationTimestamp"), now)]


def _is_json(text: str) -> bool:
    try:
        return isinstance(orjson.loads(base64.b64decode(text)), dict)
    except ValueError:
        return False
