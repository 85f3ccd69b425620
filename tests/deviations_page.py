"""The page of known differences from upstream, made from the `DEVIATION:` comments: `make docs` writes it.

python -m tests.deviations_page > docs/deviations.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent.parent / "src" / "sampan"
PAGE = SOURCES.parent.parent / "docs" / "deviations.md"
MARK = "DEVIATION:"
HEAD = """# Where Sampan knowingly differs from upstream

Made from the `DEVIATION:` comments in the sources by `make docs`. Anything else that differs is a bug.
"""


def found() -> Iterator[tuple[str, str]]:
    """Module and text of every comment, in order."""
    for path in sorted(SOURCES.rglob("*.py")):
        lines = path.read_text().splitlines()
        module = ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts)
        for index, line in enumerate(lines):
            if MARK in line:
                yield module, _text(lines, index)


def _text(lines: list[str], index: int) -> str:
    """From the mark to the end of its paragraph: of a comment, or of a docstring."""
    first = lines[index].partition(MARK)[2].strip()
    comment = "#" in lines[index].partition(MARK)[0]
    parts = [first]
    for line in lines[index + 1 :]:
        if parts[-1].endswith('"""'):
            break
        stripped = line.strip()
        if comment:
            if not stripped.startswith("#"):
                break
            stripped = stripped.lstrip("#: ")
        if not stripped or stripped == '"""':
            break
        parts.append(stripped)
    return re.sub(r"\s+", " ", " ".join(parts)).removesuffix('"""').strip()


def page() -> str:
    out = [HEAD]
    before = ""
    for module, text in found():
        if module != before:
            out.append(f"\n## `{module}`\n")
            before = module
        out.append(f"- {text[:1].upper()}{text[1:]}")
    return "\n".join(out) + "\n"


if __name__ == "__main__":
    print(page(), end="")
