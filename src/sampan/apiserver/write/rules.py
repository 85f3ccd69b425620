"""What holds for every object that is written: its namespace, its field owners, its checks.

Source: k8s.io/apiserver/pkg/registry/rest/{create,update}.go
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVarTuple

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Kind, Obj
from sampan.apiserver.call import Call
from sampan.apiserver.options import WriteOptions
from sampan.apiserver.patch.managed import update_managed_fields
from sampan.apiserver.patch.versions import converter
from sampan.apiserver.workers import LARGE

Args = TypeVarTuple("Args")
METADATA = Path("metadata")


def match_namespace(call: Call, meta: Obj) -> None:
    if not call.kind.names.namespaced:
        meta.pop("namespace", None)
        return
    if not meta.get("namespace"):
        meta["namespace"] = call.info.namespace
    elif meta["namespace"] != call.info.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )


def own_fields(
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
    set_owners(obj["metadata"], entries)


def set_owners(meta: Obj, entries: list[Obj]) -> None:
    """None of them is no field: upstream leaves an empty list out."""
    if entries:
        meta["managedFields"] = entries
    else:
        meta.pop("managedFields", None)


async def checked(call: Call, kind: Kind, size: int, check: Callable[[*Args], list[str]], *args: *Args) -> list[str]:
    """Checking, which clients can make long, keeps nobody else waiting."""
    if kind.slow_checks:
        return await call.api.workers.run(check, *args, user=call.user.name)
    if kind.custom and size <= LARGE:
        return await call.api.workers.brief(check, *args, user=call.user.name)
    return await call.work(size, check, *args)


def raise_invalid(kind: Kind, obj: Obj, problems: ErrorList) -> None:
    if problems:
        raise errors.invalid(kind.names.group, kind.names.kind, obj["metadata"].get("name", ""), problems)
