"""Ingresses: hosts, paths and what is behind them.

Source: kubernetes/pkg/apis/networking/validation/validation.go (ValidateIngressSpec, validateIngressBackend)
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation import ips
from sampan.api.validation.services import host_name
from sampan.api.validation.workload import SPEC

TYPES = ("Exact", "ImplementationSpecific", "Prefix")
CLASS = "kubernetes.io/ingress.class"
_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_SUFFIXES = ("/..", "/.")


def ingress_spec(spec: Obj, out: ErrorList) -> None:
    rules = spec.get("rules") or []
    if not rules and spec.get("defaultBackend") is None:
        out.invalid(SPEC, rules, "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend") is not None:
        _backend(spec["defaultBackend"], SPEC / "defaultBackend", out)
    for index, rule in enumerate(rules):
        _rule(rule, SPEC / "rules" @ index, out)
    for index, item in enumerate(spec.get("tls") or ()):
        here = SPEC / "tls" @ index
        for at, host in enumerate(item.get("hosts") or ()):
            out.each(here / "hosts" @ at, host, _host_problems(host))
        secret = item.get("secretName")
        if secret:
            out.each(here / "secretName", secret, names.is_dns1123_subdomain(secret))
    if spec.get("ingressClassName") is not None:
        name = spec["ingressClassName"]
        out.each(SPEC / "ingressClassName", name, names.is_dns1123_subdomain(name))


def _host_problems(host: str) -> list[str]:
    return names.is_wildcard_dns1123_subdomain(host) if "*" in host else names.is_dns1123_subdomain(host)


def _rule(rule: Obj, path: Path, out: ErrorList) -> None:
    host, http = rule.get("host", ""), rule.get("http")
    if host:
        if ips.parse_ip(host) is not None:
            out.invalid(path / "host", host, "must be a DNS name, not an IP address")
        out.each(path / "host", host, _host_problems(host))
    if http is None:
        return
    here = path / "http" / "paths"
    if not http.get("paths"):
        out.required(here, "")
    for index, item in enumerate(http.get("paths") or ()):
        _path(item, here @ index, out)


def _path(item: Obj, path: Path, out: ErrorList) -> None:
    kind, text, here = item.get("pathType"), item.get("path", ""), path / "path"
    if kind is None:
        out.required(path / "pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            out.invalid(here, text, "must be an absolute path")
        if text:
            for sequence in _SEQUENCES:
                if sequence in text:
                    out.invalid(here, text, f"must not contain '{sequence}'")
            for suffix in _SUFFIXES:
                if text.endswith(suffix):
                    out.invalid(here, text, f"cannot end with '{suffix}'")
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            out.invalid(here, text, "must be an absolute path")
    else:
        out.not_supported(path / "pathType", kind, TYPES)
    _backend(item.get("backend") or {}, path / "backend", out)


def _backend(backend: Obj, path: Path, out: ErrorList) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        _resource(resource, path / "resource", out)
    elif service is None:
        out.invalid(path, "", "resource or service backend is required")
    else:
        _service(service, path, out)


def _service(service: Obj, path: Path, out: ErrorList) -> None:
    name, port = service.get("name", ""), service.get("port") or {}
    if not name:
        out.required(path / "service" / "name", "")
    else:
        out.each(path / "service" / "name", name, names.is_dns1123_label(name))
    at = path / "service" / "port"
    if port.get("name") and port.get("number"):
        out.invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        out.each(at / "name", port["name"], names.is_valid_port_name(port["name"]))
    elif port.get("number"):
        out.each(at / "number", port["number"], names.is_valid_port_num(port["number"]))
    else:
        out.required(path, "port name or number is required")


def _resource(resource: Obj, path: Path, out: ErrorList) -> None:
    group = resource.get("apiGroup")
    if group:
        out.each(path / "apiGroup", group, names.is_dns1123_subdomain(group))
    for field in ("kind", "name"):
        value = resource.get(field, "")
        if not value:
            out.required(path / field, "")
        else:
            out.each(path / field, value, names.path_segment_name(value))


def new_ingress(obj: Obj, out: ErrorList) -> None:
    """What only a new one must keep to."""
    old = (obj["metadata"].get("annotations") or {}).get(CLASS)
    named = (obj.get("spec") or {}).get("ingressClassName")
    if old is not None and named is not None and old != named:
        detail = "must match `ingressClassName` when both are specified"
        out.invalid(Path("annotations") / CLASS, old, detail)


def ingress_status(obj: Obj, old: Obj, out: ErrorList) -> None:
    balancer, was = ((each.get("status") or {}).get("loadBalancer") or {} for each in (obj, old))
    known = [item.get("ip", "") for item in was.get("ingress") or ()]
    here = Path("status", "loadBalancer", "ingress")
    for index, item in enumerate(balancer.get("ingress") or ()):
        if item.get("ip"):
            out.each(here @ index / "ip", item["ip"], ips.legacy_ip(item["ip"], known))
        host_name(item.get("hostname", ""), here @ index / "hostname", out)
