"""Kinds of resource.k8s.io: requests for devices, and the devices there are.

Source: kubernetes/pkg/apis/resource/validation/validation.go
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.resources import is_extended
from sampan.api.validation.scheduling import node_selector

MAX_REQUESTS, MAX_SUBREQUESTS, MAX_SELECTORS, MAX_CONSTRAINTS, MAX_CONFIGS = 32, 8, 32, 32, 32
MAX_DEVICES, MAX_DETAILED, MAX_ATTRIBUTES, MAX_EXPRESSION = 128, 64, 32, 10 * 1024
MAX_OPAQUE, MAX_DRIVER, MAX_TOLERATIONS = 10 * 1024, 63, 16
_EFFECTS = ("NoSchedule", "NoExecute", "None")


def _many(items: Sequence[Any], most: int, path: Path, out: ErrorList) -> bool:
    if len(items) > most:
        out.too_many(path, len(items), most)
    return len(items) <= most


def _name(name: str, path: Path, out: ErrorList) -> None:
    if not name:
        out.required(path, "")
    else:
        out.each(path, name, names.is_dns1123_label(name))


def driver_name(name: str, path: Path, out: ErrorList) -> None:
    if not name:
        out.required(path, "")
        return
    if len(name.encode()) > MAX_DRIVER:
        out.too_long(path, MAX_DRIVER)
    out.each(path, name.lower(), names.is_dns1123_subdomain(name.lower()))


# -- claims ------------------------------------------------------------------------------------------------------------


def claim_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    devices, here = spec.get("devices") or {}, path / "devices"
    requests = devices.get("requests") or []
    known = _request_names(requests)
    if _many(requests, MAX_REQUESTS, here / "requests", out):
        seen: set[str] = set()
        for index, request in enumerate(requests):
            at, name = here / "requests" @ index, request.get("name", "")
            if name in seen:
                out.duplicate(at, name)
            seen.add(name)
            _request(request, at, out)
    constraints = devices.get("constraints") or []
    if _many(constraints, MAX_CONSTRAINTS, here / "constraints", out):
        for index, constraint in enumerate(constraints):
            _constraint(constraint, known, here / "constraints" @ index, out)
    configs = devices.get("config") or []
    if _many(configs, MAX_CONFIGS, here / "config", out):
        for index, config in enumerate(configs):
            at = here / "config" @ index
            _references(config.get("requests") or [], known, at / "requests", out)
            _config(config, at, out)


def _request_names(requests: Sequence[Obj]) -> set[str]:
    found = set()
    for request in requests:
        name = request.get("name", "")
        found.add(name)
        found.update(f"{name}/{sub.get('name', '')}" for sub in request.get("firstAvailable") or ())
    return found


def _request(request: Obj, path: Path, out: ErrorList) -> None:
    _name(request.get("name", ""), path / "name", out)
    exactly, first = request.get("exactly"), request.get("firstAvailable") or []
    wanted = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not first:
        out.required(path, wanted)
    elif exactly is not None and first:
        out.invalid(path, request, f"{wanted}, but multiple fields are set")
    if first and _many(first, MAX_SUBREQUESTS, path / "firstAvailable", out):
        seen: set[str] = set()
        for index, sub in enumerate(first):
            here, name = path / "firstAvailable" @ index, sub.get("name", "")
            _name(name, here / "name", out)
            if name in seen:
                out.duplicate(here, name)
            seen.add(name)
            _devices_of(sub, here, out)
    if exactly is not None:
        _devices_of(exactly, path / "exactly", out)


def _devices_of(request: Obj, path: Path, out: ErrorList) -> None:
    name, mode, count = request.get("deviceClassName", ""), request.get("allocationMode", ""), request.get("count", 0)
    if not name:
        out.required(path / "deviceClassName", "")
    else:
        out.each(path / "deviceClassName", name, names.is_dns1123_subdomain(name))
    selectors(request.get("selectors") or [], path / "selectors", out)
    if mode == "All":
        if count:
            out.invalid(path / "count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount":
        if count <= 0:
            out.invalid(path / "count", count, "must be greater than zero")
    else:
        out.not_supported(path / "allocationMode", mode, ("All", "ExactCount"))
    tolerations = request.get("tolerations") or []
    if _many(tolerations, MAX_TOLERATIONS, path / "tolerations", out):
        for index, item in enumerate(tolerations):
            _toleration(item, path / "tolerations" @ index, out)


def _toleration(item: Obj, path: Path, out: ErrorList) -> None:
    key, operator, value, effect = (item.get(name, "") for name in ("key", "operator", "value", "effect"))
    if key:
        out.each(path / "key", key, names.is_qualified_name(key))
    if operator == "Exists":
        if value:
            out.invalid(path / "value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        out.each(path / "value", value, names.is_valid_label_value(value))
    else:
        out.not_supported(path / "operator", operator, ("Equal", "Exists"))
    if effect and effect not in _EFFECTS:
        out.not_supported(path / "effect", effect, frozenset(_EFFECTS))


def selectors(items: Sequence[Obj], path: Path, out: ErrorList) -> None:
    if not _many(items, MAX_SELECTORS, path, out):
        return
    for index, item in enumerate(items):
        here, cel = path @ index / "cel", item.get("cel")
        if cel is None:
            out.required(here, "")
        elif len(cel.get("expression", "").encode()) > MAX_EXPRESSION:
            out.too_long(here / "expression", MAX_EXPRESSION)


def _constraint(constraint: Obj, known: set[str], path: Path, out: ErrorList) -> None:
    _references(constraint.get("requests") or [], known, path / "requests", out)
    match, distinct = constraint.get("matchAttribute"), constraint.get("distinctAttribute")
    if match is None and distinct is None:
        out.required(path / "matchAttribute", "")
    for field, name in (("matchAttribute", match), ("distinctAttribute", distinct)):
        if name is not None:
            _attribute_name(name, path / field, out)


def _attribute_name(name: str, path: Path, out: ErrorList) -> None:
    domain, slash, rest = name.partition("/")
    if not name:
        out.required(path, "name required")
    elif not slash:
        out.invalid(path, name, "must include a domain")
    else:
        if not domain:
            out.required(path, "the domain must not be empty")
        else:
            driver_name(domain, path, out)
        if not rest:
            out.required(path, "the name must not be empty")
        else:
            _identifier(rest, path, out)


def _identifier(name: str, path: Path, out: ErrorList) -> None:
    if len(name.encode()) > 32:
        out.too_long(path, 32)
    out.each(path, name, names.is_c_identifier(name))


def _references(given: Sequence[str], known: set[str], path: Path, out: ErrorList) -> None:
    if not _many(given, MAX_REQUESTS, path, out):
        return
    seen: set[str] = set()
    for index, name in enumerate(given):
        here = path @ index
        if name in seen:
            out.duplicate(here, name)
        seen.add(name)
        problems = [problem for part in name.split("/", 1) for problem in names.is_dns1123_label(part)]
        out.each(here, name, problems)
        if not problems and name not in known:
            detail = (
                "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
            )
            out.invalid(here, name, detail)


def _config(config: Obj, path: Path, out: ErrorList) -> None:
    opaque, here = config.get("opaque"), path / "opaque"
    if opaque is None:
        out.required(here, "")
        return
    driver_name(opaque.get("driver", ""), here / "driver", out)
    parameters = opaque.get("parameters")
    if parameters is None:
        out.required(here / "parameters", "")
    elif not isinstance(parameters, dict):
        out.invalid(here / "parameters", "<value omitted>", "parameters must be a valid JSON object")


# -- classes and slices ------------------------------------------------------------------------------------------------


def class_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    selectors(spec.get("selectors") or [], path / "selectors", out)
    configs = spec.get("config") or []
    if _many(configs, MAX_CONFIGS, path / "config", out):
        for index, config in enumerate(configs):
            _config(config, path / "config" @ index, out)
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        out.invalid(path / "extendedResourceName", name, "must be a valid extended resource name")


def slice_spec(spec: Obj, path: Path, out: ErrorList) -> None:
    driver_name(spec.get("driver", ""), path / "driver", out)
    _pool(spec.get("pool") or {}, path / "pool", out)
    _where(spec, path, out)
    devices, here = spec.get("devices") or [], path / "devices"
    detailed = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    if _many(devices, MAX_DETAILED if detailed else MAX_DEVICES, here, out):
        seen: set[str] = set()
        for index, device in enumerate(devices):
            at, name = here @ index, device.get("name", "")
            if name in seen:
                out.duplicate(at, name)
            seen.add(name)
            _device(device, at, out)


def _pool(pool: Obj, path: Path, out: ErrorList) -> None:
    name = pool.get("name", "")
    if not name:
        out.required(path / "name", "")
    else:
        if len(name) > 253:
            out.too_long(path / "name", 253)
        for part in name.split("/"):
            out.each(path / "name", part, names.is_dns1123_subdomain(part))
    if pool.get("resourceSliceCount", 0) <= 0:
        out.invalid(path / "resourceSliceCount", pool.get("resourceSliceCount", 0), "must be greater than zero")
    if pool.get("generation", 0) < 0:
        detail = "must be greater than or equal to zero"
        out.invalid(path / "generation", pool["generation"], detail)


def _where(spec: Obj, path: Path, out: ErrorList) -> None:
    """Exactly one way to say on which nodes."""
    fields = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
    given = [name for name in fields if spec.get(name)]
    if spec.get("nodeName"):
        out.each(path / "nodeName", spec["nodeName"], names.is_dns1123_subdomain(spec["nodeName"]))
    if spec.get("nodeSelector") is not None:
        _one_term(spec["nodeSelector"], path / "nodeSelector", out)
    listed = ", ".join(f"`{name}`" for name in fields)
    detail = f"exactly one of {listed} is required"
    if not given:
        out.required(path, detail)
    elif len(given) > 1:
        shown = "{" + ", ".join(given) + "}"
        out.invalid(path, shown, f"{detail}, but multiple fields are set")


def _one_term(selector: Obj, path: Path, out: ErrorList) -> None:
    node_selector(selector, path, out)
    terms = selector.get("nodeSelectorTerms") or []
    if len(terms) != 1:
        out.invalid(path / "nodeSelectorTerms", terms, "must have exactly one node selector term")


def _device(device: Obj, path: Path, out: ErrorList) -> None:
    _name(device.get("name", ""), path / "name", out)
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    total = len(attributes) + len(capacity)
    if total > MAX_ATTRIBUTES:
        detail = f"the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}"
        out.invalid(path, total, detail)
    for name in sorted(attributes):
        here = path / "attributes" @ name
        _own_name(name, here, out)
        _attribute(attributes[name], here, out)
    for name in sorted(capacity):
        _own_name(name, path / "capacity" @ name, out)
    for index, taint in enumerate(device.get("taints") or ()):
        device_taint(taint, path / "taints" @ index, out)


def _own_name(name: str, path: Path, out: ErrorList) -> None:
    """With a domain, or without: then it is the driver's."""
    if "/" in name:
        _attribute_name(name, path, out)
    elif not name:
        out.required(path, "name required")
    else:
        _identifier(name, path, out)


