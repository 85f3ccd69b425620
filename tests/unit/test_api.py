"""The API from behind the socket: verbs, options, errors."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Local

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


async def test_life_of_an_object(api: Local) -> None:
    code, made = await api("POST", CONFIG_MAPS, config_map("a", x="1"))
    assert code == 201 and made["metadata"]["uid"] and made["metadata"]["resourceVersion"]
    code, taken = await api("POST", CONFIG_MAPS, config_map("a"))
    assert (code, taken["reason"], taken["message"]) == (409, "AlreadyExists", 'configmaps "a" already exists')
    made["data"] = {"x": "2"}
    code, updated = await api("PUT", f"{CONFIG_MAPS}/a", made)
    assert code == 200 and updated["data"] == {"x": "2"}
    code, stale = await api("PUT", f"{CONFIG_MAPS}/a", made | {"data": {"x": "3"}})
    assert code == 409 and stale["reason"] == "Conflict"
    code, same = await api("PUT", f"{CONFIG_MAPS}/a", updated)
    assert same["metadata"]["resourceVersion"] == updated["metadata"]["resourceVersion"]
    code, status = await api("DELETE", f"{CONFIG_MAPS}/a")
    assert code == 200 and status["status"] == "Success" and status["details"]["kind"] == "configmaps"
    code, gone = await api("GET", f"{CONFIG_MAPS}/a")
    assert (code, gone["message"]) == (404, 'configmaps "a" not found')


async def test_pages_show_one_revision(api: Local) -> None:
    for number in range(5):
        await api("POST", CONFIG_MAPS, config_map(f"p{number}"))
    _, first = await api("GET", f"{CONFIG_MAPS}?limit=2&fieldSelector=metadata.name!=kube-root-ca.crt")
    await api("POST", CONFIG_MAPS, config_map("p9"))
    await api("DELETE", f"{CONFIG_MAPS}/p3")
    names = [item["metadata"]["name"] for item in first["items"]]
    token = first["metadata"]["continue"]
    while token:
        query = f"limit=2&fieldSelector=metadata.name!=kube-root-ca.crt&continue={token}"
        _, page = await api("GET", f"{CONFIG_MAPS}?{query}")
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
    assert names == ["p0", "p1", "p2", "p3", "p4"]


async def test_dry_run_stores_nothing(api: Local) -> None:
    code, made = await api("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("a"))
    assert code == 201 and made["metadata"]["uid"]
    assert (await api("GET", f"{CONFIG_MAPS}/a"))[0] == 404


async def test_field_validation(api: Local) -> None:
    body = config_map("a") | {"nonsense": 1}
    code, refused = await api("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    assert code == 400 and 'strict decoding error: unknown field "nonsense"' in refused["message"]
    reply = await api.raw("POST", CONFIG_MAPS, body)
    assert ("Warning", '299 - "unknown field \\"nonsense\\""') in list(reply.headers)


async def test_invalid_names_every_mistake(api: Local) -> None:
    deployment = {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "Bad_Name"},
        "spec": {"replicas": -1, "selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"containers": []}}},
    }
    code, refused = await api("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    assert code == 422 and refused["reason"] == "Invalid"
    causes = {cause["field"]: cause["reason"] for cause in refused["details"]["causes"]}
    assert causes == {
        "metadata.name": "FieldValueInvalid",
        "spec.replicas": "FieldValueInvalid",
        "spec.template.metadata.labels": "FieldValueInvalid",
        "spec.template.spec.containers": "FieldValueRequired",
    }


async def test_services_have_addresses_of_their_own(api: Local) -> None:
    def service(name: str, **spec: Any) -> dict[str, Any]:
        ports = [{"port": 80}]
        return {"kind": "Service", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}

    path = "/api/v1/namespaces/default/services"
    _, one = await api("POST", path, service("one", type="NodePort"))
    address, port = one["spec"]["clusterIP"], one["spec"]["ports"][0]["nodePort"]
    assert one["spec"]["clusterIPs"] == [address] and 30000 <= port <= 32767
    code, refused = await api("POST", path, service("two", clusterIP=address))
    assert code == 422 and "provided IP is already allocated" in refused["message"]
    assert (await api("GET", f"/apis/networking.k8s.io/v1/ipaddresses/{address}"))[0] == 200
    await api("DELETE", f"{path}/one")
    assert (await api("GET", f"/apis/networking.k8s.io/v1/ipaddresses/{address}"))[0] == 404
    assert (await api("POST", path, service("two", clusterIP=address)))[0] == 201
    # of a type that needs fewer fields
    for name, external in (("in", []), ("out", ["192.0.2.7"])):
        await api("POST", path, service(name, type="NodePort", externalIPs=external))
        patch = {"spec": {"type": "ClusterIP"}}
        _, now = await api("PATCH", f"{path}/{name}", patch, "application/merge-patch+json")
        assert now["spec"].get("externalTrafficPolicy") == ("Cluster" if external else None), now
        assert "nodePort" not in now["spec"]["ports"][0]


async def test_finalizers_and_terminating_namespaces(api: Local) -> None:
    held = config_map("held")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await api("POST", CONFIG_MAPS, held)
    code, marked = await api("DELETE", f"{CONFIG_MAPS}/held")
    assert code == 200 and marked["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    await api("PATCH", f"{CONFIG_MAPS}/held", patch, "application/merge-patch+json")
    assert (await api("GET", f"{CONFIG_MAPS}/held"))[0] == 404
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "gone"}})
    await api("DELETE", "/api/v1/namespaces/gone")
    code, refused = await api("POST", "/api/v1/namespaces/gone/configmaps", config_map("a"))
    assert code == 403 and "because it is being terminated" in refused["message"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=x", 400),
        ("labelSelector=a+b", 400),
        ("fieldSelector=spec.nonsense=1", 400),
        ("resourceVersion=abc", 422),
        ("resourceVersionMatch=Exact", 422),
        ("continue=%21%21", 400),
        ("resourceVersion=99999999&resourceVersionMatch=Exact&timeoutSeconds=1", 504),
    ],
)
async def test_bad_queries(api: Local, query: str, code: int) -> None:

    assert (await api("GET", f"{CONFIG_MAPS}?{query}"))[0] == code


async def test_of_several_default_classes_a_list_shows_the_one_that_counts(api: Local) -> None:
    path, table = "/apis/storage.k8s.io/v1/storageclasses", "application/json;as=Table;v=v1;g=meta.k8s.io"
    for name, note in (("b", ""), ("a", "beta."), ("c", None)):
        notes = {} if note is None else {f"storageclass.{note}kubernetes.io/is-default-class": "true"}
        body = {"metadata": {"name": name, "annotations": notes}, "provisioner": "example.com/x"}
        assert (await api("POST", path, body))[0] == 201

    async def shown(path: str) -> list[str]:
        _, found = await api("GET", path, accept=table)
        assert all(row["object"]["metadata"]["name"] == row["cells"][0].split()[0] for row in found["rows"])
        return [row["cells"][0] for row in found["rows"]]

    assert await shown(path) == ["a (default)", "b", "c"]
    assert await shown(f"{path}/a") == ["a (default)"]
    assert await shown(f"{path}/b") == ["b (default)"]
    await api("DELETE", f"{path}/a")
    assert await shown(path) == ["b (default)", "c"]


async def test_what_a_table_includes(api: Local) -> None:
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    for asked, shown in (("None", None), ("Metadata", "PartialObjectMetadata"), ("Object", "ConfigMapList")):
        code, found = await api("GET", f"{CONFIG_MAPS}?includeObject={asked}", accept=table)
        assert code == 200
        for row in found["rows"]:
            assert (row.get("object") or {}).get("kind") in (shown, "ConfigMap")
    code, refused = await api("GET", f"{CONFIG_MAPS}?includeObject=All", accept=table)
    assert (code, refused["message"]) == (
        400,
        "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', "
        "'None', or empty",
    )
    assert (await api("GET", f"{CONFIG_MAPS}?includeObject=All"))[0] == 200


async def test_people_can_read_errors(api: Local) -> None:
    for target, agent, lines in (
        ("/none", "curl/8", 13),
        ("/none?pretty=1", "x/1", 13),
        ("/none?pretty=0", "curl/8", 1),
    ):
        reply = await api.raw("GET", CONFIG_MAPS + target, user_agent=agent)
        assert isinstance(reply.body, bytes)
        assert (reply.code, len(reply.body.splitlines())) == (404, lines)
    assert (await api.raw("GET", CONFIG_MAPS + "?pretty=%ff", user_agent="curl/8")).code == 400


async def test_anonymous_is_forbidden_in_upstreams_words(api: Local) -> None:
    api.certificate = None
    code, refused = await api("GET", CONFIG_MAPS)
    assert code == 403 and refused["message"] == (
        'configmaps is forbidden: User "system:anonymous" cannot list resource "configmaps" in API group "" in the '
        'namespace "default"'
    )
    assert (await api("GET", "/readyz"))[0] == 200
    assert (await api("GET", "/api", authorization="Bearer nonsense"))[0] == 401


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=st.binary(max_size=300),
    media=st.sampled_from(["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]),
)
async def test_no_body_is_a_500(api: Local, body: bytes, media: str) -> None:
    code, _ = await api("POST", CONFIG_MAPS, body, media)
    assert 400 <= code < 500


FIELDS = [
    "metadata",
    "spec",
    "kind",
    "apiVersion",
    "name",
    "labels",
    "template",
    "containers",
    "replicas",
    "selector",
    "managedFields",
]
DIRECTIVES = ["$patch", "$retainKeys", "$setElementOrder/containers", "op", "path", "value", "from"]
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS, *DIRECTIVES]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
PATCHES = ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(patch=JSON, media=st.sampled_from([*PATCHES, "application/apply-patch+yaml"]))
async def test_no_patch_is_a_500(api: Local, patch: Any, media: str) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    await api("POST", path, body)
    code, said = await api("PATCH", f"{path}/d?fieldManager=m", patch, media)
    assert code < 500, said
    code, found = await api("GET", f"{path}/d")
    assert code == 200 and found["metadata"]["name"] == "d" and found["kind"] == "Deployment"


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b"[" * 200_000, "application/json"),
        (b'{"a":' * 100_000, "application/json"),
        (b"[" * 50_000, "application/yaml"),
        (b"a: &a [1]\nb: *a\n", "application/yaml"),
        (b'{"metadata": {"name": "a\xff"}}', "application/json"),
        (b"", "application/json"),
        (b'"text"', "application/json"),
        (b'{"kind": "Pod", "apiVersion": "v1"}', "application/json"),
        (b'{"kind": "ConfigMap", "apiVersion": "v7"}', "application/json"),
        (b"k8s\x00\xff\xff\xff", "application/vnd.kubernetes.protobuf"),
    ],
)
async def test_malformed_bodies_are_400(api: Local, body: bytes, media: str) -> None:
    code, said = await api("POST", CONFIG_MAPS, body, media)
    assert (code, said["reason"]) == (400, "BadRequest") and said["message"]


async def test_unknown_media_types_are_415_and_406(api: Local) -> None:
    assert (await api("POST", CONFIG_MAPS, b"{}", "text/html"))[0] == 415
    assert (await api("PATCH", f"{CONFIG_MAPS}/a", b"{}", "application/json"))[0] == 415
    assert (await api("GET", CONFIG_MAPS, accept="text/html"))[0] == 406


async def test_events_are_selected_by_the_words_of_each_version(api: Local) -> None:
    new, core = "/apis/events.k8s.io/v1/namespaces/default/events", "/api/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "R", "action": "A",
        "type": "Normal", "reportingController": "c", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    }  # fmt: skip
    assert (await api("POST", new, event))[0] == 201

    async def found(path: str, selector: str) -> Any:
        code, said = await api("GET", f"{path}?fieldSelector={selector}")
        return [each["metadata"]["name"] for each in said["items"]] if code == 200 else said["message"]

    for selector in ("reportingController=c", "regarding.name=p,regarding.kind=Pod", "reason=R,type!=Warning"):
        assert await found(new, selector) == ["e"]
    for selector in ("source=c", "reportingComponent=c", "involvedObject.name=p"):
        assert await found(core, selector) == ["e"]
        assert await found(new, selector) == f"field label not supported: {selector.partition('=')[0]}"
    assert await found(new, "reportingController=other") == []


async def test_a_node_may_be_created_with_its_status(api: Local) -> None:
    """As kubelets register."""
    status = {"capacity": {"cpu": "2"}, "nodeInfo": {"kubeletVersion": "v1.37.0"}}
    code, made = await api("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
    assert code == 201 and made["status"]["allocatable"] == {"cpu": "2"}
    assert made["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.0"


async def test_who_reads_deprecated_kinds_is_warned(api: Local) -> None:
    reply = await api.raw("GET", "/api/v1/endpoints")
    assert (
        "Warning",
        '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"',
    ) in reply.headers


async def test_a_collection_is_deleted_in_one_namespace_only(api: Local) -> None:
    assert (await api("DELETE", "/api/v1/configmaps"))[0] == 405


@pytest.mark.parametrize(
    "query", ["", "propagationPolicy=Background", "propagationPolicy=Orphan", "orphanDependents=false"]
)
@pytest.mark.parametrize("path", ["jobs", "jobs/none"])
async def test_who_deletes_jobs_and_does_not_say_what_becomes_of_pods_is_warned(
    api: Local, path: str, query: str
) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    jobs = "/apis/batch/v1/namespaces/default"
    await api("POST", f"{jobs}/jobs", {"metadata": {"name": "none"}, "spec": {"template": template}})
    reply = await api.raw("DELETE", f"{jobs}/{path}?{query}")
    warned = [value for name, value in reply.headers if name == "Warning"]
    assert warned == [] if query else warned[0].startswith('299 - "child pods are preserved by default when jobs are')


async def test_nothing_is_below_the_version(api: Local) -> None:
    assert [(await api("GET", path))[0] for path in ("/version", "/version/", "/version/openshift")] == [200, 200, 404]


PODS = "/api/v1/namespaces/default/pods"


def a_pod(name: str, **spec: Any) -> dict[str, Any]:
    own = {"containers": [{"name": "c", "image": "i"}], **spec}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1"}
    return {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": own}


async def test_people_are_warned_of_new_pods_alone(api: Local) -> None:
    deprecated = {"nodeSelector": {"beta.kubernetes.io/os": "linux"}}

    async def warned(method: str, path: str, body: dict[str, Any], media: str = "application/json") -> list[str]:
        reply = await api.raw(method, path, body, media)
        assert reply.code < 300, reply.body
        return [value for name, value in reply.headers if name == "Warning"]

    told = await warned("POST", PODS, a_pod("a.b", **deprecated))
    assert [text for text in told if "hostname" in text] == [
        "299 - \"metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label "
        'is recommended: [must not contain dots]"'
    ]
    assert any("beta.kubernetes.io/os" in text for text in told)
    merge = "application/merge-patch+json"
    assert await warned("PATCH", f"{PODS}/a.b", {"metadata": {"labels": {"a": "b"}}}, merge) == []
    status = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}}
    assert await warned("PATCH", f"{PODS}/a.b/status", status, merge) == []
    status = {"status": {"podIP": "fd00:0::1", "podIPs": [{"ip": "fd00:0::1"}]}}
    (said,) = await warned("PATCH", f"{PODS}/a.b/status", status, merge)
    assert 'status.podIPs[0].ip: IPv6 address \\"fd00:0::1\\" should be in RFC 5952 canonical format' in said


async def test_a_kubelet_that_does_not_know_a_field_of_a_status_does_not_lose_it(api: Local) -> None:
    await api("POST", PODS, a_pod("p"))
    first = {"phase": "Running", "observedGeneration": 3, "conditions": [
        {"type": "Ready", "status": "True", "observedGeneration": 3}, {"type": "Initialized", "status": "True"},
    ]}  # fmt: skip
    _, pod = await api("PATCH", f"{PODS}/p/status", {"status": first}, "application/merge-patch+json")
    # an old one that sends the whole, and garbles the owners
    del pod["metadata"]["ownerReferences"]
    pod["status"] = {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}
    code, pod = await api("PUT", f"{PODS}/p/status", pod)
    assert code == 200, pod
    assert pod["metadata"]["ownerReferences"][0]["name"] == "o"
    status = pod["status"]
    assert (status["phase"], status["qosClass"], status["observedGeneration"]) == ("Failed", "BestEffort", 3)
    assert [(item["type"], item["status"], item["observedGeneration"]) for item in status["conditions"]] == [
        ("Ready", "False", 3)
    ]
    owners = [entry for entry in pod["metadata"]["managedFields"] if entry.get("subresource") == "status"]
    assert owners and not any("f:metadata" in entry["fieldsV1"] for entry in owners)


async def test_a_spec_that_is_sent_as_it_is_stored_stays_and_one_that_is_not_is_read(api: Local) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    _, job = await api("POST", jobs, {"metadata": {"name": "j"}, "spec": {"template": template}})
    code, same = await api("PUT", f"{jobs}/j/status", job | {"status": {"active": 1}})
    assert code == 200 and same["spec"] == job["spec"] and same["status"]["active"] == 1
    # true is no number, though Python thinks it is 1
    wrong = {**same, "spec": {**same["spec"], "parallelism": True}}
    code, said = await api("PUT", f"{jobs}/j", wrong)
    assert code == 400 and "cannot unmarshal bool into Go struct field JobSpec.spec.parallelism" in said["message"]
    code, other = await api("PUT", f"{jobs}/j", {**same, "spec": {**same["spec"], "parallelism": 2, "x": 1}})
    assert code == 200 and other["spec"]["parallelism"] == 2 and "x" not in other["spec"]
    assert other["metadata"]["generation"] == 2
