"""What expressions of admission may use, and what is wrong with one.

`object` and `oldObject` are of any type here; type checking (`status.typeChecking`) puts the real types in their place.

Source: k8s.io/apiserver/pkg/admission/plugin/cel/{compile,composition}.go
"""

from __future__ import annotations

import functools
from typing import Any

from sampan.api import cel
from sampan.api.cel import types
from sampan.api.cel.library import jsonpatch
from sampan.api.cel.types import DeclField, Type
from sampan.api.field import ErrorList, Path


def _object(name: str, required: bool = True, /, **fields: Type) -> Type:
    return types.ObjectType(name, {key: DeclField(key, type, key, required) for key, type in fields.items()})


_RESOURCE_CHECK = types.ObjectType("kubernetes.authorization.ResourceCheck", {})
#: that of the request has a field which no other authorizer has
AUTHORIZER = _object("kubernetes.authorization.Authorizer", requestResource=_RESOURCE_CHECK)
_STRINGS = types.ListType(types.String)
_GVK = _object("kubernetes.GroupVersionKind", group=types.String, version=types.String, kind=types.String)
_GVR = _object("kubernetes.GroupVersionResource", group=types.String, version=types.String, resource=types.String)
_USER = _object(
    "kubernetes.UserInfo", False,
    username=types.String, uid=types.String, groups=_STRINGS, extra=types.MapType(types.String, _STRINGS),
)  # fmt: skip
#: AdmissionRequest without its objects, which are variables of their own
REQUEST = _object(
    "kubernetes.AdmissionRequest", False,
    kind=_GVK, resource=_GVR, subResource=types.String, requestKind=_GVK, requestResource=_GVR,
    requestSubResource=types.String, name=types.String, namespace=types.String, operation=types.String, userInfo=_USER,
    dryRun=types.Bool, options=types.Dyn,
)  # fmt: skip
_CONDITION = _object(
    "kubernetes.NamespaceCondition",
    status=types.String, type=types.String, lastTransitionTime=types.Timestamp, message=types.String, reason=types.String,
)  # fmt: skip
_LABELS = types.MapType(types.String, types.String)
_METADATA = _object(
    "kubernetes.NamespaceMetadata",
    name=types.String, generateName=types.String, namespace=types.String, labels=_LABELS, annotations=_LABELS,
    UID=types.String, creationTimestamp=types.Timestamp, deletionGracePeriodSeconds=types.Int,
    deletionTimestamp=types.Timestamp, generation=types.Int, resourceVersion=types.String, finalizers=_STRINGS,
)  # fmt: skip
NAMESPACE = _object(
    "kubernetes.Namespace",
    metadata=_METADATA,
    spec=_object("kubernetes.NamespaceSpec", finalizers=_STRINGS),
    status=_object("kubernetes.NamespaceStatus", conditions=types.ListType(_CONDITION), phase=types.String),
)


@functools.cache
def environment(*, params: bool = False, authorizer: bool = True) -> cel.Environment:
    variables = {"object": types.Dyn, "oldObject": types.Dyn, "namespaceObject": NAMESPACE, "request": REQUEST}
    if params:
        variables["params"] = types.Dyn
    if authorizer:
        variables["authorizer"] = AUTHORIZER
    return cel.Environment(variables)


def patches(base: cel.Environment) -> cel.Environment:
    """With the types and the function that mutations have besides."""
    return base.extend({}, functions=jsonpatch.jsonpatch, names=jsonpatch.NAMES)


def result_of(patch_type: str) -> Type:
    """What the expression of a mutation must evaluate to."""
    return jsonpatch.OBJECT if patch_type == "ApplyConfiguration" else types.ListType(jsonpatch.JSON_PATCH)


def with_variables(base: cel.Environment, found: dict[str, Type]) -> cel.Environment:
    """With `variables`, whose fields are `found`."""
    fields = {name: DeclField(name, type, name, nulls=True) for name, type in found.items()}
    return base.extend({"variables": types.ObjectType("kubernetes.variables", fields)})


def compile(within: cel.Environment, source: str, *expect: Type) -> cel.Program:
    """Raises cel.CompileError, also where the result is of none of the types in `expect` (nothing: of any)."""
    program = within.compile(source)
    if expect and program.type not in expect:
        wanted = ["null_type" if type.kind == "null" else str(type) for type in expect]
        listed = wanted[0] if len(wanted) == 1 else f"one of [{' '.join(wanted)}]"
        raise cel.CompileError(f"must evaluate to {listed} but got {program.type}", wrong_type=True)
    return program


def check(within: cel.Environment, source: str, path: Path, out: ErrorList, *expect: Type) -> cel.Program | None:
    """The program, or None and what is wrong with it in `out`."""
    try:
        return compile(within, source, *expect)
    except cel.CompileError as error:
        out.invalid(path, source, str(error))
        return None


def check_condition(expression: str, path: Path, out: ErrorList, **given: Any) -> None:
    """An entry of `matchConditions`."""
    check(environment(**given), expression, path, out, types.Bool)
