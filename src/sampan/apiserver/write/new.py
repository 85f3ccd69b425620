"""Storing a new object.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Create), pkg/registry/rest/create.go
"""

from __future__ import annotations

import functools

from sampan.api import errors
from sampan.api.kind import Kind, Obj
from sampan.api.schema.decode import decode
from sampan.api.schema.nodes import Struct
from sampan.api.validation.meta import validate_object_meta
from sampan.apiserver.allocators import Reservation
from sampan.apiserver.authorization.escalation import refuse_escalation
from sampan.apiserver.cache import encoded
from sampan.apiserver.call import Call
from sampan.apiserver.options import WriteOptions
from sampan.apiserver.write.asking import attributes
from sampan.apiserver.write.parts import Produced, Written
from sampan.apiserver.write.rules import METADATA, checked, match_namespace, own_fields, raise_invalid, set_owners
from sampan.apiserver.write.stored import preview, ready, stored, stored_form, transact
from sampan.store.contract import Compare, Op, Put


async def create(call: Call, produced: Produced, options: WriteOptions, name: str = "") -> Written:
    """Store a new object. Raises 409 when its name is taken, 422 when it is invalid."""
    attempts = (
        8
        if not name and produced.obj["metadata"].get("generateName") and not produced.obj["metadata"].get("name")
        else 1
    )
    for attempt in range(attempts):
        try:
            return await ready(call.kind, await _create(call, produced, options))
        except errors.StatusError as error:
            if error.reason != "AlreadyExists" or attempt == attempts - 1:
                raise
    raise AssertionError("unreachable")


async def _create(call: Call, produced: Produced, options: WriteOptions) -> Written:
    kind, api = call.kind, call.api
    obj = {**produced.obj, "metadata": dict(produced.obj["metadata"])}
    meta = obj["metadata"]
    match_namespace(call, meta)
    if meta.pop("resourceVersion", ""):
        # DEVIATION: upstream answers 500 with the same words
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    if produced.managed is not None:
        set_owners(meta, produced.managed)
    else:
        await call.work(call.body_size, own_fields, call, None, obj, options, "")
    asked = attributes(call, "CREATE", obj, None, options, name=produced.obj["metadata"].get("name", ""))
    await api.admission.mutate(asked)
    refuse_escalation(asked)
    assert asked.obj is not None
    obj, meta = asked.obj, asked.obj["metadata"]
    match_namespace(call, meta)  # admission may have changed it
    if not meta.get("name") and meta.get("generateName"):
        meta["name"] = kind.generated_name(meta["generateName"], api.new_suffix())
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
        call.warnings.extend(await checked(call, kind, call.body_size, _check_new, kind, obj))
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
    raise_invalid(kind, obj, problems)
    return [*found.warnings, *kind.warnings(obj, None)]


async def _insert(call: Call, key: str, obj: Obj, options: WriteOptions, reserved: Reservation | None) -> Written:
    resource, names = call.resource, call.kind.names
    taken = functools.partial(errors.already_exists, names.group, names.resource, obj["metadata"]["name"])
    form = await stored_form(call.kind, obj)
    value, split = encoded(form)
    if options.dry_run:
        if resource.cache.get(key) is not None:
            raise taken()
        return Written(preview(call, key, value), created=True)
    store_key = resource.store_key(key)
    lease = await call.api.lease_for(call.kind)
    compare = [Compare(store_key, "mod", "=", 0)]
    ops: list[Op] = [Put(store_key, value, lease)]
    if reserved is not None:
        compare, ops = compare + reserved.compare, [*ops, *reserved.ops]
    with resource.cache.expect(key, value, split, form):
        result = await transact(call, "create", compare, ops)
    if not result.succeeded:
        await call.api.cache.reach(result.revision)
        if reserved is not None and resource.cache.get(key) is None:
            raise errors.server_timeout("", "services", "create", 1)
        raise taken()
    return Written(await stored(call, key, value, result.revision), created=True)


def _fill_system_fields(call: Call, obj: Obj) -> None:
    """uid, creationTimestamp, and nothing that only the server's past could have set."""
    meta = obj["metadata"]
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
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
