"""From bodies to canonical objects."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.api.schema import facts
from sampan.api.schema.bodies import duplicate_fields
from sampan.api.schema.decode import decode
from sampan.api.schema.protobuf import Malformed, message

DEPLOYMENT = facts.struct("apps_v1", "Deployment")


def test_canonical_form_is_what_go_prints() -> None:
    raw = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "a", "labels": {}},
        "spec": {
            "replicas": 0,
            "template": {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 0.5}}}]}},
        },
    }
    out = decode(DEPLOYMENT, raw, strict=None)
    assert out["metadata"] == {"name": "a"}
    assert out["spec"]["replicas"] == 0
    assert out["spec"]["strategy"] == {} and out["status"] == {}
    assert out["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}}


def test_unknown_fields_have_their_path() -> None:
    strict: list[str] = []
    raw = {"spec": {"foo": 1, "template": {"spec": {"containers": [{"name": "a", "bar": 1}]}}}}
    decode(DEPLOYMENT, raw, strict=strict)
    assert strict == ['unknown field "spec.foo"', 'unknown field "spec.template.spec.containers[0].bar"']


def test_wrong_type_is_told_in_gos_words() -> None:
    with pytest.raises(StatusError) as caught:
        decode(DEPLOYMENT, {"spec": {"replicas": "1"}}, strict=None)
    assert caught.value.code == 400
    assert caught.value.message == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct '
        "field DeploymentSpec.spec.replicas of type int32"
    )


def test_duplicate_fields() -> None:
    data = b'{"a": {"b" : 1, "b": 2}, "c": [{"d": 1, "d": 1}]}'
    assert duplicate_fields(data, {"a": {"b": 2}, "c": [{"d": 1}]}) == [
        'duplicate field "a.b"',
        'duplicate field "c[0].d"',
    ]


@pytest.mark.parametrize(
    "text",
    [
        '{"a" :1,"a":2}',  # as many colons right after quotes as without the second
        '{"a":1,"a":":"}',
        '{"a":1,"a":"\\u003a"}',  # as many colons in all
        '{"a":1,"a":"\\u003A"}',
        '{"a":1,"a":2,"b":1E16}',  # as long as what it means
        '{"a":1,"a":[1.0e-20,1.00]}',
    ],
)
def test_no_way_of_writing_hides_a_duplicate_field(text: str) -> None:
    assert duplicate_fields(text.encode(), json.loads(text)) == ['duplicate field "a"']


@pytest.mark.parametrize(
    "text", ['{"a":":","b" : "\\u003a"}', '{"\\u003a": {"a:": 1}}', '{"a": [{"a": {}}, {"a": 1e3}]}']
)
def test_no_way_of_writing_makes_one(text: str) -> None:
    assert duplicate_fields(text.encode(), json.loads(text)) == []


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["spec", "metadata", "template", "containers", "x"]), inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(max_examples=200)
@given(JSON)
def test_any_json_decodes_or_is_refused(raw: Any) -> None:
    try:
        out = decode(DEPLOYMENT, raw, strict=[])
    except StatusError as error:
        assert error.code == 400
    else:
        assert decode(DEPLOYMENT, out, strict=None) == out


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    try:
        assert isinstance(message(DEPLOYMENT, data), dict)
    except Malformed as error:
        assert str(error)
