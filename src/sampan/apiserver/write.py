"""The one way objects change: read, produce, prepare, admit, validate, compare-and-swap.

Every verb that writes says how the new object comes from the old one (`Produce`) and leaves the rest to `create` and
`change`. A lost compare-and-swap runs all of it again against what won, until the request's time is up, unless the client
named the revision it builds on: then it is told of the conflict.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Create, Update), pkg/registry/rest/{create,update}.go
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVarTuple

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.frozen import frozen
from sampan.api.kind import Kind, Obj
from sampan.api.schema.decode import decode
from sampan.api.schema.nodes import Struct
from sampan.api.validation.meta import validate_object_meta, validate_object_meta_update
from sampan.apiserver.admission.chain import Attributes, Operation
from sampan.apiserver.allocators import Reservation
from sampan.apiserver.authorization.attributes import authorize_create
from sampan.apiserver.authorization.escalation import refuse_escalation
from sampan.apiserver.cache import Record, encoded
from sampan.apiserver.call import Call
from sampan.apiserver.options import DeleteOptions, WriteOptions
from sampan.apiserver.patch.managed import only_times_differ, update_managed_fields
from sampan.apiserver.patch.versions import converter
from sampan.apiserver.views import body_as
from sampan.apiserver.workers import LARGE
from sampan.store.contract import Compare, Delete, KeyValue, Op, Put, Revision

Args = TypeVarTuple("Args")
MAX_GENERATED = 58
METADATA = Path("metadata")


@dataclass(slots=True, repr=False)
class Produced:
    """The new object in the served version; `managed`: its field owners, where the producer knows them (apply)."""

    obj: Obj
    managed: list[Obj] | None = None


@dataclass(slots=True)
class Written:
    """`record` shows the object as it is now stored (or would be); `deleted`: the write let go the last finalizer."""

    record: Record
    created: bool = False
    deleted: bool = False


Produce = Callable[[Obj | None], Produced]
#: what a subresource takes of a new object, given the old one, and what is wrong with it
Finish = Callable[[Obj, Obj], tuple[Obj, ErrorList]]


@frozen
class View:
    """Another form of the stored object that a subresource speaks in, and admission is asked about: a Scale.

    `show` makes it; `take` puts it back into the object it was made of.
    """

    gvk: tuple[str, str, str]
    show: Callable[[Obj], Obj]
    take: Callable[[Obj, Obj], Obj]


def attributes(
    call: Call,
    operation: Operation,
    obj: Obj | None,
    old: Obj | None,
    options: WriteOptions | DeleteOptions,
    *,
    kind: Kind | None = None,
    name: str = "",
) -> Attributes:
    """What admission is asked about a write of `kind` (default: the addressed one)."""
    names = (kind or call.kind).names
    gvk = (names.group, names.version, names.kind)
    info = call.info
    shown = info.name or name
    return Attributes(
        call, operation, gvk, info.subresource, info.namespace, shown, obj, old, options.wire, options.dry_run
    )


async def admit(
    call: Call, obj: Obj, options: WriteOptions, gvk: tuple[str, str, str], *, at: tuple[str, str, str] | None = None
) -> Obj:
    """Ask about the creation of something that is not stored itself (a Binding, an Eviction). What plugins made of it.

    `at`: the resource it is created at, where that is not the call's.
    """
    asked = attributes(call, "CREATE", obj, None, options)
    asked.kind, asked.at = gvk, at
    await call.api.admission.mutate(asked)
    await call.api.admission.validate(asked)
    assert asked.obj is not None
    return asked.obj


# -- create ----------------------------------------------------------------------------------------------------------


async def create(call: Call, produced: Produced, options: WriteOptions, name: str = "") -> Written:
    """Store a new object. Raises 409 when its name is taken, 422 when it is invalid."""
    attempts = (
        8
        if not name and produced.obj["metadata"].get("generateName") and not produced.obj["metadata"].get("name")
        else 1
    )
    for attempt in range(attempts):
        try:
            return await _ready(call.kind, await _create(call, produced, options))
        except errors.StatusError as error:
            if error.reason != "AlreadyExists" or attempt == attempts - 1:
                raise
    raise AssertionError("unreachable")


async def _create(call: Call, produced: Produced, options: WriteOptions) -> Written:
    kind, api = call.kind, call.api
    obj = {**produced.obj, "metadata": dict(produced.obj["metadata"])}
    meta = obj["metadata"]
    _match_namespace(call, meta)
    if meta.pop("resourceVersion", ""):
        # DEVIATION: upstream answers 500 with the same words
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    if produced.managed is not None:
        meta["managedFields"] = produced.managed
    else:
        await call.work(call.body_size, _own_fields, call, None, obj, options, "")
    asked = attributes(call, "CREATE", obj, None, options, name=produced.obj["metadata"].get("name", ""))
    await api.admission.mutate(asked)
    refuse_escalation(asked)
    assert asked.obj is not None
    obj, meta = asked.obj, asked.obj["metadata"]
    _match_namespace(call, meta)  # admission may have changed it
    if not meta.get("name") and meta.get("generateName"):
        suffix = api.new_suffix()
        meta["name"] = meta["generateName"][:MAX_GENERATED] + suffix
    # without a name it is refused below, with everything else that is wrong
    meta.setdefault("name", "")
    _fill_system_fields(call, obj)
    if kind.has_status and not kind.status_on_create:
        obj.pop("status", None)
    context = call.context()
    kind.prepare_for_create(obj, context)
    if kind.has_generation:
        meta["generation"] = 1
    _print_status(kind, obj)
    reserved = api.allocators.allocate(call, obj, None)
    try:
        call.warnings.extend(await _checked(call, kind, call.body_size, _check_new, kind, obj))
        if kind.not_enforced:
            call.warnings.append("stored, not enforced yet")
        asked.obj = obj
        await api.admission.validate(asked)
        key = f"{meta['namespace']}/{meta['name']}" if kind.names.namespaced else meta["name"]
        return await _insert(call, key, obj, options, reserved)
    except errors.StatusError:
        await asked.take_back()
        raise
    finally:
        if reserved is not None:
            reserved.undo()


def _check_new(kind: Kind, obj: Obj) -> list[str]:
    """Warnings. Raises 422."""
    problems = validate_object_meta(obj["metadata"], kind.names.namespaced, kind.validate_name, METADATA)
    found = kind.validate(obj)
    problems.extend(found)
    _raise_invalid(kind, obj, problems)
    return [*found.warnings, *kind.warnings(obj, None)]


async def _checked(call: Call, kind: Kind, size: int, check: Callable[[*Args], list[str]], *args: *Args) -> list[str]:
    """Checking, which clients can make long, keeps nobody else waiting."""
    if kind.slow_checks:
        return await call.api.workers.run(check, *args, user=call.user.name)
    if kind.custom and size <= LARGE:
        return await call.api.workers.brief(check, *args, user=call.user.name)
    return await call.work(size, check, *args)


async def _insert(call: Call, key: str, obj: Obj, options: WriteOptions, reserved: Reservation | None) -> Written:
    resource, names = call.resource, call.kind.names
    taken = errors.already_exists(names.group, names.resource, obj["metadata"]["name"])
    form = await stored_form(call.kind, obj)
    value, split = encoded(form)
    if options.dry_run:
        if resource.cache.get(key) is not None:
            raise taken
        return Written(_preview(call, key, value), created=True)
    store_key = resource.store_key(key)
    lease = await call.api.lease_for(call.kind)
    compare = [Compare(store_key, "mod", "=", 0)]
    ops: list[Op] = [Put(store_key, value, lease)]
    if reserved is not None:
        compare, ops = compare + reserved.compare, [*ops, *reserved.ops]
    with resource.cache.expect(key, value, split, form):
        result = await call.api.store.txn(compare, ops)
    if not result.succeeded:
        await call.api.cache.reach(result.revision)
        if reserved is not None and resource.cache.get(key) is None:
            raise errors.server_timeout("", "services", "create", 1)
        raise taken
    return Written(await stored(call, key, value, result.revision), created=True)


def _match_namespace(call: Call, meta: Obj) -> None:
    if not call.kind.names.namespaced:
        meta.pop("namespace", None)
        return
    if not meta.get("namespace"):
        meta["namespace"] = call.info.namespace
    elif meta["namespace"] != call.info.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


class _Hex(int):
    """Prints as Go prints a uint64 in a field error."""

    def __str__(self) -> str:
        return hex(self)


def _fill_system_fields(call: Call, obj: Obj) -> None:
    """uid, creationTimestamp, and nothing that only the server's past could have set."""
    meta = obj["metadata"]
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        meta.pop(name, None)
    meta["creationTimestamp"] = call.context().now
    meta["uid"] = call.api.new_uid()


