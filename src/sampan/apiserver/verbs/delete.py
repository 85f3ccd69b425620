"""DELETE: at once, gracefully, or as soon as the last finalizer is gone.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Delete), pkg/registry/rest/delete.go, corrupt_obj_deleter.go;
pkg/registry/batch/job/storage/storage.go (the warning)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.schema.bodies import read_body
from sampan.api.schema.decode import decode
from sampan.api.times import format_time, parse_time
from sampan.apiserver import replies
from sampan.apiserver.authorization.attributes import of_request
from sampan.apiserver.cache import Record, deleted, encode
from sampan.apiserver.call import Call
from sampan.apiserver.options import UNSAFE, DeleteOptions, delete_options
from sampan.apiserver.views import view_for
from sampan.apiserver.write import attributes, stored, transact
from sampan.http.server.messages import Response
from sampan.store.contract import Compare, Delete, Op, Put

ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"
UNSAFE_VERB = "unsafe-delete-ignore-read-errors"
#: kinds whose last state is the reply, where others answer with a Status
RETURNS_OBJECT = {
    "pods", "services", "persistentvolumeclaims", "persistentvolumes", "podtemplates", "resourcequotas", "serviceaccounts",
}  # fmt: skip
#: kinds whose dependents stay unless the request says otherwise, for clients older than garbage collection
ORPHANS_BY_DEFAULT = {("", "replicationcontrollers"), ("batch", "jobs")}
JOBS_ORPHAN = (
    "child pods are preserved by default when jobs are deleted; "
    "set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
)


async def delete(call: Call) -> Response:
    """200 with a Status or the object; 202 is never used, as upstream does not for these kinds."""
    options = await asked_options(call)
    if options.unsafe:
        _refuse_unsafe(call)
    record, gone = await remove(call, call.key, options)
    names = call.kind.names
    pretty = replies.wants_pretty(call.request, call.query)
    if gone and (names.group or names.resource not in RETURNS_OBJECT):
        details: dict[str, Any] = {"name": record.name}
        if names.group:
            details["group"] = names.group
        details["kind"] = names.resource
        details["uid"] = record.obj()["metadata"]["uid"]
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return replies.reply(orjson.dumps(status), media=call.accept.media, warnings=call.warnings, pretty=pretty)
    if call.kind.remote:
        await call.kind.fetch([record])
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    return replies.reply(view.object(record), media=call.accept.media, warnings=call.warnings, pretty=pretty)


def _refuse_unsafe(call: Call) -> None:
    """What is stored here can be read, and is deleted as everything is. Raises 403, 422."""
    info = call.info
    asked = replace(of_request(info, call.query), verb=UNSAFE_VERB)
    decision = call.api.authorizer.authorize(call.user, asked)
    if decision.allowed is not True:
        why = f'not permitted to do "{UNSAFE_VERB}", reason: {decision.reason}'
        raise errors.forbidden(info.group, info.resource, info.name, why)
    problems = ErrorList()
    problems.invalid(
        Path(UNSAFE), True, "is exclusively used to delete corrupt object(s), try again by removing this option"
    )
    raise errors.invalid(info.group, info.resource, info.name, problems)


async def asked_options(call: Call) -> DeleteOptions:
    """From query and body; who leaves out what becomes of a Job's pods is warned."""
    options = delete_options(call.query, await _read_options(call))
    names = call.kind.names
    if (names.group, names.resource) == ("batch", "jobs") and not options.propagation and options.orphan is None:
        call.warnings.append(JOBS_ORPHAN)
    return options


async def _read_options(call: Call) -> dict[str, Any] | None:
    """The body's DeleteOptions, if there is a body."""
    if not call.request.body.strip():
        return None
    return await call.work(call.body_size, _options, call)


def _options(call: Call) -> dict[str, Any]:
    struct = call.api.registry.struct("", "v1", "DeleteOptions")
    assert struct is not None
    content_type = call.request.headers.get("content-type", "")
    raw, found, _ = read_body(
        call.request.body,
        content_type,
        default_gvk=("", "v1", "DeleteOptions"),
        resolve=call.api.registry.struct,
        want_duplicates=False,
    )
    if found[2] != "DeleteOptions":
        raise errors.bad_request(f"decoded object cannot be converted to DeleteOptions: {found[2]}")
    return decode(struct, raw, strict=None)


