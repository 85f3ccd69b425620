"""Query parameters: ListOptions, DeleteOptions and what writes take, parsed and checked as upstream words it.

Source: k8s.io/apimachinery/pkg/apis/meta/v1/validation, internalversion/validation/validation.go
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from sampan.api import errors
from sampan.api import query as values
from sampan.api.field import ErrorList, Path
from sampan.api.query import boolean
from sampan.api.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector

Query = dict[str, str]
META = "meta.k8s.io"
UNSAFE = "ignoreStoreReadErrorWithClusterBreakingPotential"


def parse_query(text: str) -> Query:
    """First value of each parameter. Raises 400 when the query cannot be read."""
    if not text:
        return {}
    out: Query = {}
    try:
        for key, value in parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000):
            out.setdefault(key, value)
    except ValueError as error:
        raise errors.bad_request(f"invalid query: {error}") from None
    return out


def integer(query: Query, name: str) -> int | None:
    try:
        return values.integer(query, name)
    except ValueError as error:
        raise errors.bad_request(str(error)) from None


@dataclass(slots=True)
class ListOptions:
    """What a list, watch or deletecollection asks for; `resource_version` as given, or empty."""

    labels: LabelSelector
    fields: FieldSelector
    watch: bool = False
    bookmarks: bool = False
    resource_version: str = ""
    match: str = ""
    timeout: int | None = None
    limit: int = 0
    continue_: str = ""
    send_initial_events: bool | None = None

    @property
    def revision(self) -> int:
        return int(self.resource_version or 0)


def list_options(query: Query, labels_known: Mapping[str, str], kind: str, forced_watch: bool = False) -> ListOptions:
    """`labels_known`: as a Kind's `field_labels`. Raises 400 for what cannot be parsed or is no field label of `kind`, 422 for
    combinations that are refused."""
    try:
        labels = parse_label_selector(query.get("labelSelector", ""))
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    try:
        fields = parse_field_selector(query.get("fieldSelector", ""))
    except ValueError as error:
        raise errors.bad_request(str(error)) from None
    for term in fields.terms:
        if term.field not in ("metadata.name", "metadata.namespace") and term.field not in labels_known:
            raise errors.bad_request(f"field label not supported: {term.field}")
    if fields:
        fields = fields.renamed(labels_known)
    out = ListOptions(
        labels,
        fields,
        forced_watch or boolean(query, "watch"),
        boolean(query, "allowWatchBookmarks"),
        query.get("resourceVersion", ""),
        query.get("resourceVersionMatch", ""),
        integer(query, "timeoutSeconds"),
        max(integer(query, "limit") or 0, 0),
        query.get("continue", ""),
        boolean(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    _check_list(out)
    return out


def _check_list(options: ListOptions) -> None:
    problems = ErrorList()
    match_path = Path("resourceVersionMatch")
    if options.watch:
        _check_watch(options, problems)
    else:
        if options.send_initial_events is not None:
            problems.forbidden(Path("sendInitialEvents"), "sendInitialEvents is forbidden for list")
        if options.match:
            if not options.resource_version:
                problems.forbidden(match_path, "resourceVersionMatch is forbidden unless resourceVersion is provided")
            if options.continue_:
                problems.forbidden(match_path, "resourceVersionMatch is forbidden when continue is provided")
            if options.match not in ("Exact", "NotOlderThan"):
                problems.not_supported(match_path, options.match, ("Exact", "NotOlderThan", ""))
            if options.match == "Exact" and options.resource_version == "0":
                detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                problems.forbidden(match_path, detail)
    if problems:
        raise errors.invalid(META, "ListOptions", "", problems)
    text = options.resource_version
    if text and not (text.isascii() and text.isdigit() and len(text) < 20):
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        problems.invalid(Path("resourceVersion"), text, why)
        raise errors.invalid(META, "ListOptions", "", problems)


def _check_watch(options: ListOptions, problems: ErrorList) -> None:
    match_path = Path("resourceVersionMatch")
    if options.send_initial_events is None:
        if options.match:
            problems.forbidden(
                match_path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
        return
    if options.match == "":
        problems.forbidden(match_path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    elif options.match != "NotOlderThan":
        problems.not_supported(match_path, options.match, ("NotOlderThan",))
    if options.continue_:
        problems.forbidden(Path("continue"), "continue is forbidden when sendInitialEvents is provided")
    if options.send_initial_events and not options.bookmarks:
        problems.forbidden(Path("sendInitialEvents"), "sendInitialEvents requires setting allowWatchBookmarks to true")


def continue_token(revision: int, start: str) -> str:
    """The next page: its first key, and the revision the list is of (-1: whatever is current)."""
    raw = orjson.dumps({"v": f"{META}/v1", "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_continue(token: str) -> tuple[int, str]:
    """Revision and first key of a continue token. Raises 400."""
    try:
        raw = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start, version = raw["rv"], raw["start"], raw["v"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise errors.bad_request("continue key is not valid: encoding/base64 or JSON of the token is broken") from None
    if version != f"{META}/v1":
        raise errors.bad_request("continue key is not valid: server does not recognize this encoded version")
    if not isinstance(revision, int) or revision == 0 or not isinstance(start, str) or not start:
        raise errors.bad_request("continue key is not valid: incorrect encoded start or resourceVersion")
    if ".." in start.split("/"):
        raise errors.bad_request(f"continue key is not valid: {start}")
    return revision, start


@dataclass(slots=True)
class WriteOptions:
    """create, update and patch: dry run, who writes, and how strict the body is read."""

    dry_run: bool = False
    manager: str = ""
    validation: str = "Warn"
    force: bool | None = None
    kind: str = "CreateOptions"

    @property
    def wire(self) -> dict[str, Any]:
        """As admission webhooks are told them."""
        out: dict[str, Any] = {"kind": self.kind, "apiVersion": f"{META}/v1"}
        if self.dry_run:
            out["dryRun"] = ["All"]
        if self.force is not None:
            out["force"] = self.force
        if self.manager:
            out["fieldManager"] = self.manager
        return {**out, "fieldValidation": self.validation}


def write_options(query: Query, kind: str, *, apply: bool = False) -> WriteOptions:
    """`kind`: CreateOptions, UpdateOptions or PatchOptions. Raises 422."""
    if not query:
        if apply:
            _require_manager("", kind)
        return WriteOptions(kind=kind)
    problems = ErrorList()
    dry = query.get("dryRun", "")
    if dry not in ("", "All"):
        problems.not_supported(Path("dryRun"), [dry], ("All",))
    manager = query.get("fieldManager", "")
    if len(manager.encode()) > 128:
        problems.too_long(Path("fieldManager"), 128)
    if any(not char.isprintable() for char in manager):
        problems.invalid(Path("fieldManager"), manager, "should only contain printable characters")
    validation = query.get("fieldValidation", "") or "Warn"
    if validation not in ("Ignore", "Warn", "Strict"):
        problems.not_supported(Path("fieldValidation"), validation, ("Ignore", "Strict", "Warn"))
    force = boolean(query, "force") if "force" in query else None
    if kind == "PatchOptions" and not apply and force is not None:
        problems.forbidden(Path("force"), "may not be specified for non-apply patch")
    if apply and not manager:
        problems.required(Path("fieldManager"), "is required for apply patch")
    if problems:
        raise errors.invalid(META, kind, "", problems)
    return WriteOptions(dry == "All", manager, validation, force, kind)


def _require_manager(manager: str, kind: str) -> None:
    problems = ErrorList()
    problems.required(Path("fieldManager"), "is required for apply patch")
    raise errors.invalid(META, kind, "", problems)


@dataclass(slots=True)
class DeleteOptions:
    dry_run: bool = False
    grace: int | None = None
    propagation: str = ""
    orphan: bool | None = None
    preconditions: dict[str, Any] = field(default_factory=dict)
    #: although it cannot be read
    unsafe: bool = False

    @property
    def wire(self) -> dict[str, Any]:
        """As admission webhooks are told them."""
        out: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": f"{META}/v1"}
        if self.grace is not None:
            out["gracePeriodSeconds"] = self.grace
        if self.preconditions:
            out["preconditions"] = self.preconditions
        if self.orphan is not None:
            out["orphanDependents"] = self.orphan
        if self.propagation:
            out["propagationPolicy"] = self.propagation
        if self.dry_run:
            out["dryRun"] = ["All"]
        return out


def delete_options(query: Query, body: dict[str, Any] | None) -> DeleteOptions:
    """From the body if there is one, else from the query. Raises 422 for what contradicts itself."""
    if body is None:
        body = {}
        if query.get("dryRun"):
            body["dryRun"] = [query["dryRun"]]
        grace = integer(query, "gracePeriodSeconds")
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        if query.get("propagationPolicy"):
            body["propagationPolicy"] = query["propagationPolicy"]
        if query.get("orphanDependents"):
            body["orphanDependents"] = boolean(query, "orphanDependents")
        if query.get(UNSAFE):
            body[UNSAFE] = boolean(query, UNSAFE)
    problems = ErrorList()
    dry = body.get("dryRun") or []
    if any(item != "All" for item in dry):
        problems.not_supported(Path("dryRun"), dry, ("All",))
    policy, orphan = body.get("propagationPolicy") or "", body.get("orphanDependents")
    if policy and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        problems.invalid(Path("propagationPolicy"), policy, detail)
    if policy not in ("", "Foreground", "Background", "Orphan"):
        problems.not_supported(Path("propagationPolicy"), policy, ("Foreground", "Background", "Orphan", "nil"))
    grace, unsafe = body.get("gracePeriodSeconds"), bool(body.get(UNSAFE))
    if unsafe:
        for name in ("dryRun", "propagationPolicy", "orphanDependents", "gracePeriodSeconds", "preconditions"):
            if body.get(name) not in (None, []):
                problems.invalid(Path(UNSAFE), True, f"cannot be set together with .{name}")
    if problems:
        raise errors.invalid(META, "DeleteOptions", "", problems)
    return DeleteOptions("All" in dry, grace, policy, orphan, body.get("preconditions") or {}, unsafe)
