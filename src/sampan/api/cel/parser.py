"""Tokens to a tree, by precedence climbing.

Macros are recognised here, by name and number of arguments, as upstream does: a variable `x` cannot change what `x.all(...)` is.

DEVIATION: the first error of syntax ends it, where ANTLR recovers and may tell more of them.

Source: cel-go parser/{parser,macro,options}.go, parser/gen/CEL.g4, ext/comprehensions.go, cel/library.go (optMap)
"""

from __future__ import annotations

from typing import NoReturn

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
from sampan.api.cel.errors import Issue
from sampan.api.cel.grammar import (
    BINARY,
    CONSTANTS,
    EXPECTED,
    FIELDS,
    FOLDS,
    INT_MIN_DIGITS,
    KEYWORDS,
    LITERALS,
    MAX_CODE_POINTS,
    MAX_DEPTH,
    OR_CLOSED,
    OR_OPTIONAL,
    RESERVED,
    STARTS,
    TERNARY,
)
from sampan.api.cel.lexer import Token, tokens
from sampan.api.cel.values import Uint


class _Stop(Exception):
    """The issue is recorded; what follows cannot be read."""


def parse(source: str) -> tuple[Node | None, list[Issue]]:
    """The tree, or what is wrong."""
    if len(source) > MAX_CODE_POINTS:
        return None, [
            Issue(0, f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_CODE_POINTS}")
        ]
    issues: list[Issue] = []
    parser = _Parser(tokens(source, issues), issues)
    try:
        tree = parser.expression(0)
        parser.finish()
    except _Stop:
        return None, issues
    return (None if issues else tree), issues


