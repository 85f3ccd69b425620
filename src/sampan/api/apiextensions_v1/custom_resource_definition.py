"""CustomResourceDefinition.

Source: apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go
"""

from __future__ import annotations

from sampan.api.field import ErrorList, Path
from sampan.api.kind import NAME, Cell, Column, Context, Kind, Obj


class CustomResourceDefinition(Kind):
    has_status = True
    columns = (NAME, Column("Created At", "date"))

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        called = spec.setdefault("names", {})
        if not called.get("singular"):
            called["singular"] = called.get("kind", "").lower()
        if not called.get("listKind") and called.get("kind"):
            called["listKind"] = called["kind"] + "List"
        spec.setdefault("conversion", {"strategy": "None"})

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        stored = [v["name"] for v in obj["spec"].get("versions") or () if v.get("storage")]
        empty = {"plural": "", "kind": ""}
        obj["status"] = {"conditions": None, "acceptedNames": empty, "storedVersions": stored}

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec, path = obj["spec"], Path("spec")
        called = spec.get("names") or {}
        group, plural = spec.get("group", ""), called.get("plural", "")
        if not group:
            out.required(path / "group", "")
        elif "." not in group:
            out.invalid(path / "group", group, "should be a domain with at least one dot")
        wanted = f"{plural}.{group}"
        if obj["metadata"].get("name") != wanted:
            detail = 'must be spec.names.plural+"."+spec.group'
            out.invalid(Path("metadata", "name"), obj["metadata"].get("name", ""), detail)
        for name in ("plural", "kind"):
            if not called.get(name):
                out.required(path / "names" / name, "")
        if spec.get("scope") not in ("Cluster", "Namespaced"):
            out.not_supported(path / "scope", spec.get("scope", ""), ("Cluster", "Namespaced"))
        versions = spec.get("versions") or []
        if sum(bool(v.get("storage")) for v in versions) != 1:
            detail = "must have exactly one version marked as storage version"
            out.invalid(path / "versions", versions, detail)
        for index, version in enumerate(versions):
            if not (version.get("schema") or {}).get("openAPIV3Schema"):
                out.required(path / "versions" @ index / "schema" / "openAPIV3Schema", "schemas are required")
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], meta.get("creationTimestamp")]
