"""FlowSchemas and PriorityLevelConfigurations: which requests are one flow, and how many may run.

Source: kubernetes/pkg/apis/flowcontrol/validation/validation.go
"""

from __future__ import annotations

from math import ceil, log2

from sampan.api import names
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.validation.workload import SPEC, STATUS

VERBS = frozenset({
    "get", "list", "create", "update", "delete", "deletecollection", "patch", "watch", "proxy",
})  # fmt: skip
_SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
MAX_PRECEDENCE, MAX_QUEUES, MAX_BITS = 10000, 10_000_000, 60
_EXEMPT = "exempt"

_ALL = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def _groups(*groups: str) -> list[Obj]:
    return [{"kind": "Group", "group": {"name": name}} for name in groups]


#: what always is, as it is
FLOW_SCHEMAS: dict[str, Obj] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": [{"subjects": _groups("system:masters"), **_ALL}],
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": MAX_PRECEDENCE,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": _groups("system:unauthenticated", "system:authenticated"), **_ALL}],
    },
}
PRIORITY_LEVELS: dict[str, Obj] = {
    "exempt": {"type": "Exempt"},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}

# -- flow schemas ------------------------------------------------------------------------------------------------------


def flow_schema(obj: Obj, out: ErrorList) -> None:
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    precedence, here = spec.get("matchingPrecedence", 0), SPEC / "matchingPrecedence"
    if precedence <= 0:
        out.invalid(here, precedence, "must be a positive value")
    if precedence > MAX_PRECEDENCE:
        out.invalid(here, precedence, f"must not be greater than {MAX_PRECEDENCE}")
    if precedence == 1 and name != _EXEMPT:
        out.invalid(here, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type", "") not in ("ByNamespace", "ByUser"):
        out.not_supported(SPEC / "distinguisherMethod" / "type", method.get("type", ""), ("ByNamespace", "ByUser"))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name", "")
    here = SPEC / "priorityLevelConfiguration" / "name"
    if not level:
        out.required(here, "must reference a priority level")
    else:
        out.each(here, level, names.is_dns1123_subdomain(level))
    for index, rule in enumerate(spec.get("rules") or ()):
        _rules(rule, SPEC / "rules" @ index, out)
    if name in FLOW_SCHEMAS and spec != FLOW_SCHEMAS[name]:
        out.invalid(SPEC, spec, f"spec of '{name}' must equal the fixed value")


def _rules(rule: Obj, path: Path, out: ErrorList) -> None:
    subjects, resources, others = (rule.get(field) or [] for field in ("subjects", "resourceRules", "nonResourceRules"))
    if not subjects:
        out.required(path / "subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        _subject(subject, path / "subjects" @ index, out)
    if not resources and not others:
        out.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, item in enumerate(resources):
        _resource_rule(item, path / "resourceRules" @ index, out)
    for index, item in enumerate(others):
        _other_rule(item, path / "nonResourceRules" @ index, out)


def _subject(subject: Obj, path: Path, out: ErrorList) -> None:
    kind = subject.get("kind", "")
    if kind not in _SUBJECTS:
        out.not_supported(path / "kind", kind, ("Group", "ServiceAccount", "User"))
        return
    wanted = _SUBJECTS[kind]
    for other, field in _SUBJECTS.items():
        if field != wanted and subject.get(field) is not None:
            out.forbidden(path / field, f"{field} is forbidden when subject kind is not '{other}'")
    given = subject.get(wanted)
    if given is None:
        out.required(path / wanted, f"{wanted} is required when subject kind is '{kind}'")
        return
    here, name = path / wanted, given.get("name", "")
    if kind != "ServiceAccount":
        if not name:
            out.required(here / "name", "")
        return
    namespace = given.get("namespace", "")
    if not name:
        out.required(here / "name", "")
    elif name != "*":
        out.each(here / "name", name, names.is_dns1123_subdomain(name))
    if not namespace:
        out.required(here / "namespace", "must specify namespace for service account")
    else:
        out.each(here / "namespace", namespace, names.is_dns1123_label(namespace))


def _verbs(verbs: list[str], path: Path, out: ErrorList) -> None:
    if not verbs:
        out.required(path, "verbs must contain at least one value")
    elif "*" in verbs:
        if len(verbs) > 1:
            out.invalid(path, verbs, "if '*' is present, must not specify other verbs")
    elif not set(verbs) <= VERBS:
        # what is wrong is not told, nor in which order the right ones are
        out.not_supported(path, verbs, VERBS)


def _wildcard(values: list[str], path: Path, what: str, single: str, out: ErrorList) -> None:
    if not values:
        out.required(path, f"resource rules must supply at least one {single}")
    elif len(values) > 1 and "*" in values:
        out.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resource_rule(rule: Obj, path: Path, out: ErrorList) -> None:
    _verbs(rule.get("verbs") or [], path / "verbs", out)
    _wildcard(rule.get("apiGroups") or [], path / "apiGroups", "api groups", "api group", out)
    _wildcard(rule.get("resources") or [], path / "resources", "resources", "resource", out)
    namespaces, here = rule.get("namespaces") or [], path / "namespaces"
    if not namespaces and not rule.get("clusterScope"):
        detail = "resource rules that are not cluster scoped must supply at least one namespace"
        out.required(here, detail)
    elif "*" in namespaces:
        if len(namespaces) > 1:
            out.invalid(here, namespaces, "if '*' is present, must not specify other namespaces")
    else:
        for index, namespace in enumerate(namespaces):
            for problem in names.is_dns1123_label(namespace):
                out.invalid(here @ index, namespace, problem)


def _other_rule(rule: Obj, path: Path, out: ErrorList) -> None:
    _verbs(rule.get("verbs") or [], path / "verbs", out)
    urls, here = rule.get("nonResourceURLs") or [], path / "nonResourceURLs"
    if not urls:
        out.required(here, "nonResourceURLs must contain at least one value")
    elif "*" in urls:
        if len(urls) > 1:
            out.invalid(here, urls, "if '*' is present, must not specify other non-resource URLs")
    else:
        for index, url in enumerate(urls):
            _url(url, here @ index, out)


def _url(url: str, path: Path, out: ErrorList) -> None:
    if not url:
        out.invalid(path, url, "must not be empty")
    elif not url.startswith("/"):
        out.invalid(path, url, "must start with slash")
    elif " " in url:
        out.invalid(path, url, "must not contain white-space")
    elif url != "/" and "//" in url:
        out.invalid(path, url, "must not contain double slash")
    elif "*" in url.removesuffix("/*"):
        out.invalid(path, url, "wildcard can only do suffix matching")


# -- priority levels ---------------------------------------------------------------------------------------------------


def priority_level(obj: Obj, out: ErrorList) -> None:
    spec, name = obj["spec"], obj["metadata"].get("name", "")
    kind, limited, exempt = spec.get("type", ""), spec.get("limited"), spec.get("exempt")
    if (name == _EXEMPT) != (kind == "Exempt"):
        out.invalid(SPEC / "type", kind, "type must be 'Exempt' if and only if `name` is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            out.forbidden(SPEC / "limited", "must be nil if the type is not Limited")
        if exempt is not None:
            _shares(exempt, SPEC / "exempt", 0, out)
    elif kind == "Limited":
        if exempt is not None:
            out.forbidden(SPEC / "exempt", "must be nil if the type is Limited")
        if limited is None:
            out.required(SPEC / "limited", "must not be empty when type is Limited")
        else:
            _limited(limited, SPEC / "limited", out)
    else:
        out.not_supported(SPEC / "type", kind, ("Exempt", "Limited"))
    fixed = PRIORITY_LEVELS.get(name)
    if fixed is None:
        return
    if name == _EXEMPT:
        if {**spec, "exempt": None} != {**fixed, "exempt": None}:
            detail = f"spec of '{name}' except the spec.exempt field must equal the fixed value"
            out.invalid(SPEC, spec, detail)
    elif spec != fixed:
        out.invalid(SPEC, spec, f"spec of '{name}' must equal the fixed value")


def _shares(part: Obj, path: Path, default: int, out: ErrorList) -> None:
    shares, lent = part.get("nominalConcurrencyShares", default), part.get("lendablePercent")
    if shares is not None and shares < 0:
        out.invalid(path / "nominalConcurrencyShares", shares, "must be a non-negative integer")
    if lent is not None and not 0 <= lent <= 100:
        out.invalid(path / "lendablePercent", lent, "must be between 0 and 100, inclusive")


def _limited(part: Obj, path: Path, out: ErrorList) -> None:
    _shares(part, path, 30, out)
    borrowed = part.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        out.invalid(path / "borrowingLimitPercent", borrowed, "if specified, must be a non-negative integer")
    response, here = part.get("limitResponse") or {}, path / "limitResponse"
    kind, queuing = response.get("type", ""), response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            out.forbidden(here / "queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            out.required(here / "queuing", "must not be empty if limited.limitResponse.type is Limited")
        else:
            _queuing(queuing, here / "queuing", out)
    else:
        out.not_supported(here / "type", kind, ("Queue", "Reject"))


def _queuing(queuing: Obj, path: Path, out: ErrorList) -> None:
    length, queues, hand = (queuing.get(name, 0) for name in ("queueLengthLimit", "queues", "handSize"))
    for field, value in (("queueLengthLimit", length), ("queues", queues)):
        if value <= 0:
            out.invalid(path / field, value, "must be positive")
    if queues > MAX_QUEUES:
        out.invalid(path / "queues", queues, f"must not be greater than {MAX_QUEUES}")
    if hand <= 0:
        out.invalid(path / "handSize", hand, "must be positive")
    elif hand > queues:
        out.invalid(path / "handSize", hand, f"should not be greater than queues ({queues})")
    elif _entropy(queues, hand) > MAX_BITS:
        detail = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_BITS}"
        out.invalid(path / "handSize", hand, detail)


def _entropy(queues: int, hand: int) -> int:
    """Bits of a hash that shuffle sharding takes."""
    return ceil(sum(log2(queues - dealt) for dealt in range(min(hand, MAX_BITS + 2, queues))))


def conditions(obj: Obj, out: ErrorList) -> None:
    """Of the status, of both kinds."""
    kinds: set[str] = set()
    for index, item in enumerate((obj.get("status") or {}).get("conditions") or ()):
        here = STATUS / "conditions" @ index
        if item.get("type", "") in kinds:
            out.duplicate(here / "type", item.get("type", ""))
        kinds.add(item.get("type", ""))
        if not item.get("type"):
            out.required(here / "type", "must not be empty")
