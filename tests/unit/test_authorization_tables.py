"""The index answers as the rules do, one by one: for any rules and any question."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.apiserver.authorization import table as tables
from sampan.apiserver.authorization.attributes import Attributes
from sampan.apiserver.authorization.rules import HELD, break_down, rule_allows, uncovered
from sampan.apiserver.authorization.table import Table

VERBS, GROUPS = ("get", "list", "*"), ("", "apps", "*")
RESOURCES, SUBRESOURCES = ("pods", "deployments", "pods/log", "deployments/scale", "*/scale", "*"), ("", "log", "scale")
URLS = ("/a", "/a/", "/a/b", "/a/*", "/*", "*", "/b*")


def some(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=3)


RULES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"verbs": some(VERBS), "apiGroups": some(GROUPS), "resources": some(RESOURCES)},
        optional={"resourceNames": some(("x", "y"))},
    ),
    st.fixed_dictionaries({"verbs": some(VERBS), "nonResourceURLs": some(URLS)}),
)
QUESTIONS: st.SearchStrategy[Attributes] = st.one_of(
    st.builds(
        Attributes,
        verb=st.sampled_from(("get", "list", "delete")),
        group=st.sampled_from(("", "apps", "batch")),
        resource=st.sampled_from(("pods", "deployments", "jobs")),
        subresource=st.sampled_from(SUBRESOURCES),
        name=st.sampled_from(("", "x", "z")),
    ),
    st.builds(
        Attributes, verb=st.sampled_from(("get", "list")), path=st.sampled_from(("/a", "/a/", "/a/b", "/b", "/"))
    ),
)


def allowed(rules: list[dict[str, Any]], asked: Attributes) -> bool:
    table = Table()
    for rule in rules:
        table.add(rule, HELD)
    if not asked.is_resource:
        return table.path(asked.verb, asked.path) is not None
    found = table.find(asked.verb, asked.group, asked.resource, asked.subresource)
    return any(grant.of(asked.name) for grant in found)


@settings(max_examples=40, deadline=None)
@given(rules=st.lists(RULES, max_size=4), asked=QUESTIONS, most=st.sampled_from((0, 2048)))
def test_a_table_answers_as_its_rules(rules: list[dict[str, Any]], asked: Attributes, most: int) -> None:
    before, tables.MOST_ENTRIES = tables.MOST_ENTRIES, most
    try:
        assert allowed(rules, asked) == any(rule_allows(rule, asked) for rule in rules)
    finally:
        tables.MOST_ENTRIES = before


@settings(max_examples=40, deadline=None)
@given(owned=st.lists(RULES, max_size=4), wanted=st.lists(RULES, max_size=2), asked=QUESTIONS)
def test_what_is_covered_lets_nobody_do_more(
    owned: list[dict[str, Any]], wanted: list[dict[str, Any]], asked: Attributes
) -> None:
    """The point of the escalation check: whoever holds `owned` gains nothing by rules that are covered."""
    missing = uncovered(owned, wanted)
    if not missing and any(rule_allows(rule, asked) for rule in wanted):
        assert any(rule_allows(rule, asked) for rule in owned)
    parts = [part for rule in wanted for part in break_down(rule)]
    assert all(part in parts for part in missing)
    assert not uncovered([*owned, *missing], wanted)
