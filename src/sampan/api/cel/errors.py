"""What can go wrong, as upstream words it.

    CompileError        the expression is not CEL, or its types do not fit; `str` is the whole message
    EvaluationError     the expression failed on these values
      BudgetExceeded    it was stopped because it costs too much

Source: cel-go common/{error,errors,source}.go, k8s.io/apiserver/pkg/cel/errors.go
"""

from __future__ import annotations

from dataclasses import dataclass

_REPORT_LIMIT = 100


class EvaluationError(Exception):
    """The message is upstream's, without any prefix."""


class BudgetExceeded(EvaluationError):
    """`whole_budget` tells the shared budget from the limit of one call."""

    def __init__(self, whole_budget: bool) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")
        self.whole_budget = whole_budget


#: What makes an operand of `&&`, `||` and their macros fail: Python's own errors too, where a value is not of the type
#: that it was declared with.
FAILURES = (EvaluationError, TypeError, AttributeError)


class CompileError(Exception):
    """`wrong_type`: the expression is right in itself, but its result is not of the type asked for."""

    def __init__(self, message: str, wrong_type: bool = False) -> None:
        super().__init__(message)
        self.wrong_type = wrong_type


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One mistake; `at` is an offset in code points."""

    at: int
    message: str

    def show(self, source: str) -> str:
        """Place, message, and the line with a mark under the place.

        >>> print(Issue(5, "undefined field 'x'").show("self .x"))
        ERROR: <input>:1:6: undefined field 'x'
         | self .x
         | .....^
        """
        if not source:
            return f"ERROR: <input>:1:1: {self.message}"
        start = source.rfind("\n", 0, self.at) + 1
        line = source.count("\n", 0, self.at) + 1
        end = source.find("\n", start)
        text = (source[start:] if end < 0 else source[start:end]).replace("\t", " ")
        before = text[: self.at - start]
        dots = "".join("." if ord(letter) < 128 else "．" for letter in before).ljust(self.at - start, ".")
        under = text[self.at - start : self.at - start + 1]
        mark = "^" if ord(under or " ") < 128 else "＾"
        return f"ERROR: <input>:{line}:{self.at - start + 1}: {self.message}\n | {text}\n | {dots}{mark}"


def compile_error(source: str, issues: list[Issue]) -> CompileError:
    shown = [issue.show(source) for issue in sorted(issues)[:_REPORT_LIMIT]]
    if len(issues) > _REPORT_LIMIT:
        shown.append(f"{len(issues) - _REPORT_LIMIT} more errors were truncated")
    return CompileError("compilation failed: " + "\n".join(shown))
