"""What an expression may cost at the least and at the most, before any object is known.

Sizes come from what the schema declares (`maxLength`, `maxItems`, ... or what fits in a request), followed along the
path from a variable; literals and results of functions have sizes of their own; what is unknown may be of any size.

Source: cel-go checker/cost.go, k8s.io/apiserver/pkg/cel/library/cost.go (EstimateCallCost)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.cel.ast import (
    Bind,
    Call,
    Constant,
    Fold,
    Ident,
    ListNode,
    Logical,
    MapNode,
    Node,
    Select,
    StructNode,
)
from sampan.api.cel.cost import AUTHORIZATION_COST, LIST_COST, MAP_COST, REGEX_FACTOR, STRING_FACTOR, STRUCT_COST
from sampan.api.cel.functions import Overload
from sampan.api.cel.sizes import (
    MAX,
    ONE,
    UNKNOWN,
    ZERO,
    CostEstimate,
    Size,
    allocating,
    exactly,
    replaced,
    self_compare,
)
from sampan.api.cel.types import Type, is_optional

_SCALARS = frozenset(("bool", "int", "uint", "double", "timestamp", "duration"))
_COSTLY_SELECT = frozenset(("map", "object", "param"))
#: the longest regular expression of a named format
_FORMAT_REGEX = 128
_IP = Size(4, 16)


class Estimator:
    def __init__(self, variables: Mapping[str, Type]) -> None:
        self._declared: list[Mapping[str, Type | None]] = [variables]
        self._local_sizes: list[Mapping[str, Size | None]] = [{}]
        #: by identity of the node: the type it was declared with, its size, the size of what is in it
        self._paths: dict[int, Type] = {}
        self._sizes: dict[int, Size] = {}
        self._inner: dict[int, Size] = {}

    def cost(self, node: Node) -> CostEstimate:
        return _COSTS[type(node)](self, node)

    # --- sizes --------------------------------------------------------------------------------------------------------

    def _size(self, node: Node) -> Size:
        return self._known_size(node) or UNKNOWN

    def _known_size(self, node: Node) -> Size | None:
        found = self._sizes.get(id(node)) or _literal_size(node)
        if found is not None:
            return found
        path = self._paths.get(id(node))
        if path is not None:
            return Size(0, path.max_elements or 0)
        if _is_scalar(node.type):
            return ONE
        if isinstance(node, Ident):
            for names in reversed(self._local_sizes):
                if node.name in names:
                    return names[node.name]
        return None

    def _element_size(self, node: Node) -> Size:
        """Of the items of a list."""
        path = self._paths.get(id(node))
        if path is not None:
            return Size(0, path.element.max_elements or 0)
        return UNKNOWN

    # --- nodes --------------------------------------------------------------------------------------------------------

    def _literal(self, node: Constant) -> CostEstimate:
        return ZERO

    def _ident(self, node: Ident) -> CostEstimate:
        if node.constant is None:
            for names in reversed(self._declared):
                if node.name in names:
                    declared = names[node.name]
                    if declared is not None:
                        self._paths[id(node)] = declared
                    break
        return ONE

    def _select(self, node: Select) -> CostEstimate:
        if node.constant is not None:
            return ONE
        cost = self.cost(node.operand)
        if node.test:
            return cost
        path = self._paths.get(id(node.operand))
        if path is not None and not node.optional:
            if is_optional(path):
                path = path.element
            field = (path.fields or {}).get(node.name)
            if field is not None:
                self._paths[id(node)] = field.type
        of = node.operand.type
        return cost + ONE if of.kind in _COSTLY_SELECT or node.optional else cost

    def _call(self, node: Call) -> CostEstimate:
        costs = [self.cost(arg) for arg in node.args]
        if node.name == "dyn":
            self._copy(node, node.args[0])
            return ONE + costs[0]
        args = sum(costs, ZERO)
        total = self.cost(node.target) if node.target is not None else ZERO
        union: CostEstimate | None = None
        size: Size | None = None
        for overload in node.overloads:
            cost, result = self._function(node, overload, costs, args)
            union = cost if union is None else union | cost
            if result is not None:
                size = result if size is None else size | result
            if overload.id in ("index_list", "index_map"):
                size = self._inner.get(id(node.args[0]), size)
                path = self._paths.get(id(node.args[0]))
                if path is not None:
                    self._paths[id(node)] = path.element
        size = size or self._known_size(node)
        if size is not None:
            self._sizes[id(node)] = size
        return total + (union or ZERO)

    def _copy(self, to: Node, source: Node) -> None:
        size = self._known_size(source)
        if size is not None:
            self._sizes[id(to)] = size
        if id(source) in self._inner:
            self._inner[id(to)] = self._inner[id(source)]

    def _logical(self, node: Logical) -> CostEstimate:
        costs = [self.cost(arg) for arg in node.args]
        return CostEstimate(costs[0].min, sum(costs, ZERO).max)

    def _list(self, node: ListNode) -> CostEstimate:
        total = sum((self.cost(item) for item in node.items), ZERO)
        inner: Size | None = None
        for item in node.items:
            size = self._size(item)
            inner = size if inner is None else inner | size
        self._inner[id(node)] = inner or ZERO
        return total + exactly(LIST_COST)

    def _map(self, node: MapNode) -> CostEstimate:
        total = exactly(MAP_COST)
        inner: Size | None = None
        for _, key, value, _ in node.entries:
            total += self.cost(key) + self.cost(value)
            inner = self._size(value) if inner is None else inner | self._size(value)
        self._inner[id(node)] = inner or ZERO
        return total

    def _struct(self, node: StructNode) -> CostEstimate:
        return sum((self.cost(value) for _, _, value, _ in node.entries), exactly(STRUCT_COST))

    def _fold(self, node: Fold) -> CostEstimate:
        over = self.cost(node.over)
        count = self._size(node.over)
        self._enter(node)
        condition = self.cost(node.condition) if node.condition is not None else ZERO
        body = self.cost(node.body)
        item = self._size(node.body)
        self._declared.pop()
        self._local_sizes.pop()
        if node.kind in ("all", "exists"):
            step = exactly(2 if node.kind == "all" else 3) + CostEstimate(1, min(1 + body.max, MAX))
            self._sizes[id(node)] = ONE
            return over + count * step + ONE
        if node.kind == "exists_one":
            self._sizes[id(node)] = ONE
            return over + count * (body + CostEstimate(1, 2)) + exactly(2)
        self._sizes[id(node)] = count
        if node.kind == "sortBy":
            loop = exactly(LIST_COST) + count * (body + exactly(LIST_COST + 2)) + ONE
            return over + exactly(LIST_COST + 2) + loop + self_compare(count, node.body.type)
        if node.kind in ("map", "filter"):
            self._inner[id(node)] = Size(0, item.max)
            step, start = body + exactly(LIST_COST + 2), LIST_COST
        else:
            step, start = body + exactly(2 if node.kind == "transformMapEntry" else 3), MAP_COST
        if node.condition is not None:
            step = condition + (step | ONE)
        return over + exactly(start) + count * step + ONE

    def _enter(self, node: Fold) -> None:
        path = self._paths.get(id(node.over))
        inner = self._inner.get(id(node.over))
        of = node.over.type
        listed = of.kind == "list"
        element = path.element if path is not None and path.params else None
        key = path.key if path is not None and path.kind == "map" else None
        if node.second:
            self._declared.append({node.first: None if listed else key, node.second: element})
            self._local_sizes.append({node.first: ONE if listed else None, node.second: inner})
        else:
            self._declared.append({node.first: element if listed else key})
            self._local_sizes.append({node.first: inner if listed else None})

    def _bind(self, node: Bind) -> CostEstimate:
        over = self.cost(node.over)
        self._declared.append({node.name: None})
        self._local_sizes.append({node.name: None})
        body = self.cost(node.body)
        self._declared.pop()
        self._local_sizes.pop()
        least = min(over.min + 2, MAX)
        return CostEstimate(least, min(2 * over.max + 3 + LIST_COST + body.max, MAX))

    def _join_inner(self, node: Node, a: Node, b: Node) -> None:
        left, right = self._inner.get(id(a)), self._inner.get(id(b))
        if left is not None and right is not None:
            self._inner[id(node)] = left | right

    # --- calls --------------------------------------------------------------------------------------------------------

    def _function(
        self, node: Call, overload: Overload, costs: list[CostEstimate], args: CostEstimate
    ) -> tuple[CostEstimate, Size | None]:
        """The cost, with that of the arguments, and the size of the result where it is known."""
        found = self._kubernetes(node, overload)
        if found is not None:
            return found[0] + args, found[1]
        name, which = node.name, overload.id
        first = node.target if node.target is not None else node.args[0] if node.args else None
        last = node.args[-1] if node.args else None
        if first is None or last is None:
            return ONE + args, None
        if which == "string_to_bytes":
            size = self._size(last)
            return size.times(STRING_FACTOR) + args, Size(size.min, min(size.max * 4, MAX))
        if which == "bytes_to_string":
            size = self._size(last)
            return size.times(STRING_FACTOR) + args, Size(size.min // 4, size.max)
        if which in ("starts_with_string", "ends_with_string"):
            return self._size(last).times(STRING_FACTOR) + args, None
        if which == "in_list":
            return self._size(last) + args, None
        if which == "matches_string":
            text = (self._size(first) + ONE).times(STRING_FACTOR)
            return text * self._size(last).times(REGEX_FACTOR) + args, None
        if which == "contains_string":
            return self._size(first).times(STRING_FACTOR) * self._size(last).times(STRING_FACTOR) + args, None
        extension = self._list_extension(node, which)
        if extension is not None:
            return extension[0] + args, extension[1]
        if name == "_?_:_":
            yes, no = node.args[1:]
            self._join_inner(node, yes, no)
            return costs[0] + (costs[1] | costs[2]), self._size(yes) | self._size(no)
        if which in ("add_string", "add_bytes", "add_list"):
            size = self._size(first) + self._size(last)
            self._join_inner(node, first, last)
            return (ONE if which == "add_list" else size.times(STRING_FACTOR)) + args, size
        if name in ("_==_", "_!=_") or (
            which.endswith(("_string", "_bytes")) and name in ("_<_", "_<=_", "_>_", "_>=_")
        ):
            most = min(self._size(first).max, self._size(last).max)
            return CostEstimate(min(1, most), most).times(STRING_FACTOR) + args, None
        return ONE + args, None

    def _list_extension(self, node: Call, which: str) -> tuple[CostEstimate, Size | None] | None:
        if which.startswith("list_sets_"):
            pairs = self._size(node.args[0]) * self._size(node.args[1])
            return (pairs + pairs if which == "list_sets_equivalent_list" else pairs) + ONE, None
        if which == "lists_range":
            size = exactly(_literal_int(node.args[0], MAX))
            return allocating(1, size), size
        if node.target is None:
            return None
        size = self._size(node.target)
        if which == "list_slice":
            size = exactly(max(_literal_int(node.args[1], size.max) - _literal_int(node.args[0], 0), 0))
            return allocating(1, size), size
        if which == "list_reverse":
            return allocating(1, size), size
        if which in ("list_flatten", "list_flatten_int"):
            return allocating(_literal_int(node.args[0], MAX) if node.args else 1, size), size
        if which == "list_distinct" or node.name == "sort":
            return self_compare(size, node.target.type.element), size * size
        return None

    def _kubernetes(self, node: Call, overload: Overload) -> tuple[CostEstimate, Size | None] | None:
        """What Kubernetes says of its own functions and of some of the extensions'."""
        name, target, args = node.name, node.target, node.args
        if name == "check":
            return exactly(AUTHORIZATION_COST), None
        if name in ("fieldSelector", "labelSelector") and len(args) == 1:
            length = self._size(args[0])
            parts = length.times(0.5).times(LIST_COST + STRUCT_COST)
            return exactly(LIST_COST) + length.times(STRING_FACTOR) + parts, None
        if name in ("url", "jsonpatch.escapeKey") and len(args) == 1:
            size = self._size(args[0])
            return size.times(STRING_FACTOR), size
        if overload.id == "strings_quote":
            size = self._size(args[0])
            return size.times(STRING_FACTOR), Size(min(size.min + 2, MAX), min(2 * size.max + 2, MAX))
        if name in _PARSERS and args:
            return self._size(args[0]).times(_PARSERS[name] * STRING_FACTOR), None
        if name == "_==_" and args[0].type == args[1].type and args[0].type.name in _UNIT_EQUALITY:
            return ONE, None
        if target is None:
            return None
        size = self._size(target)
        if overload.id == "string_format":
            return size.times(STRING_FACTOR), size + self._size(args[0])
        if name in ("isSorted", "sum", "max", "min", "indexOf", "lastIndexOf"):
            if not target.type.params:
                return size.times(STRING_FACTOR), None
            each = ONE
            if target.type.element.kind in ("string", "bytes"):
                each += self._element_size(target).times(STRING_FACTOR)
            return size * each, None
        if name in ("lowerAscii", "upperAscii", "substring", "trim"):
            return size.times(STRING_FACTOR), size
        if name == "replace" and len(args) >= 2:
            return size.times(2 * STRING_FACTOR), replaced(size, self._size(args[0]), self._size(args[1]))
        if name == "split":
            most = size.max
            if len(args) > 1 and isinstance(args[1], Constant) and type(args[1].value) is int:
                most = args[1].value if args[1].value >= 0 else MAX
            return size.times(2 * STRING_FACTOR), Size(0, most)
        if name == "join":
            joined = size * self._element_size(target)
            if args:
                joined += self._size(args[0]) * Size(max(size.min - 1, 0), max(size.max - 1, 0))
            return joined.times(STRING_FACTOR), joined
        if name in ("find", "findAll") and args:
            text = (size + ONE).times(STRING_FACTOR)
            return text * self._size(args[0]).times(REGEX_FACTOR), Size(0, size.max)
        if name in ("containsIP", "containsCIDR") and args:
            cost = (_IP + _IP).times(STRING_FACTOR)
            if name == "containsCIDR":
                cost += _IP.times(STRING_FACTOR) + ONE
            if overload.params[1].kind == "string":
                cost += self._size(args[0]).times(STRING_FACTOR)
            return cost, None
        if name == "validate":
            return self._size(args[0]).times(STRING_FACTOR).times(_FORMAT_REGEX * REGEX_FACTOR), None
        return None