def _print_status(kind: Kind, obj: Obj) -> None:
    """`status` is printed with its zero values even where preparation dropped it."""
    if kind.custom:
        return
    field = kind.schema.fields.get("status")
    if kind.has_status and field is not None and not field.pointer and isinstance(field.node, Struct):
        obj["status"] = decode(field.node, obj.get("status") or {}, strict=None)


# -- change ----------------------------------------------------------------------------------------------------------


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
            return await _ready(kind, written)


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
        raise errors.invalid(names.group, names.kind, record.name, problems)
    _carry_system_fields(call, kind, obj, old)
    if produced.managed is not None:
        meta["managedFields"] = produced.managed
    else:
        await call.work(size, _own_fields, call, old, obj, options, subresource, kind)
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
            _take(obj, old, "status")
        kind.prepare_for_update(obj, old, context)
    elif subresource == "status":
        for name in {*obj, *old} - {"metadata", "status", "kind", "apiVersion"}:
            _take(obj, old, name)
        kind.prepare_for_status_update(obj, old, context)
    finished = ErrorList()
    if finish is not None:
        owners = meta.get("managedFields")
        obj, finished = finish(obj, old)
        meta = obj["metadata"]
        if owners:
            meta["managedFields"] = owners
    if kind.has_generation and subresource != "status" and _spec_changed(obj, old):
        meta["generation"] = old_meta.get("generation", 0) + 1
    reserved = api.allocators.allocate(call, obj, old)
    try:
        said = await _checked(call, kind, size, _check_changed, kind, obj, old, subresource, finished)
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
    found = ErrorList()
    if subresource == "" or (subresource == "scale" and kind.custom):
        found = kind.validate_update(obj, old)
    elif subresource == "status":
        found = kind.validate_status_update(obj, old)
    problems.extend(found)
    _raise_invalid(kind, obj, problems)
    return [*found.warnings, *kind.warnings(obj, old)]


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
        return Written(_preview(call, record.key, value), deleted=bool(finished))
    unchanged = [Compare(store_key, "mod", "=", record.revision)]
    ops: list[Op] = [Delete(store_key) if finished else Put(store_key, value, record.lease)]
    if reserved is not None:
        unchanged, ops = unchanged + reserved.compare, ops + reserved.ops
    with resource.cache.expect(record.key, value, split, form):
        result = await call.api.store.txn(unchanged, ops)
    if not result.succeeded:
        await call.api.cache.reach(result.revision)
        return None
    if finished:
        await call.api.cache.reach(result.revision)
        return Written(record_of(call, record.key, value, result.revision), deleted=True)
    return Written(await stored(call, record.key, value, result.revision))


