"""What both webhook configurations have in common.

Source: kubernetes/pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go
"""

from __future__ import annotations

from typing import Any

from sampan.api import names
from sampan.api.admissionregistration_v1.rules import (
    FAILURE_POLICIES,
    MATCH_POLICIES,
    AdmissionKind,
    default_rules,
    validate_conditions,
    validate_rule,
)
from sampan.api.field import ErrorList, Path
from sampan.api.kind import AGE, NAME, Cell, Column, Obj
from sampan.api.table import age
from sampan.api.validation.meta import validate_label_selector
from sampan.api.validation.webhook import validate_webhook_service, validate_webhook_url

REVIEW_VERSIONS = ("v1", "v1beta1")
SIDE_EFFECTS = ("None", "NoneOnDryRun", "Some", "Unknown")
HARMLESS = ("None", "NoneOnDryRun")
REINVOCATION = ("IfNeeded", "Never")
WEBHOOKS = Path("webhooks")


class Webhooks(AdmissionKind):
    slow_checks = True
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
            default_rules(hook.get("rules"))
            service = (hook.get("clientConfig") or {}).get("service")
            if service is not None:
                service.setdefault("port", 443)

    def validate(self, obj: Obj) -> ErrorList:
        return self._check(obj, [])

    def validate_update(self, obj: Obj, old: Obj) -> ErrorList:
        """What was let in before rules became stricter may stay."""
        return self._check(obj, old.get("webhooks") or [])

    def _check(self, obj: Obj, before: list[Obj]) -> ErrorList:
        out = ErrorList()
        hooks = obj.get("webhooks") or []
        unique = len({hook.get("name") for hook in before}) == len(before)
        harmless = all(hook.get("sideEffects") in HARMLESS for hook in before)
        known = all(
            set(hook.get("admissionReviewVersions") or REVIEW_VERSIONS) & set(REVIEW_VERSIONS) for hook in before
        )
        strict = not any(_selector_problems(hook, False) for hook in before)
        same = [hook.get("matchConditions") for hook in hooks] == [hook.get("matchConditions") for hook in before]
        seen: set[str] = set()
        for index, hook in enumerate(hooks):
            path = WEBHOOKS @ index
            self._hook(hook, path, harmless, strict, out)
            if not same:
                validate_conditions(hook.get("matchConditions") or (), path / "matchConditions", _condition, out)
            _versions(hook.get("admissionReviewVersions") or [], path / "admissionReviewVersions", known, out)
            name = hook.get("name", "")
            if unique and name and name in seen:
                out.duplicate(path / "name", name)
            seen.add(name)
        return out

    def _hook(self, hook: Obj, path: Path, harmless: bool, strict: bool, out: ErrorList) -> None:
        name = hook.get("name", "")
        if not name:
            out.required(path / "name", "")
        else:
            for problem in names.is_fully_qualified_name(name):
                out.invalid(path / "name", name, problem)
        for index, rule in enumerate(hook.get("rules") or ()):
            validate_rule(rule, path / "rules" @ index, out)
        _one_of(hook, "failurePolicy", FAILURE_POLICIES, path, out)
        _one_of(hook, "matchPolicy", MATCH_POLICIES, path, out)
        effects = HARMLESS if harmless else SIDE_EFFECTS
        if hook.get("sideEffects") is None:
            out.required(path / "sideEffects", f"must specify one of {', '.join(effects)}")
        _one_of(hook, "sideEffects", effects, path, out)
        timeout = hook.get("timeoutSeconds")
        if timeout is not None and not 1 <= timeout <= 30:
            out.invalid(path / "timeoutSeconds", timeout, "the timeout value must be between 1 and 30 seconds")
        out.extend(_selector_problems(hook, not strict, path))
        if self.reinvocation:
            _one_of(hook, "reinvocationPolicy", REINVOCATION, path, out)
        config, here = hook.get("clientConfig") or {}, path / "clientConfig"
        url, service = config.get("url"), config.get("service")
        if (url is None) == (service is None):
            out.required(here, "exactly one of url or service is required")
        elif url is not None:
            validate_webhook_url(url, here / "url", out)
        elif service is not None:
            validate_webhook_service(service, here / "service", out)

    def row(self, obj: Obj, now: float) -> list[Cell]:
        meta = obj["metadata"]
        return [meta["name"], len(obj.get("webhooks") or ()), age(meta.get("creationTimestamp"), now)]


def _one_of(hook: Obj, name: str, allowed: tuple[str, ...], path: Path, out: ErrorList) -> None:
    value: Any = hook.get(name)
    if value is not None and value not in allowed:
        out.not_supported(path / name, value, allowed)


def _selector_problems(hook: Obj, allow_invalid_values: bool, path: Path | None = None) -> ErrorList:
    path = path or Path("")
    out = validate_label_selector(hook.get("namespaceSelector"), path / "namespaceSelector", allow_invalid_values)
    out.extend(validate_label_selector(hook.get("objectSelector"), path / "objectSelector", allow_invalid_values))
    return out


def _versions(versions: list[str], path: Path, known: bool, out: ErrorList) -> None:
    listed = ", ".join(REVIEW_VERSIONS)
    if not versions:
        out.required(path, f"must specify one of {listed}")
        return
    seen: set[str] = set()
    for index, version in enumerate(versions):
        if version in seen:
            out.invalid(path @ index, version, "duplicate version")
            continue
        seen.add(version)
        for problem in names.is_dns1035_label(version):
            out.invalid(path @ index, version, problem)
    if known and not seen & set(REVIEW_VERSIONS):
        out.invalid(path, versions, f"must include at least one of {listed}")


def _condition(expression: str, path: Path, out: ErrorList) -> None:
    # compiling takes a library that most servers never need
    from sampan.api.admissionregistration_v1.expressions import check_condition

    check_condition(expression, path, out)
