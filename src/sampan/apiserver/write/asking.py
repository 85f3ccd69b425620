"""What admission is asked about a write."""

from __future__ import annotations

from sampan.api.kind import Kind, Obj
from sampan.apiserver.admission.chain import Attributes, Operation
from sampan.apiserver.call import Call
from sampan.apiserver.options import DeleteOptions, WriteOptions


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
