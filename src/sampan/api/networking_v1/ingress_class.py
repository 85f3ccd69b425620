"""IngressClass.

Source: kubernetes/pkg/apis/networking/v1/defaults.go; printIngressClass
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age
from sampan.api.validation.meta import validate_immutable
from sampan.api.validation.workload import SPEC

MAX_CONTROLLER = 250


class IngressClass(Kind):
    columns = (NAME, Column("Controller"), Column("Parameters"), AGE)

    def default(self, obj: Obj) -> None:
        parameters = (obj.get("spec") or {}).get("parameters")
        if parameters is not None and not parameters.get("scope"):
            parameters["scope"] = "Cluster"

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        controller, here = spec.get("controller", ""), SPEC / "controller"
        if not controller:
            out.required(here, "")
        elif len(controller.encode()) > MAX_CONTROLLER:
            out.too_long(here, MAX_CONTROLLER)
        else:
            out.each(here, controller, names.is_domain_prefixed_path(controller))
        if spec.get("parameters") is not None:
            _parameters(spec["parameters"], SPEC / "parameters", out)
        return out

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        new, was = ((item.get("spec") or {}).get("controller", "") for item in (obj, old))
        out = validate_immutable(new, was, SPEC / "controller")
        out.extend(self.validate(obj))
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec = obj["metadata"], obj.get("spec") or {}
        parameters = spec.get("parameters")
        shown = NONE
        if parameters:
            group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
            shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
        return [meta["name"], spec.get("controller", ""), shown, age(meta.get("creationTimestamp"), now)]


def _parameters(parameters: Obj, path: Path, out: ErrorList) -> None:
    group, scope, namespace = parameters.get("apiGroup"), parameters.get("scope"), parameters.get("namespace")
    if group is not None:
        out.each(path / "apiGroup", group, names.is_dns1123_subdomain(group))
    for field in ("kind", "name"):
        value = parameters.get(field, "")
        if not value:
            out.required(path / field, "")
        else:
            out.each(path / field, value, names.path_segment_name(value))
    if scope is None:
        out.required(path / "scope", "")
        return
    if scope not in ("Cluster", "Namespace"):
        out.not_supported(path / "scope", scope, ("Cluster", "Namespace"))
    elif scope == "Cluster" and namespace is not None:
        out.forbidden(path / "namespace", "`parameters.scope` is set to 'Cluster'")
    elif scope == "Namespace" and not namespace:
        out.required(path / "namespace", "`parameters.scope` is set to 'Namespace'")
    elif scope == "Namespace":
        out.each(path / "namespace", namespace, names.is_dns1123_label(namespace or ""))
