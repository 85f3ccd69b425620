"""Ingress.

Source: kubernetes/pkg/registry/networking/ingress/strategy.go; ValidateIngress; printIngress
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import NONE, age

SPEC = Path("spec")
TYPES = ("Exact", "ImplementationSpecific", "Prefix")


class Ingress(Kind):
    has_status = True
    columns = (NAME, Column("Class"), Column("Hosts"), Column("Address"), Column("Ports"), AGE)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        spec = obj.get("spec") or {}
        if not spec.get("rules") and spec.get("defaultBackend") is None:
            out.invalid(SPEC, spec.get("rules") or [], "either `defaultBackend` or `rules` must be specified")
        if spec.get("defaultBackend") is not None:
            _backend(spec["defaultBackend"], SPEC / "defaultBackend", out)
        for index, rule in enumerate(spec.get("rules") or ()):
            here = SPEC / "rules" @ index
            host = rule.get("host", "")
            if host:
                check = names.is_wildcard_dns1123_subdomain if "*" in host else names.is_dns1123_subdomain
                for problem in check(host):
                    out.invalid(here / "host", host, problem)
            paths = (rule.get("http") or {}).get("paths")
            if rule.get("http") is not None and not paths:
                out.required(here / "http" / "paths", "")
            for at, path in enumerate(paths or ()):
                _path(path, here / "http" / "paths" @ at, out)
        return out

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
        hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
        shown = ",".join(hosts[:3]) + (f" + {len(hosts) - 3} more..." if len(hosts) > 3 else "") if hosts else "*"
        ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
        return [
            meta["name"],
            spec.get("ingressClassName") or NONE,
            shown,
            ",".join(item.get("ip") or item.get("hostname") or "" for item in ingress),
            "80, 443" if spec.get("tls") else "80",
            age(meta.get("creationTimestamp"), now),
        ]


def _backend(backend: Obj, path: Path, out: ErrorList) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.invalid(path, "", "cannot set both resource and service backends")
    elif service is None and resource is None:
        out.required(path, "resource or service backend is required")
    elif service is not None:
        if not service.get("name"):
            out.required(path / "service" / "name", "")
        port = service.get("port") or {}
        if port.get("name") and port.get("number"):
            out.invalid(path / "service" / "port", port, "cannot set both port name & port number")
        elif not port.get("name") and not port.get("number"):
            out.required(path / "service" / "port", "port name or number is required")
        elif port.get("number"):
            for problem in names.is_valid_port_num(port["number"]):
                out.invalid(path / "service" / "port" / "number", port["number"], problem)


def _path(item: Obj, path: Path, out: ErrorList) -> None:
    kind, text = item.get("pathType"), item.get("path", "")
    if kind is None:
        out.required(path / "pathType", "pathType must be specified")
    elif kind not in TYPES:
        out.not_supported(path / "pathType", kind, TYPES)
    elif kind != "ImplementationSpecific" and not text.startswith("/"):
        out.invalid(path / "path", text, "must be an absolute path")
    _backend(item.get("backend") or {}, path / "backend", out)
