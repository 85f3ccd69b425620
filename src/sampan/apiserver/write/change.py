"""Putting another object in the place of one that is stored.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Update), pkg/registry/rest/update.go
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.field import ErrorList
from sampan.api.kind import Kind, Obj, keep
from sampan.api.validation.meta import validate_object_meta_update
from sampan.apiserver.allocators import Reservation
from sampan.apiserver.authorization.attributes import authorize_create
from sampan.apiserver.authorization.escalation import refuse_escalation
from sampan.apiserver.cache import Record, encoded
from sampan.apiserver.call import Call
from sampan.apiserver.options import WriteOptions
from sampan.apiserver.patch.managed import only_times_differ
from sampan.apiserver.write.asking import attributes
from sampan.apiserver.write.new import create
from sampan.apiserver.write.parts import Finish, Produce, Produced, View, Written
from sampan.apiserver.write.rules import METADATA, checked, own_fields, raise_invalid, set_owners
from sampan.apiserver.write.stored import preview, ready, record_of, served, stored, stored_form, transact
from sampan.store.contract import Compare, Delete, Op, Put

#: writes that are not counted: a binding goes past the strategy upstream
NO_GENERATION = ("status", "binding")
#: what a status of its own keeps (`ResetObjectMetaForStatus`)
STATUS_ALONE = ("labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp")


class _Hex(int):
    """Prints as Go prints a uint64 in a field error."""

    def __str__(self) -> str:
        return hex(self)


async def change(
    call: Call,
    key: str,
    produce: Produce,
    options: WriteOptions,
    *,
    subresource: str = "",
    create_missing: bool = False,
    kind: Kind | None = None,
    ask: bool = True,
    view: View | None = None,
    finish: Finish | None = None,
) -> Written:
    """Replace the object under `key` by what `produce` makes of it. `ask` False: the caller has asked admission about
    what is done (a Binding). `view`: admission is asked about that form of it. `finish`: the rules of a subresource, kept
    also where admission has changed the object. Raises 404, 409, 422."""
    kind = kind or call.kind
    names = kind.names
    while True:
        record = call.resource.cache.get(key)
        if record is None:
            if not create_missing:
                raise errors.not_found(names.group, names.resource, key.rpartition("/")[2])
            authorize_create(call)
            produced = produce(None)
            try:
                return await create(call, produced, options, name=call.info.name)
            except errors.StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
                continue
        size = max(call.body_size, len(record.value))
        old = await call.work(size, record.obj) if not kind.converts else await served(kind, record)
        produced = await call.work(size, produce, old)
        written = await _swap(call, kind, record, old, produced, options, subresource, ask, view, finish)
        if written is not None:
            return await ready(kind, written)


async def _swap(
    call: Call,
    kind: Kind,
    record: Record,
    old: Obj,
    produced: Produced,
    options: WriteOptions,
    subresource: str,
    ask: bool,
    view: View | None,
    finish: Finish | None,
) -> Written | None:
    """One attempt. None: somebody else was faster. The next one finds out whether the client built on what is gone, as a
    whole object with a revision does; a patch is made anew."""
    names, api = kind.names, call.api
    obj = {**produced.obj, "metadata": dict(produced.obj["metadata"])}
    meta, old_meta = obj["metadata"], old["metadata"]
    size = max(call.body_size, len(record.value))
    asked = meta.get("resourceVersion", "")
    if asked not in ("", "0") and asked != str(record.revision):
        raise errors.conflict(names.group, names.resource, record.name)
    if asked in ("", "0") and not kind.unconditional_update and produced.managed is None:
        problems = ErrorList()
        problems.invalid(METADATA / "resourceVersion", _Hex(0), "must be specified for an update")
        # of the resource, as upstream says in this place alone
        raise errors.invalid(names.group, names.resource, record.name, problems)
    _carry_system_fields(call, kind, obj, old)
    if produced.managed is not None:
        set_owners(meta, produced.managed)
    else:
        await call.work(size, own_fields, call, old, obj, options, subresource, kind)
    question = attributes(call, "UPDATE", obj, old, options, kind=kind)
    if view is not None:
        question.kind, question.obj, question.old = view.gvk, view.show(obj), view.show(old)
    if ask:
        await api.admission.mutate(question)
        refuse_escalation(question)
        assert question.obj is not None
        obj = question.obj if view is None else view.take(obj, question.obj)
        meta = obj["metadata"]
    context = call.context()
    if subresource == "":
        if kind.has_status:
            keep(obj, old, "status")
        kind.prepare_for_update(obj, old, context)
    elif subresource == "status":
        for name in {*obj, *old} - {"metadata", "status", "kind", "apiVersion"}:
            keep(obj, old, name)
        for name in STATUS_ALONE if kind.status_alone else ():
            keep(meta, old_meta, name)
        kind.prepare_for_status_update(obj, old, context)
    finished = ErrorList()
    if finish is not None:
        owners = meta.get("managedFields")
        obj, finished = finish(obj, old)
        meta = obj["metadata"]
        if owners:
            meta["managedFields"] = owners
    if kind.has_generation and subresource not in NO_GENERATION and _spec_changed(kind, obj, old):
        meta["generation"] = old_meta.get("generation", 0) + 1
    reserved = api.allocators.allocate(call, obj, old)
    try:
        said = await checked(call, kind, size, _check_changed, kind, obj, old, subresource, finished)
        call.warnings.extend(text for text in said if text not in call.warnings)
        if ask:
            question.obj = obj if view is None else view.show(obj)
            await api.admission.validate(question)
        written = await _replace(call, kind, record, obj, options, reserved)
    except errors.StatusError:
        await question.take_back()
        raise
    finally:
        if reserved is not None:
            reserved.undo()
    if written is None:
        await question.take_back()
    return written


def _check_changed(kind: Kind, obj: Obj, old: Obj, subresource: str, finished: ErrorList) -> list[str]:
    """Warnings. `finished`: what the subresource found. Raises 422."""
    problems = validate_object_meta_update(obj["metadata"], old["metadata"], METADATA)
    problems.extend(finished)
    found, warned = ErrorList(), list[str]()
    if subresource == "" or (subresource == "scale" and kind.custom):
        found = kind.validate_update(obj, old)
        warned = kind.warnings(obj, old)
    elif subresource == "scale":
        warned = kind.warnings(obj, old)
    elif subresource == "status":
        found = kind.validate_status_update(obj, old)
        warned = kind.status_warnings(obj)
    problems.extend(found)
    raise_invalid(kind, obj, problems)
    return [*found.warnings, *warned]


async def _replace(
    call: Call,
    kind: Kind,
    record: Record,
    obj: Obj,
    options: WriteOptions,
    reserved: Reservation | None,
) -> Written | None:
    resource = call.resource
    store_key = resource.store_key(record.key)
    form = await stored_form(kind, obj)
    value, split = encoded(form)
    if value == record.value or (len(value) == len(record.value) and only_times_differ(form, record.obj())):
        return Written(record)
    meta = obj["metadata"]
    finished = (
        meta.get("deletionTimestamp")
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and not (kind.names.resource == "namespaces" and not kind.names.group and obj.get("spec", {}).get("finalizers"))
    )
    if options.dry_run:
        return Written(preview(call, record.key, value), deleted=bool(finished))
    unchanged = [Compare(store_key, "mod", "=", record.revision)]
    ops: list[Op] = [Delete(store_key) if finished else Put(store_key, value, record.lease)]
    if reserved is not None:
        unchanged, ops = unchanged + reserved.compare, ops + reserved.ops
    with resource.cache.expect(record.key, value, split, form):
        result = await transact(call, "delete" if finished else "update", unchanged, ops)
    if not result.succeeded:
        await call.api.cache.reach(result.revision)
        return None
    if finished:
        await call.api.cache.reach(result.revision)
        return Written(record_of(call, record.key, value, result.revision), deleted=True)
    return Written(await stored(call, record.key, value, result.revision))


def _carry_system_fields(call: Call, kind: Kind, obj: Obj, old: Obj) -> None:
    """What an update cannot change is taken from the old object, as upstream's BeforeUpdate does."""
    meta, old_meta = obj["metadata"], old["metadata"]
    if not kind.names.namespaced:
        meta.pop("namespace", None)
    elif not meta.get("namespace"):
        meta["namespace"] = old_meta["namespace"]
    elif meta["namespace"] != old_meta["namespace"]:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    uid = meta.get("uid")
    if uid and uid != old_meta["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old_meta['uid']}"
        raise errors.conflict(kind.names.group, kind.names.resource, old_meta["name"], why)
    for name in ("uid", "creationTimestamp", "generation"):
        keep(meta, old_meta, name)
    # a deletion that has begun goes on; an update cannot begin one, which is found when it is checked
    if "deletionTimestamp" in old_meta:
        meta["deletionTimestamp"] = old_meta["deletionTimestamp"]
    if meta.get("deletionGracePeriodSeconds") is None:
        keep(meta, old_meta, "deletionGracePeriodSeconds")
    meta.pop("selfLink", None)


def _spec_changed(kind: Kind, obj: Obj, old: Obj) -> bool:
    if kind.converts and not kind.remote:
        # annotations may say what this version has no fields for
        obj, old = kind.to_storage(obj), kind.to_storage(old)
    ignored = {"metadata", "status", "kind", "apiVersion"}
    return any(obj.get(name) != old.get(name) for name in {*obj, *old} - ignored)