async def remove(call: Call, key: str, options: DeleteOptions, *, ask: bool = True) -> tuple[Record, bool]:
    """Delete, or mark as being deleted. The record's last state, and whether it is gone. Raises 404, 409.

    `ask` False: admission was asked about what leads to it (an eviction)."""
    names, resource = call.kind.names, call.resource
    while True:
        record = resource.cache.get(key)
        if record is None:
            raise errors.not_found(names.group, names.resource, key.rpartition("/")[2])
        old = record.obj()
        check_preconditions(call, old, options)
        asked = attributes(call, "DELETE", None, old, options, name=record.name)
        if ask:
            await call.api.admission.mutate(asked)
            await call.api.admission.validate(asked)
        new = marked(call, old, options)
        store_key = resource.store_key(key)
        unchanged = [Compare(store_key, "mod", "=", record.revision)]
        if new is None:
            if options.dry_run:
                return record, True
            gone: list[Op] = [Delete(store_key), *call.api.allocators.release(call, old)]
            result = await transact(call, "delete", unchanged, gone)
            if result.succeeded:
                await call.api.cache.reach(result.revision)
                return deleted(record, result.revision), True
        else:
            if new == old or options.dry_run:
                return record, False
            value = encode(new)
            result = await transact(call, "update", unchanged, [Put(store_key, value, record.lease)])
            if result.succeeded:
                return await stored(call, key, value, result.revision), False
        await call.api.cache.reach(result.revision)


def check_preconditions(call: Call, old: Obj, options: DeleteOptions) -> None:
    names, meta = call.kind.names, old["metadata"]
    for field, label, wanted in (
        ("uid", "UID", options.preconditions.get("uid")),
        ("resourceVersion", "ResourceVersion", options.preconditions.get("resourceVersion")),
    ):
        if wanted is not None and wanted != meta.get(field):
            why = f"Precondition failed: {label} in precondition: {wanted}, {label} in object meta: {meta.get(field)}"
            raise errors.conflict(names.group, names.resource, meta["name"], why)


def marked(call: Call, old: Obj, options: DeleteOptions) -> Obj | None:
    """The object with its deletion under way, or None when nothing keeps it."""
    going = old if old["metadata"].get("deletionTimestamp") else call.kind.prepare_for_delete(old, call.context())
    meta = dict(going["metadata"])
    meta.pop("resourceVersion", None)
    finalizers = _finalizers(call, meta.get("finalizers") or [], options)
    grace = _grace(call, old, options)
    keeps = bool(finalizers) or grace > 0
    if _is_namespace(call):
        keeps = keeps or bool(old.get("spec", {}).get("finalizers"))
    if not keeps:
        return None
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    now = call.api.clock()
    if not meta.get("deletionTimestamp"):
        meta["deletionTimestamp"] = format_time(now + grace)
        meta["deletionGracePeriodSeconds"] = grace
        if meta.get("generation"):
            meta["generation"] += 1
    elif grace < meta.get("deletionGracePeriodSeconds", 0):
        begun = parse_time(meta["deletionTimestamp"]) - meta["deletionGracePeriodSeconds"]
        meta["deletionTimestamp"] = format_time(max(begun + grace, now) if grace else now)
        meta["deletionGracePeriodSeconds"] = grace
    new = {**going, "metadata": meta}
    if _is_namespace(call):
        new["status"] = {**old.get("status", {}), "phase": "Terminating"}
    if {**new, "metadata": {**meta, "resourceVersion": old["metadata"]["resourceVersion"]}} == old:
        return old
    return new


def _is_namespace(call: Call) -> bool:
    return call.kind.names.resource == "namespaces" and not call.kind.names.group


def _finalizers(call: Call, present: list[str], options: DeleteOptions) -> list[str]:
    """What propagation asks for; without a word about it what is there stays, or the kind's own way is taken."""
    orphan = options.propagation == "Orphan" or options.orphan is True
    foreground = options.propagation == "Foreground"
    if not options.propagation and options.orphan is None:
        names = call.kind.names
        orphan = (names.group, names.resource) in ORPHANS_BY_DEFAULT and not {ORPHAN, FOREGROUND} & set(present)
        return [*present, ORPHAN] if orphan else list(present)
    out = [item for item in present if item not in (ORPHAN, FOREGROUND)]
    if orphan:
        out.append(ORPHAN)
    if foreground:
        out.append(FOREGROUND)
    return out


def _grace(call: Call, old: Obj, options: DeleteOptions) -> int:
    """Seconds until a pod may be gone; 0 for other kinds, and for pods that run nowhere."""
    if call.kind.names.resource != "pods" or call.kind.names.group:
        return 0
    spec, status = old.get("spec", {}), old.get("status", {})
    if not spec.get("nodeName") or status.get("phase") in ("Failed", "Succeeded"):
        return 0
    if options.grace is None:
        grace = spec.get("terminationGracePeriodSeconds", 30)
        deadline: int | None = old["metadata"].get("deletionGracePeriodSeconds")
        return int(grace if deadline is None else deadline)
    return 1 if options.grace < 0 else options.grace