#: functions that read a string, and how often
_PARSERS = {
    "cidr": 1, "isIP": 1, "isCIDR": 1, "ip": 1, "ip.isCanonical": 2, "quantity": 1, "isQuantity": 1, "semver": 1,
    "isSemver": 1,
}  # fmt: skip
_UNIT_EQUALITY = frozenset(
    ("net.IP", "net.CIDR", "kubernetes.Quantity", "kubernetes.Semver", "kubernetes.URL", "kubernetes.authorization.Authorizer",
     "kubernetes.authorization.PathCheck", "kubernetes.authorization.GroupCheck",
     "kubernetes.authorization.ResourceCheck", "kubernetes.authorization.Decision")
)  # fmt: skip


def _literal_int(node: Node, otherwise: int) -> int:
    if isinstance(node, Constant) and type(node.value) is int:
        return max(node.value, 0)
    return otherwise


def _is_scalar(type: Type) -> bool:
    return type.kind in _SCALARS or (is_optional(type) and _is_scalar(type.element))


def _literal_size(node: Node) -> Size | None:
    if isinstance(node, Constant):
        return exactly(len(node.value)) if isinstance(node.value, str | bytes) else ONE
    if isinstance(node, ListNode):
        return exactly(len(node.items))
    return exactly(len(node.entries)) if isinstance(node, MapNode) else None


_COSTS: dict[type[Node], Callable[[Estimator, Any], CostEstimate]] = {
    Constant: Estimator._literal,
    Ident: Estimator._ident,
    Select: Estimator._select,
    Call: Estimator._call,
    Logical: Estimator._logical,
    ListNode: Estimator._list,
    MapNode: Estimator._map,
    StructNode: Estimator._struct,
    Fold: Estimator._fold,
    Bind: Estimator._bind,
}
