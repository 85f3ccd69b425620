"""What the page of validation functions names is there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from tests import validation_page
from tests.validation_functions import functions

HERE = Path(__file__).parent


def test_the_page_is_up_to_date() -> None:
    assert validation_page.PAGE.read_text() == validation_page.page(), "run python -m tests.validation_page"


def test_all_functions_are_there() -> None:
    for item in functions():
        module, _, name = item.ours.partition(":")
        if module:
            found = importlib.import_module(f"sampan.api.{module}")
            assert name == "*" or hasattr(found, name), item.ours


def test_all_tests_are_there() -> None:
    known: dict[str, set[str]] = {}
    for item in functions():
        for test in item.tests:
            file, _, name = test.partition(":")
            if file not in known:
                tree = ast.parse((HERE / f"test_{file}.py").read_text())
                known[file] = {
                    node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                }
            assert name == "*" or f"test_{name}" in known[file], test


def test_no_function_is_listed_twice() -> None:
    listed = [(item.package, item.name) for item in functions()]
    assert len(listed) == len(set(listed))
