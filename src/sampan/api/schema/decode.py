"""From whatever a client sent to the canonical object: what Go would print after reading it.

Unknown fields go (and are reported), nulls are unset, wrong types are refused with Go's words, quantities and times get
their one spelling, optional fields that are empty disappear, and fields that Go always prints appear with their zero.
Each struct is compiled once into closures; the walk then costs little more than the copying it does.

Source: sigs.k8s.io/json (the decoder's messages); encoding/json's omitempty rules on the types in k8s.io/api
"""

from __future__ import annotations

import base64
import binascii
import copy
from collections.abc import Callable
from typing import Any

from sampan.api import errors, quantity, times
from sampan.api.schema.nodes import Field, ListOf, MapOf, Node, Scalar, Struct

Strict = list[str] | None
#: a path as text, or (path of the container, its field or key, index in a list or -1): it is put into words when it is
#: told of, which is seldom
Where = str | tuple[Any, str, int]
#: value, path of the container it stands in, where to report unknown fields
Reader = Callable[[Any, Where, Strict], Any]
_UNSET: Any = object()
_GO_SCALAR = {
    "s": "string", "i": "int32", "l": "int64", "b": "bool", "B": "[]uint8", "d": "float64", "q": "resource.Quantity",
    "x": "intstr.IntOrString", "t": "v1.Time", "u": "v1.MicroTime", "r": "runtime.RawExtension", "f": "v1.FieldsV1",
}  # fmt: skip


class WrongType(Exception):
    """A value that cannot be read; `text` is what Go says of it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def decode(struct: Struct, raw: Any, *, strict: Strict) -> dict[str, Any]:
    """A new canonical dict. `strict`, when given, collects `unknown field "..."` texts. Raises 400."""
    try:
        if not isinstance(raw, dict):
            raise WrongType(f"json: cannot unmarshal {_word(raw)} into Go value of type {_go_type(struct)}")
        out: dict[str, Any] = reader(struct)(raw, "", strict)
        return out
    except WrongType as error:
        kind = struct.name
        version = struct.gvk[1] if struct.gvk else "v1"
        raise errors.bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {error.text}') from None
    except RecursionError:
        raise errors.bad_request("the object is nested too deeply") from None


_readers: dict[int, tuple[Struct, Reader]] = {}


def reader(struct: Struct) -> Reader:
    """The compiled reader of one struct."""
    if struct.reader is not None:
        return struct.reader
    found = _readers.get(id(struct))
    if found is None:
        found = _readers[id(struct)] = (struct, _special(struct) or _compile(struct))
    return found[1]


def _word(value: Any) -> str:
    """What Go calls a JSON value."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "object" if isinstance(value, dict) else "array" if isinstance(value, list) else "null"


def _go_type(node: Node) -> str:
    if isinstance(node, Scalar):
        return _GO_SCALAR.get(node.code, "interface {}")
    if isinstance(node, ListOf):
        return "[]" + _go_type(node.element)
    if isinstance(node, MapOf):
        return "map[string]" + _go_type(node.value)
    return f"{node.package.rpartition('_')[2] if '_' in node.package else 'v1'}.{node.name}"


def words(where: Where, indexes: bool = True) -> str:
    """A path as text: `spec.containers[0].image`; Go's type errors show none of the indexes."""
    if isinstance(where, str):
        return where
    above, name, index = where
    path = words(above, indexes)
    path = f"{path}.{name}" if path else name
    return f"{path}[{index}]" if index >= 0 and indexes else path


def _wrong(struct: str, path: Where, name: str, value: Any, node: Node, shown: str = "") -> WrongType:
    where = f"{struct}.{words((path, name, -1), False)}"
    return WrongType(
        f"json: cannot unmarshal {shown or _word(value)} into Go struct field {where} of type {_go_type(node)}"
    )


def zero(node: Node) -> Any:
    """What Go prints for a field that was never set."""
    if isinstance(node, Struct):
        if node.reader is not None:
            return {}
        return reader(node)({}, "", None) if _special(node) is None else None
    if isinstance(node, Scalar):
        return {"s": "", "i": 0, "l": 0, "b": False, "d": 0, "q": "0", "x": 0}.get(node.code)
    return None


def _prints_zero(field: Field) -> bool:
    """Structs, quantities and int-or-strings have no notion of empty in Go: without a pointer they are always there."""
    if field.always:
        return True
    if field.pointer:
        return False
    node = field.node
    if isinstance(node, Struct):
        return _special(node) is None
    return isinstance(node, Scalar) and node.code in ("q", "x")