class _Parser:
    def __init__(self, found: list[Token], issues: list[Issue]) -> None:
        self._tokens = found
        self._place = 0
        self._depth = 0
        #: brackets that are open
        self._open = 0
        self._issues = issues

    def finish(self) -> None:
        token = self._tokens[self._place]
        if token.kind != "end":
            last = self._tokens[self._place + 1].kind == "end"
            self._fail(
                token, f"Syntax error: {'extraneous' if last else 'mismatched'} input '{token.text}' expecting <EOF>"
            )

    def expression(self, floor: int, expected: str = "") -> Node:
        """An expression of operators that bind more tightly than `floor`. `expected`: what else may stand here."""
        if expected and self._tokens[self._place].kind not in STARTS:
            self._no_start(self._tokens[self._place], expected)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._too_deep()
        left = self._operand()
        chain = 0
        while True:
            token = self._tokens[self._place]
            operator = token.text if token.kind == "ident" else token.kind
            if operator == "?" and floor < TERNARY:
                left = self._ternary(token, left)
                break
            binding, name = BINARY.get(operator, (0, ""))
            if binding <= floor or (operator == "in" and token.kind != "ident"):
                break
            self._place += 1
            right = self.expression(binding)
            if name in ("||", "&&"):
                left = _logical(name, token.at, left, right)
                continue
            chain += 1
            if chain > MAX_DEPTH:
                self._too_deep()
            left = Call(token.at, name, None, [left, right])
        self._depth -= 1
        return left

    def _ternary(self, token: Token, condition: Node) -> Node:
        self._place += 1
        yes = self.expression(TERNARY)
        self._expect(":")
        return Call(token.at, "_?_:_", None, [condition, yes, self.expression(0)])

    def _operand(self) -> Node:
        """Signs, then what they are before. Two minus signs, or two `!`, cancel out."""
        token = self._tokens[self._place]
        sign = token.kind
        if sign not in ("!", "-"):
            return self._members()
        count = 0
        while self._tokens[self._place].kind == sign:
            self._place += 1
            count += 1
        number = self._tokens[self._place]
        if sign == "-" and number.kind in ("int", "float"):
            self._place += 1
            if number.value == INT_MIN_DIGITS and number.kind == "int" and count % 2 == 0:
                self._issues.append(Issue(number.at, "invalid int literal"))
            kind = CONSTANTS[number.kind]
            return self._members(Constant(token.at, -number.value if count % 2 else number.value, kind))
        inner = self._members()
        if count % 2 == 0:
            return inner
        return Call(token.at, "!_" if sign == "!" else "-_", None, [inner])

    def _members(self, start: Node | None = None) -> Node:
        """A primary expression and the selections, calls and indexes after it."""
        node = start or self._primary()
        chain = 0
        while True:
            token = self._tokens[self._place]
            if token.kind == ".":
                node = self._member(token, node)
            elif token.kind == "[":
                self._enter()
                optional = self._optional_mark()
                index = self.expression(0, OR_OPTIONAL)
                self._leave("]")
                node = Call(token.at, "_[?_]" if optional else "_[_]", None, [node, index])
            elif token.kind == "{" and (name := _qualified(node)):
                node = self._struct(token, name)
            else:
                return node
            chain += 1
            if chain > MAX_DEPTH:
                self._too_deep()

    def _member(self, dot: Token, operand: Node) -> Node:
        self._place += 1
        optional = self._optional_mark()
        name = self._tokens[self._place]
        if name.kind == "escaped":
            self._fail(name, "unsupported syntax: '`'")
        if name.kind != "ident" or name.text in KEYWORDS:
            shown = "" if name.kind == "end" else name.text
            self._fail(name, f"Syntax error: no viable alternative at input '.{shown}'")
        self._place += 1
        opening = self._tokens[self._place]
        if opening.kind != "(" or optional:
            return Select(dot.at, operand, name.text, optional=optional)
        args = self._arguments()
        return self._macro(opening.at, name.text, operand, args) or Call(opening.at, name.text, operand, args)

    def _optional_mark(self) -> bool:
        if self._tokens[self._place].kind != "?":
            return False
        self._place += 1
        return True

    def _primary(self) -> Node:
        token = self._tokens[self._place]
        kind = token.kind
        if kind in CONSTANTS:
            self._place += 1
            if token.value == INT_MIN_DIGITS and kind == "int":
                self._issues.append(Issue(token.at, "invalid int literal"))
            return Constant(token.at, Uint(token.value) if kind == "uint" else token.value, CONSTANTS[kind])
        if kind == "(":
            self._enter()
            inner = self.expression(0)
            self._leave(")")
            return inner
        if kind == "[":
            return self._list(token)
        if kind == "{":
            return self._map(token)
        if kind == ".":
            self._place += 1
            return self._name(self._tokens[self._place], absolute=True)
        if kind == "ident" and token.text in LITERALS:
            self._place += 1
            value, type_ = LITERALS[token.text]
            return Constant(token.at, value, type_)
        if kind == "ident" and token.text != "in":
            return self._name(token, absolute=False)
        self._no_start(token, EXPECTED)

    def _no_start(self, token: Token, expected: str) -> NoReturn:
        """Nothing that an expression can start with."""
        following = self._tokens[min(self._place + 1, len(self._tokens) - 1)].kind
        extra = token.kind != "end" and following in STARTS and token.kind not in (")", "]", "}")
        extra = extra or (expected == OR_CLOSED and following == ")")
        kind = "extraneous" if extra else "mismatched"
        self._fail(token, f"Syntax error: {kind} input '{token.text}' expecting {expected}")

    def _name(self, token: Token, absolute: bool) -> Node:
        if token.kind != "ident" or token.text in KEYWORDS:
            self._fail(token, f"Syntax error: mismatched input '{token.text}' expecting IDENTIFIER")
        if token.text in RESERVED:
            self._issues.append(Issue(token.at, f"reserved identifier: {token.text}"))
        self._place += 1
        opening = self._tokens[self._place]
        if opening.kind != "(":
            return Ident(token.at, token.text, absolute)
        args = self._arguments()
        if token.text == "has" and len(args) == 1:
            field = args[0]
            if isinstance(field, Select) and not field.optional:
                return Select(opening.at, field.operand, field.name, test=True)
            self._issues.append(Issue(field.at, "invalid argument to has() macro"))
        return Call(opening.at, token.text, None, args)

    def _enter(self) -> None:
        self._place += 1
        self._open += 1

    def _leave(self, kind: str, among: str = "") -> None:
        self._expect(kind, among)
        self._open -= 1

    def _more(self) -> bool:
        """A comma, passed."""
        if self._tokens[self._place].kind != ",":
            return False
        self._place += 1
        return True

    def _arguments(self) -> list[Node]:
        out: list[Node] = []
        self._enter()
        if self._tokens[self._place].kind != ")":
            out.append(self.expression(0, OR_CLOSED))
            while self._more():
                out.append(self.expression(0))
        self._leave(")")
        return out

    def _list(self, opening: Token) -> Node:
        items: list[Node] = []
        optional: set[int] = set()
        self._enter()
        while self._tokens[self._place].kind not in ("]", ","):
            if self._optional_mark():
                optional.add(len(items))
            items.append(self.expression(0))
            if not self._more():
                break
        if not items:
            self._more()
        self._leave("]", "{']', ','}" if items else "']'")
        return ListNode(opening.at, items, frozenset(optional))

    def _map(self, opening: Token) -> Node:
        entries: list[tuple[int, Node, Node, bool]] = []
        self._enter()
        while self._tokens[self._place].kind not in ("}", ","):
            optional = self._optional_mark()
            key = self.expression(0)
            colon = self._expect(":")
            entries.append((colon.at, key, self.expression(0), optional))
            if not self._more():
                break
        if not entries:
            self._more()
        self._leave("}", "{'}', ','}" if entries else "'}'")
        return MapNode(opening.at, entries)

    def _struct(self, opening: Token, name: str) -> Node:
        self._enter()
        entries: list[tuple[int, str, Node, bool]] = []
        while self._tokens[self._place].kind not in ("}", ","):
            optional = self._optional_mark()
            field = self._tokens[self._place]
            if field.kind not in ("ident", "escaped"):
                self._fail(field, f"Syntax error: mismatched input '{field.text}' expecting {FIELDS}")
            self._place += 1
            colon = self._expect(":")
            entries.append((colon.at, field.value, self.expression(0), optional))
            if not self._more():
                break
        if not entries:
            self._more()
        self._leave("}", "{'}', ','}" if entries else "'}'")
        return StructNode(opening.at, name, entries)

    def _macro(self, at: int, name: str, target: Node, args: list[Node]) -> Node | None:
        if name in ("optMap", "optFlatMap") and len(args) == 2:
            variable = self._variable(args[0], "variable name must be a simple identifier")
            return Bind(at, target, variable, args[1], flat=name == "optFlatMap")
        found = FOLDS.get((name, len(args)))
        if found is None:
            return None
        kind, variables, filtered = found
        simple = (
            "argument must be a simple name"
            if kind not in ("map", "filter", "sortBy") or variables == 2
            else "argument is not an identifier"
        )
        first = self._variable(args[0], simple)
        second = self._variable(args[1], simple) if variables == 2 else ""
        if variables == 2 and first == second:
            self._issues.append(Issue(args[1].at, f"duplicate variable name: {second}"))
        if kind == "filter":
            return Fold(at, kind, target, first, second, args[1], args[0])
        return Fold(at, kind, target, first, second, args[-2] if filtered else None, args[-1])

    def _variable(self, node: Node, otherwise: str) -> str:
        if not isinstance(node, Ident) or node.absolute:
            self._issues.append(Issue(node.at, otherwise))
            return "_"
        if node.name in ("__result__", "@result"):
            self._issues.append(Issue(node.at, "iteration variable overwrites accumulator variable"))
        return node.name

    def _expect(self, kind: str, among: str = "") -> Token:
        """The closing token, or ANTLR's words for its absence: too much, too little, or something else."""
        token = self._tokens[self._place]
        if token.kind == kind:
            self._place += 1
            return token
        following = self._tokens[min(self._place + 1, len(self._tokens) - 1)]
        wanted = among or f"'{kind}'"
        if following.kind == kind and token.kind != "end":
            self._fail(token, f"Syntax error: extraneous input '{token.text}' expecting {wanted}")
        if token.kind == "end" and self._open == 1 and not among and kind != ":":
            self._fail(token, f"Syntax error: missing {wanted} at '<EOF>'")
        self._fail(token, f"Syntax error: mismatched input '{token.text}' expecting {wanted}")

    def _fail(self, token: Token, message: str) -> NoReturn:
        self._issues.append(Issue(token.at, message))
        raise _Stop

    def _too_deep(self) -> NoReturn:
        self._issues[:] = [Issue(0, f"expression recursion limit exceeded: {MAX_DEPTH}")]
        raise _Stop


def _logical(op: str, at: int, left: Node, right: Node) -> Node:
    kind = "&&" if op == "&&" else "||"
    if isinstance(left, Logical) and left.op == kind:
        left.args.append(right)
        left.ats.append(at)
        return left
    return Logical(at, "&&" if op == "&&" else "||", [left, right], [at])


def _qualified(node: Node) -> str:
    """`a.b.c`, when that is all there is."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test and not node.optional:
        names.append(node.name)
        node = node.operand
    if not isinstance(node, Ident):
        return ""
    return ".".join((node.name, *reversed(names)))