async def served(kind: Kind, record: Record) -> Obj:
    """The object as `kind` serves it: the caller's own to change."""
    if not kind.converts:
        return record.obj()
    if kind.remote:
        await kind.fetch([record])
    out: Obj = orjson.loads(body_as(kind, record))
    return out


async def _ready(kind: Kind, written: Written) -> Written:
    """What was written can be shown."""
    if kind.remote:
        await kind.fetch([written.record])
    return written


async def stored_form(kind: Kind, obj: Obj) -> Obj:
    return await kind.store(obj) if kind.remote else kind.to_storage(obj)


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
    meta.setdefault("creationTimestamp", None)
    if not meta["creationTimestamp"]:
        meta["creationTimestamp"] = old_meta["creationTimestamp"]
    meta["uid"] = old_meta["uid"]
    for name in ("generation", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if name in old_meta:
            meta[name] = old_meta[name]
        else:
            meta.pop(name, None)
    meta.pop("selfLink", None)


def _own_fields(
    call: Call, old: Obj | None, obj: Obj, options: WriteOptions, subresource: str, kind: Kind | None = None
) -> None:
    kind = kind or call.kind
    entries = update_managed_fields(
        kind.schema,
        old,
        obj,
        manager=options.manager or call.manager,
        api_version=kind.names.api_version,
        subresource=subresource,
        time=call.context().now,
        reset_fields=kind.reset_fields(subresource),
        convert=converter(call.api.registry, kind),
    )
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)


def _take(obj: Obj, old: Obj, name: str) -> None:
    if name in old:
        obj[name] = old[name]
    else:
        obj.pop(name, None)


def _spec_changed(obj: Obj, old: Obj) -> bool:
    ignored = {"metadata", "status", "kind", "apiVersion"}
    return any(obj.get(name) != old.get(name) for name in {*obj, *old} - ignored)


def _raise_invalid(kind: Kind, obj: Obj, problems: ErrorList) -> None:
    if problems:
        raise errors.invalid(kind.names.group, kind.names.kind, obj["metadata"].get("name", ""), problems)


def _preview(call: Call, key: str, value: bytes) -> Record:
    """A record of what a dry run would have stored; it shows no resourceVersion, or the current one."""
    current = call.resource.cache.get(key)
    revision = current.revision if current is not None else 0
    return Record(key, KeyValue(b"", value, Revision(0), Revision(revision), 0), call.resource.cache)


async def stored(call: Call, key: str, value: bytes, revision: int) -> Record:
    """The record of a write just acknowledged; the cache has it (local stores) or soon will."""
    await call.api.cache.reach(revision)
    record = call.resource.cache.get(key)
    if record is not None and record.revision == revision:
        return record
    return record_of(call, key, value, revision)


def record_of(call: Call, key: str, value: bytes, revision: int) -> Record:
    return Record(key, KeyValue(b"", value, Revision(revision), Revision(revision), 1), call.resource.cache)
