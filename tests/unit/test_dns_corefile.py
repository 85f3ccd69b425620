"""Corefiles: what they say, and what is said of bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.network.dns.corefile import CorefileError, Dispenser, parse

KNOWN = ("errors", "cache", "forward", "log", "hosts", "template", "health")


def words(text: str, **environ: str) -> list[tuple[list[str], dict[str, list[str]]]]:
    blocks = parse(text, "Corefile", KNOWN, environ)
    return [(block.keys, {name: [t.text for t in found] for name, found in block.tokens.items()}) for block in blocks]


def test_blocks_and_words() -> None:
    text = """
    # a comment
    (common) {
        errors
        cache 30 {
            success 10
        }
    }
    .:53, example.org {
        import common
        forward . {$UPSTREAM}:53 8.8.8.8 # the rest
        template IN A {
            answer "{{ .Name }} 60 IN \\"A\\" x"
        }
        log
        log a b
    }
    10.0.0.0/24:1053 { }
    """
    assert words(text, UPSTREAM="1.1.1.1") == [
        (
            [".:53", "example.org"],
            {
                "errors": ["errors"],
                "cache": ["cache", "30", "{", "success", "10", "}"],
                "forward": ["forward", ".", "1.1.1.1:53", "8.8.8.8"],
                "template": ["template", "IN", "A", "{", "answer", '{{ .Name }} 60 IN "A" x', "}"],
                "log": ["log", "log", "a", "b"],
            },
        ),
        (["10.0.0.0/24:1053"], {}),
    ]
    assert words("example.org\nerrors\nlog") == [(["example.org"], {"errors": ["errors"], "log": ["log"]})]
    assert words("") == []


@pytest.mark.slow
def test_imports_of_files(tmp_path: Path) -> None:
    (tmp_path / "one.conf").write_text("errors\n")
    (tmp_path / "two.conf").write_text("broken\n")
    assert parse(f". {{\nimport {tmp_path}/one.*\n}}", "Corefile", KNOWN)[0].tokens.keys() == {"errors"}
    assert not parse(f". {{\nimport {tmp_path}/none.*\n}}", "Corefile", KNOWN)[0].tokens
    with pytest.raises(
        CorefileError, match=f"^{tmp_path}/two.conf:1 - Error during parsing: Unknown directive 'broken'"
    ):
        parse(f". {{\nimport {tmp_path}/two.conf\n}}", "Corefile", KNOWN)
    loop = tmp_path / "loop.conf"
    loop.write_text(f"import {loop}\n")
    with pytest.raises(CorefileError, match=r"maximum file import depth \(1000\) exceeded"):
        parse(f". {{\nimport {loop}\n}}", "Corefile", KNOWN)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (". {\n  error\n}", "Corefile:2 - Error during parsing: Unknown directive 'error'"),
        (". {\n  errors\n", "Corefile:2 - Syntax error: Unexpected token 'errors', expecting '}'"),
        (". {\n  cache {\n    success\n", "Corefile:3 - Error during parsing: Unexpected EOF"),
        ("a,\n{\n}", "Corefile:2 - Error during parsing: Expected another address but had '{' - check for extra comma"),
        (". {\n  cache }\n}", "Corefile:2 - Error during parsing: Unexpected '}' because no matching opening brace"),
        (". {\n  import\n}", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'import'"),
        (". {\n  import nothing\n}", "Corefile:2 - Error during parsing: File to import not found: nothing"),
        ("(a) {\n}\n(a) {\n}", "Corefile:3 - Error during parsing: redeclaration of previously declared snippet a"),
        ("(a) {\nimport a\n}\n. {\nimport a\n}", "Corefile:2 - Error during parsing: maximum snippet import depth (1000) exceeded"),
    ],
)  # fmt: skip
def test_bad_ones(text: str, message: str) -> None:
    with pytest.raises(CorefileError) as caught:
        parse(text, "Corefile", KNOWN)
    assert str(caught.value) == message


def test_a_cursor_over_a_directive() -> None:
    block = parse(". {\n cache 30 a {\n  success 1 2\n  denial\n }\n cache 5\n}", "Corefile", KNOWN)[0]
    cursor = Dispenser("Corefile", block.tokens["cache"])
    found = []
    while cursor.next():
        found.append((cursor.val, cursor.args()))
        while cursor.next_block():
            found.append((cursor.val, cursor.args()))
    assert found == [("cache", ["30", "a"]), ("success", ["1", "2"]), ("denial", []), ("cache", ["5"])]
    assert str(cursor.wrong_arguments()).startswith("Corefile:6 - Error during parsing: Wrong argument count")
