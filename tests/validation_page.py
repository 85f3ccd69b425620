"""The page of upstream's validation functions: done and by which tests, or missing.

python -m tests.validation_page > docs/validation.md
"""

from __future__ import annotations

from pathlib import Path

from tests.validation_functions import PACKAGES, Function, functions

PAGE = Path(__file__).parent.parent / "docs" / "validation.md"
HEAD = """# Validation

Upstream's exported validation functions, package by package: what does their work here, and which tests tell. Made from
`tests/validation_functions.py` by `python -m tests.validation_page`.
"""


def page() -> str:
    found = list(functions())
    done = sum(bool(item.tests) for item in found)
    lost = [item for item in found if item.missing]
    out = [HEAD, f"{len(found)} functions: {done} done and tested, {len(lost)} missing.\n"]
    for package in PACKAGES:
        out.append(f"\n## {package}\n\n| upstream | here | tests |\n|---|---|---|")
        out.extend(_row(item) for item in found if item.package == package)
    return "\n".join(out) + "\n"


def _row(item: Function) -> str:
    if item.missing:
        return f"| `{item.name}` | missing | |"
    if item.never:
        return f"| `{item.name}` | not here: {item.never} | |"
    ours = f"`{item.ours.removesuffix(':*')}`" if item.ours else "in the server"
    tests = ", ".join(_test(test) for test in item.tests) or "none of its own"
    return f"| `{item.name}` | {ours} | {tests} |"


def _test(test: str) -> str:
    file, _, name = test.partition(":")
    return f"`test_{file}.py`" if name == "*" else f"`test_{file}.py::test_{name}`"


if __name__ == "__main__":
    print(page(), end="")
