"""CustomResourceDefinition.

Source: apiextensions-apiserver/pkg/registry/customresourcedefinition/{strategy,etcd}.go; pkg/apis/apiextensions/v1/
defaults.go
"""

from __future__ import annotations

from typing import Any

from sampan.api.field import ErrorList, Path
from sampan.api.kind import NAME, Cell, Column, Context, Kind, Obj

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
PENDING = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
STATUS = Path("status")


class CustomResourceDefinition(Kind):
    unconditional_update = False
    slow_checks = True
    has_status = True
    columns = (NAME, Column("Group"), Column("Scope"), Column("Versions"), Column("Created At", "date"))

    def default(self, obj: Obj) -> None:
        spec = obj.setdefault("spec", {})
        called = spec.setdefault("names", {})
        if not called.get("singular"):
            called["singular"] = called.get("kind", "").lower()
        if not called.get("listKind") and called.get("kind"):
            called["listKind"] = called["kind"] + "List"
        conversion = spec.setdefault("conversion", {})
        if not conversion.get("strategy"):
            conversion["strategy"] = "None"
        service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def prepare_for_create(self, obj: Obj, ctx: Context) -> None:
        stored = [v["name"] for v in obj["spec"].get("versions") or () if v.get("storage")]
        empty = {"plural": "", "kind": ""}
        obj["status"] = {"conditions": None, "acceptedNames": empty, "storedVersions": stored}

    def prepare_for_update(self, obj: Obj, old: Obj, ctx: Context) -> None:
        """A new storage version is one that objects may be stored in from now on."""
        status = obj.get("status") or {}
        stored = status.get("storedVersions") or []
        storage = next((v["name"] for v in obj["spec"].get("versions") or () if v.get("storage")), None)
        if storage and storage not in stored:
            obj["status"] = {**status, "storedVersions": [*stored, storage]}

    def reset_fields(self, subresource: str) -> tuple[str, ...]:
        # /status changes metadata all the same: upstream takes it from the new object where it means the old one
        return ("metadata", "spec") if subresource == "status" else super().reset_fields(subresource)

    def prepare_for_delete(self, obj: Obj, ctx: Context) -> Obj:
        """Its instances go first."""
        finalizers = obj["metadata"].get("finalizers") or []
        if CLEANUP not in finalizers:
            finalizers = [*finalizers, CLEANUP]
        kept = [item for item in obj["status"].get("conditions") or () if item["type"] != "Terminating"]
        pending: dict[str, Any] = {
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": ctx.now,
            "reason": "InstanceDeletionPending",
            "message": PENDING,
        }
        metadata = {**obj["metadata"], "finalizers": finalizers}
        return {**obj, "metadata": metadata, "status": {**obj["status"], "conditions": [*kept, pending]}}

    def validate(self, obj: Obj) -> ErrorList:
        return self._validate(obj, None)

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        out = self._validate(obj, old)
        spec, before = obj["spec"], old["spec"]
        path = Path("spec")
        conditions = old["status"].get("conditions") or ()
        fixed = [("group",), ("names", "plural")]
        if any(item["type"] == "Established" and item["status"] == "True" for item in conditions):
            fixed = [("scope",), ("names", "kind"), *fixed]
        for steps in fixed:
            new_value: Any = spec
            old_value: Any = before
            here = path
            for step in steps:
                new_value, old_value, here = new_value.get(step, ""), old_value.get(step, ""), here / step
                if isinstance(new_value, str) and new_value != old_value:
                    out.invalid(here, new_value, "field is immutable")
        return out

    def _validate(self, obj: Obj, old: Obj | None) -> ErrorList:
        from sampan.api.customresource.approval import check_approval
        from sampan.api.customresource.definition import check_names, check_spec

        out = ErrorList()
        spec = obj["spec"]
        called = spec.get("names") or {}
        name = obj["metadata"].get("name", "")
        if old is None and name != f"{called.get('plural', '')}.{spec.get('group', '')}":
            out.invalid(Path("metadata", "name"), name, 'must be spec.names.plural+"."+spec.group')
        check_spec(spec, out, old["spec"] if old is not None else None)
        check_names(obj["status"].get("acceptedNames") or {}, STATUS / "acceptedNames", out)
        _stored_versions(obj, out)
        check_approval(obj, old, out)
        if spec.get("preserveUnknownFields"):
            detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
            out.invalid(Path("spec", "preserveUnknownFields"), True, detail)
        return out

    def validate_status_update(self, obj: Obj, old: Obj) -> ErrorList:
        from sampan.api.customresource.definition import check_names

        out = ErrorList()
        check_names(obj["status"].get("acceptedNames") or {}, STATUS / "acceptedNames", out)
        _stored_versions(obj, out)
        return out

    def warnings(self, obj: Obj, old: Obj | None) -> list[str]:
        """Formats that nobody knows are annotations, which may not be what was meant."""
        from sampan.api.customresource.openapi import unknown_formats

        if old is not None and old["spec"] == obj["spec"]:
            return []
        known = unknown_formats(old["spec"]) if old is not None else ()
        return [text for text in unknown_formats(obj["spec"]) if text not in known]

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj["spec"]
        served = ",".join(version["name"] for version in spec.get("versions") or () if version.get("served"))
        return [meta["name"], spec.get("group", ""), spec.get("scope", ""), served, meta.get("creationTimestamp")]


def _stored_versions(obj: Obj, out: ErrorList) -> None:
    stored = obj["status"].get("storedVersions") or []
    path = STATUS / "storedVersions"
    if not stored:
        out.invalid(path, stored, "must have at least one stored version")
        return
    declared = {item.get("name", ""): item for item in obj["spec"].get("versions") or ()}
    for name, item in declared.items():
        if item.get("storage") and name not in stored:
            out.invalid(path, stored, f"must have the storage version {name}")
    for index, name in enumerate(stored):
        if name not in declared:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            out.invalid(path @ index, name, detail)