def _compile(struct: Struct) -> Reader:
    #: reader (None: plain strings), and whether empty values stay
    known: dict[str, tuple[Reader | None, bool]] = {}
    zeros: list[tuple[str, Field]] = []
    name = struct.name

    for field in struct.fields.values():
        keeps = field.pointer or _prints_zero(field)
        plain = isinstance(field.node, Scalar) and field.node.code == "s"
        known[field.name] = (None if plain else _value_reader(name, field), keeps)
        if _prints_zero(field):
            zeros.append((field.name, field))
    lead = [item for item in ("kind", "apiVersion", "metadata") if item in struct.fields] if struct.gvk else []
    blank: list[tuple[str, Any]] = []
    compiled = False

    def read(value: Any, path: Where, strict: Strict) -> dict[str, Any]:
        nonlocal compiled, blank
        out: dict[str, Any] = {}
        if lead:
            for item in lead:
                if item in value:
                    out[item] = None
        for key, entry in value.items():
            found = known.get(key)
            if found is None:
                if strict is not None:
                    strict.append(f'unknown field "{words((path, key, -1))}"')
                continue
            made = entry
            if entry is None:
                out.pop(key, None)
                continue
            read_it, keeps = found
            if read_it is not None:
                made = read_it(entry, path, strict)
            elif entry.__class__ is not str:
                raise _wrong(name, path, key, entry, _STRING)
            if made or keeps or made is None:
                out[key] = made
            else:
                out.pop(key, None)
        if not compiled:
            blank = [(key, zero(field.node)) for key, field in zeros]
            compiled = True
        for key, empty in blank:
            if key not in out:
                out[key] = _again(empty) if empty.__class__ is dict else empty
        return out

    return read


def _again(blank: dict[str, Any]) -> dict[str, Any]:
    """A copy of a zero, which holds nothing but dicts and scalars."""
    return {key: _again(value) if value.__class__ is dict else value for key, value in blank.items()}


def _value_reader(struct: str, field: Field) -> Reader:
    name, node = field.name, field.node
    if isinstance(node, Scalar):
        return _scalar(struct, name, node)
    if isinstance(node, Struct):
        return _struct(struct, name, node)
    if isinstance(node, ListOf):
        return _list(struct, name, node)
    return _map(struct, name, node)


def _struct(owner: str, name: str, node: Struct) -> Reader:
    read: Reader | None = None

    def struct(value: Any, path: Where, strict: Strict) -> Any:
        nonlocal read
        if read is None:
            read = reader(node)
        if value.__class__ is not dict and _special(node) is None:
            raise _wrong(owner, path, name, value, node)
        return read(value, (path, name, -1), strict)

    return struct