def _attribute(value: Obj, path: Path, out: ErrorList) -> None:
    given = [kind for kind in ("bool", "int", "string", "version") if value.get(kind) is not None]
    if not given:
        out.required(path, "exactly one value must be specified")
    elif len(given) > 1:
        out.invalid(path, value, "exactly one value must be specified")
    for kind in ("string", "version"):
        if len((value.get(kind) or "").encode()) > 64:
            out.too_long(path / kind, 64)


def device_taint(taint: Obj, path: Path, out: ErrorList) -> None:
    key, value, effect = (taint.get(name, "") for name in ("key", "value", "effect"))
    out.each(path / "key", key, names.is_qualified_name(key))
    if value:
        out.each(path / "value", value, names.is_valid_label_value(value))
    if not effect:
        out.required(path / "effect", "")
    elif effect not in _EFFECTS:
        out.not_supported(path / "effect", effect, frozenset(_EFFECTS))


def taint_rule(spec: Obj, path: Path, out: ErrorList) -> None:
    selector = spec.get("deviceSelector")
    if selector is not None:
        here = path / "deviceSelector"
        if selector.get("driver") is not None:
            driver_name(selector["driver"], here / "driver", out)
        if selector.get("pool") is not None:
            for part in selector["pool"].split("/"):
                out.each(here / "pool", part, names.is_dns1123_subdomain(part))
        if selector.get("device") is not None:
            out.each(here / "device", selector["device"], names.is_dns1123_label(selector["device"]))
    device_taint(spec.get("taint") or {}, path / "taint", out)
