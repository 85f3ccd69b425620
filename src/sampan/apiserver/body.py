"""Request bodies: from bytes to a canonical object of the expected kind.

Source: k8s.io/apiserver/pkg/endpoints/handlers/create.go, rest.go (`checkName`, strict decoding)
"""

from __future__ import annotations

from typing import Any

import orjson

from sampan.api import errors
from sampan.api.kind import Kind, Obj
from sampan.api.schema.bodies import JSON, PROTOBUF, YAML, read_body
from sampan.api.schema.decode import apply_declared_defaults, decode
from sampan.api.schema.nodes import Struct
from sampan.apiserver.cache import Record
from sampan.apiserver.call import Call

SPEC = b'"spec":'


async def read_object(call: Call, validation: str, kind: Kind | None = None, stored: Record | None = None) -> Obj:
    """The body as a canonical object of `kind` (default: the addressed one), unknown and duplicate fields reported as
    `validation` says: dropped, warned of, or refused with 400. `stored`: what it is to replace."""
    return await call.work(call.body_size, _object, call, validation, kind or call.kind, stored)


async def read_as(call: Call, struct: Struct, gvk: tuple[str, str, str], validation: str = "Warn") -> Obj:
    """As `read_object`, for types that are no resource (Scale, Binding)."""
    return await call.work(call.body_size, _as, call, struct, gvk, validation)


def _object(call: Call, validation: str, kind: Kind, stored: Record | None) -> Obj:
    names = kind.names
    if kind.converts or kind.custom:
        stored = None
    obj = _as(call, kind.schema, (names.group, names.version, names.kind), validation, stored)
    kind.default(obj)
    return obj


def _as(call: Call, struct: Struct, gvk: tuple[str, str, str], validation: str, stored: Record | None = None) -> Obj:
    content_type = call.request.headers.get("content-type", "")
    if call.kind.custom and content_type.startswith(PROTOBUF):
        raise errors.unsupported_media_type((JSON, YAML))
    raw, found, duplicates = read_body(
        call.request.body,
        content_type,
        default_gvk=gvk,
        resolve=call.api.registry.struct,
        want_duplicates=validation != "Ignore",
    )
    if found != gvk:
        raise wrong_kind(found, gvk)
    spec = raw["spec"] if stored is not None and _same_spec(stored, raw) else None
    return finish(call, struct, gvk, raw, validation, duplicates, spec)


def _same_spec(stored: Record, raw: dict[str, Any]) -> bool:
    """Is `spec` to the byte what is stored? It is where `encode` puts it, if that laid the object out."""
    spec = raw.get("spec")
    if spec.__class__ is not dict or not stored.split:
        return False
    mine = SPEC + orjson.dumps(spec)
    start = stored.split + 1
    end = start + len(mine)
    return stored.value.startswith(mine, start) and stored.value[end : end + 1] in (b",", b"}")


def finish(
    call: Call,
    struct: Struct,
    gvk: tuple[str, str, str],
    raw: dict[str, Any],
    validation: str,
    problems: list[str],
    spec: Obj | None = None,
) -> Obj:
    """Decode `raw` as `gvk`; what strict decoding finds goes where `validation` says. `spec`: that of `raw`, where it need
    not be read, since it is what is stored; it becomes the new object's."""
    strict: list[str] | None = list(problems) if validation != "Ignore" else None
    obj = decode(struct, raw if spec is None else {**raw, "spec": {}}, strict=strict)
    if spec is not None:
        obj["spec"] = spec
    group, version, kind = gvk
    api_version = f"{group}/{version}" if group else version
    obj = {"kind": kind, "apiVersion": api_version, **obj}
    obj["kind"], obj["apiVersion"] = kind, api_version
    meta = raw.get("metadata")
    if meta.__class__ is dict and meta.get("managedFields") == []:
        # unlike any other empty list it says something: nobody owns anything
        obj["metadata"]["managedFields"] = [{}]
    if strict:
        report(call, gvk, strict, validation)
    apply_declared_defaults(struct, obj)
    return obj


def report(call: Call, gvk: tuple[str, str, str], problems: list[str], validation: str) -> None:
    """Warn of strict decoding problems, or raise 400."""
    if validation == "Strict":
        _, version, kind = gvk
        listed = ", ".join(problems)
        shown = f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {listed}'
        raise errors.bad_request(shown)
    call.warnings.extend(problems)


def wrong_kind(found: tuple[str, str, str], gvk: tuple[str, str, str]) -> errors.StatusError:
    """400 for a body of another kind or version than the URL's."""

    def shown(value: tuple[str, str, str]) -> str:
        group, version, _ = value
        return f"{group}/{version}" if group else version

    if found[2] != gvk[2]:
        message = f'{found[2]} in version "{found[1]}" cannot be handled as a {gvk[2]}: converting ({shown(found)}.{found[2]}) to ({shown(gvk)}.{gvk[2]}): unknown conversion'
    else:
        message = f"the API version in the data ({shown(found)}) does not match the expected API version ({shown(gvk)})"
    return errors.bad_request(message)
