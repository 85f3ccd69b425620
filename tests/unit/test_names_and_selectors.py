"""Names and selectors, with upstream's words."""

import pytest

from sampan.api import names
from sampan.api.selectors import parse_field_selector, parse_label_selector


def test_subdomain_message_is_upstreams() -> None:
    assert names.is_dns1123_subdomain("Bad_Name") == [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ("a=b", {"a": "b"}, True),
        ("a!=b", {}, True),
        ("a in (x,y),!z", {"a": "y"}, True),
        ("a notin (x)", {"a": "x"}, False),
        ("a", {"b": ""}, False),
        ("a>3", {"a": "4"}, True),
        ("", {}, True),
    ],
)
def test_labels(selector: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_label_selector(selector).matches(labels) is matches


@pytest.mark.parametrize("text", ["a=", "=b", "a in x", "a,,b", "a in (x", "a b", "!", "a=b=c", "-a=b"])
def test_absurd_label_selectors(text: str) -> None:
    if text == "a=":
        assert parse_label_selector(text).matches({"a": ""})
        return
    with pytest.raises(ValueError, match=r"found|Invalid value"):
        parse_label_selector(text)


def test_fields() -> None:
    selector = parse_field_selector(r"metadata.name=a\,b,status.phase!=Running")
    values = {"metadata.name": "a,b", "status.phase": "Pending"}
    assert selector.matches(values.__getitem__)
    assert selector.exact("metadata.name") == "a,b"
    with pytest.raises(ValueError, match="can't understand"):
        parse_field_selector("nonsense")