def _list(owner: str, name: str, node: ListOf) -> Reader:
    element = node.element
    if isinstance(element, Struct):
        read: Reader | None = None

        def structs(value: Any, path: Where, strict: Strict) -> Any:
            nonlocal read
            if value.__class__ is not list:
                raise _wrong(owner, path, name, value, node)
            if read is None:
                read = reader(element)
            out = []
            for index, item in enumerate(value):
                if item.__class__ is not dict and _special(element) is None:
                    if item is None:
                        item = {}
                    else:
                        raise _wrong(owner, path, name, item, element)
                out.append(read(item, (path, name, index), strict))
            return out

        return structs
    read_item = _value_reader(owner, Field(name, element))
    empty = zero(element)

    def scalars(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is not list:
            raise _wrong(owner, path, name, value, node)
        return [empty if item is None else read_item(item, path, strict) for item in value]

    return scalars


def _map(owner: str, name: str, node: MapOf) -> Reader:
    value_node = node.value
    read_item = _value_reader(owner, Field(name, value_node)) if not isinstance(value_node, Struct) else None
    empty = None if isinstance(value_node, Struct) else zero(value_node)
    if value_node == Scalar("B"):
        empty = ""  # no bytes are stored as none, and come back as such

    def mapping(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is not dict:
            raise _wrong(owner, path, name, value, node)
        if read_item is not None:
            return {key: empty if item is None else read_item(item, path, strict) for key, item in value.items()}
        read = reader(value_node)  # type: ignore[arg-type]
        base = (path, name, -1)
        out = {}
        for key, item in value.items():
            if not isinstance(item, dict) and _special(value_node) is None:  # type: ignore[arg-type]
                raise _wrong(owner, path, name, item, value_node)
            out[key] = read(item, (base, key, -1), strict)
        return out

    return mapping


_STRING = Scalar("s")
_RANGES = {"i": (-(1 << 31), (1 << 31) - 1), "l": (-(1 << 63), (1 << 63) - 1)}


def _scalar(owner: str, name: str, node: Scalar) -> Reader:
    code = node.code

    def string(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is not str:
            raise _wrong(owner, path, name, value, node)
        return value

    def boolean(value: Any, path: Where, strict: Strict) -> Any:
        if value is not True and value is not False:
            raise _wrong(owner, path, name, value, node)
        return value

    def integer(value: Any, path: Where, strict: Strict) -> Any:
        low, high = _RANGES[code]
        if value.__class__ is not int:
            shown = f"number {value!r}" if isinstance(value, float) else ""
            raise _wrong(owner, path, name, value, node, shown)
        if not low <= value <= high:
            raise _wrong(owner, path, name, value, node, f"number {value}")
        return value

    def double(value: Any, path: Where, strict: Strict) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(owner, path, name, value, node)
        return value

    def octets(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is not str:
            raise _wrong(owner, path, name, value, node)
        try:
            return base64.b64encode(base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)).decode()
        except (binascii.Error, ValueError):
            raise WrongType(f"illegal base64 data at input byte {_first_bad(value)}") from None

    def amount(value: Any, path: Where, strict: Strict) -> Any:
        try:
            return quantity.canonical(value)
        except (ValueError, TypeError) as error:
            if isinstance(value, (dict, list, bool)):
                raise _wrong(owner, path, name, value, node) from None
            raise WrongType(str(error)) from None

    def int_or_string(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is str:
            return value
        return limited(value, path, strict)

    limited = _scalar(owner, name, Scalar("i")) if code == "x" else integer

    def time(value: Any, path: Where, strict: Strict) -> Any:
        if value.__class__ is not str:
            raise WrongType(f"json: cannot unmarshal {_word(value)} into Go value of type string")
        try:
            return times.canonical_time(value) if code == "t" else times.canonical_micro_time(value)
        except ValueError as error:
            raise WrongType(str(error)) from None

    def fields(value: Any, path: Where, strict: Strict) -> Any:
        if not isinstance(value, dict):
            raise _wrong(owner, path, name, value, node)
        return value

    def anything(value: Any, path: Where, strict: Strict) -> Any:
        return value

    readers: dict[str, Reader] = {
        "s": string, "b": boolean, "i": integer, "l": integer, "d": double, "B": octets, "q": amount,
        "x": int_or_string, "t": time, "u": time, "f": fields, "r": anything, "o": anything,
    }  # fmt: skip
    return readers[code]


def _first_bad(text: str) -> int:
    alphabet = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")
    return next((index for index, char in enumerate(text) if char not in alphabet), len(text) - len(text) % 4)


def _special(struct: Struct) -> Reader | None:
    """Types of apiextensions whose JSON is not that of their fields."""
    if struct.package != "apiextensions_v1":
        return None
    if struct.name == "JSON":
        return lambda value, path, strict: value
    if struct.name == "JSONSchemaPropsOrBool":
        return _either(bool)
    if struct.name == "JSONSchemaPropsOrArray":
        return _either(list)
    if struct.name == "JSONSchemaPropsOrStringArray":
        return _strings_or_schema
    return None


def _schema(value: Any, path: Where, strict: Strict) -> Any:
    from sampan.api.schema import facts

    if not isinstance(value, dict):
        raise WrongType(f"json: cannot unmarshal {_word(value)} into Go value of type v1.JSONSchemaProps")
    return reader(facts.struct("apiextensions_v1", "JSONSchemaProps"))(value, path, strict)


def _either(other: type) -> Reader:
    def read(value: Any, path: Where, strict: Strict) -> Any:
        if other is bool and isinstance(value, bool):
            return value
        if other is list and isinstance(value, list):
            return [_schema(item, path, strict) for item in value]
        return _schema(value, path, strict)

    return read


def _strings_or_schema(value: Any, path: Where, strict: Strict) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    return _schema(value, path, strict)


# -- declared defaults -----------------------------------------------------------------------------------------------

Filler = Callable[[dict[str, Any]], None]
_fillers: dict[int, tuple[Struct, Filler | None]] = {}


def apply_declared_defaults(struct: Struct, obj: dict[str, Any]) -> None:
    """Fill in what a `+default` marker declares, in place; only paths that lead to one are walked."""
    fill = _filler(struct, ()) if struct.reader is None else None
    if fill is not None:
        fill(obj)


def _filler(struct: Struct, above: tuple[int, ...]) -> Filler | None:
    if id(struct) in _fillers:
        return _fillers[id(struct)][1]
    if id(struct) in above:
        return None
    own: list[tuple[str, Any]] = []
    inner: list[tuple[str, Filler, str]] = []
    for field in struct.fields.values():
        # of a pointer, zero says something
        if field.default is not None and (field.pointer or field.default not in ("", 0, False)):
            own.append((field.name, field.default))
        node = field.node
        shape = "one"
        if isinstance(node, ListOf):
            node, shape = node.element, "list"
        elif isinstance(node, MapOf):
            node, shape = node.value, "map"
        if isinstance(node, Struct):
            fill = _filler(node, (*above, id(struct)))
            if fill is not None:
                inner.append((field.name, fill, shape))
    made: Filler | None = None
    if own or inner:

        def made(obj: dict[str, Any]) -> None:
            for name, value in own:
                if obj.get(name) in (None, "") and obj.get(name) != value:
                    obj[name] = copy.deepcopy(value)
            for name, fill, shape in inner:
                value = obj.get(name)
                if not value:
                    continue
                for item in (value,) if shape == "one" else value if shape == "list" else value.values():
                    fill(item)

    if not above:
        _fillers[id(struct)] = (struct, made)
    return made
