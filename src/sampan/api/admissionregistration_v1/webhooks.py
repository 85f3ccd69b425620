"""What both webhook configurations have in common.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Kind, Obj
from sampan.api.table import age


class Webhooks(Kind):
    columns = (NAME, Column("Webhooks", "integer"), AGE)
    reinvocation = False

    def default(self, obj: Obj) -> None:
        for hook in obj.get("webhooks") or ():
            for name, value in (("failurePolicy", "Fail"), ("matchPolicy", "Equivalent"), ("timeoutSeconds", 10)):
                hook.setdefault(name, value)
            hook.setdefault("namespaceSelector", {})
            hook.setdefault("objectSelector", {})
            if self.reinvocation:
                hook.setdefault("reinvocationPolicy", "Never")
            for rule in hook.get("rules") or ():
                rule.setdefault("scope", "*")
            service = (hook.get("clientConfig") or {}).get("service")
            if service is not None:
                service.setdefault("port", 443)

    def validate(self, obj: Obj) -> ErrorList:
        out = ErrorList()
        seen: set[str] = set()
        for index, hook in enumerate(obj.get("webhooks") or ()):
            self._hook(hook, Path("webhooks") @ index, seen, out)
        return out

    def _hook(self, hook: Obj, path: Path, seen: set[str], out: ErrorList) -> None:
        name = hook.get("name", "")
        for problem in names.is_fully_qualified_name(name):
            out.invalid(path / "name", name, problem)
        if name in seen:
            out.duplicate(path / "name", name)
        seen.add(name)
        if not hook.get("admissionReviewVersions"):
            out.required(path / "admissionReviewVersions", "must specify one of v1, v1beta1")
        if hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            out.not_supported(path / "sideEffects", hook.get("sideEffects") or "", ("None", "NoneOnDryRun"))
        if hook.get("failurePolicy") not in ("Fail", "Ignore"):
            out.not_supported(path / "failurePolicy", hook.get("failurePolicy"), ("Fail", "Ignore"))
        if not 1 <= hook.get("timeoutSeconds", 10) <= 30:
            out.invalid(
                path / "timeoutSeconds", hook["timeoutSeconds"], "the timeout value must be between 1 and 30 seconds"
            )
        config = hook.get("clientConfig") or {}
        if (config.get("url") is None) == (config.get("service") is None):
            out.required(path / "clientConfig", "exactly one of url or service is required")
        elif config.get("url") is not None and not config["url"].startswith("https://"):
            out.invalid(path / "clientConfig" / "url", config["url"], "'https' is the only allowed URL scheme")

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], len(obj.get("webhooks") or ()), age(meta.get("creationTimestamp"), now)]
