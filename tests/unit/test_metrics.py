"""`/metrics`: what the server counts, under upstream's names and labels, in Prometheus' format."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest

from sampan.apiserver.families import Counter, Histograms, gauge
from sampan.apiserver.metrics import Peak
from sampan.cluster.certificates import Pki
from tests.conftest import Local
from tests.unit.test_policies import binding, config_map, enforce, policy
from tests.unit.test_webhooks import register
from tests.webhook_server import Webhook, serving

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
SAMPLE = re.compile(r'(?P<name>[a-z_0-9]+)(?:\{(?P<labels>[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*)\})? (?P<value>\S+)')


@pytest.fixture
async def webhook(pki: Pki) -> AsyncIterator[Webhook]:
    async with serving(pki) as made:
        yield made


class Written:
    """What a watch has sent to a client that reads at once."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.gone: Callable[[], None] = lambda: None
        self.closed = False

    def write(self, data: bytes) -> None:
        self.lines.append(data)

    def pending(self) -> int:
        return 0

    async def drain(self) -> None: ...

    def on_close(self, callback: Callable[[], None]) -> None:
        self.gone = callback

    def abort(self) -> None: ...


async def scraped(api: Local, path: str = "/metrics") -> dict[str, float]:
    """By name and labels. Every line is a sample or the head of a family that has its name."""
    code, text = await api("GET", path)
    assert code == 200
    found: dict[str, float] = {}
    family = ""
    for line in text.decode().splitlines():
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif not line.startswith("# HELP "):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            assert re.sub(r"_(bucket|sum|count)$", "", sample["name"]) == family or sample["name"] == family, line
            labels = re.findall(r"([a-z_]+)=", sample["labels"] or "")
            assert [name for name in labels if name != "le"] == sorted(name for name in labels if name != "le")
            found[line.rpartition(" ")[0]] = float(sample["value"])
    return found


def test_text() -> None:
    counter = Counter("a_total", "ALPHA", "As.", ("x", "y"))
    counter.add("1", 'q"\n')
    counter.add("1", 'q"\n', by=2)
    assert counter.text() == '# HELP a_total [ALPHA] As.\n# TYPE a_total counter\na_total{x="1",y="q\\"\\n"} 3\n'
    times = Histograms("b_seconds", "STABLE", "Bs.", (0.1, 1), ())
    for value in (0.05, 1, 7):
        times.observe(value)
    assert times.text().splitlines()[2:] == [
        'b_seconds_bucket{le="0.1"} 1', 'b_seconds_bucket{le="1"} 2', 'b_seconds_bucket{le="+Inf"} 3',
        "b_seconds_sum 8.05", "b_seconds_count 3",
    ]  # fmt: skip
    assert gauge("c", "", "Cs.", (), {(): 2.5}).endswith("c 2.5\n")


def test_the_most_within_a_second() -> None:
    peak = Peak()
    peak.enter(10.0)
    peak.enter(10.1)
    peak.leave(10.2)
    assert (peak.now, peak.at(10.9), peak.at(11.5), peak.at(12.5)) == (1, 2, 2, 1)


async def test_requests(api: Local) -> None:
    await api("POST", CONFIG_MAPS, config_map("one"))
    await api("POST", CONFIG_MAPS + "?dryRun=All", config_map("two"))
    await api("GET", CONFIG_MAPS + "/one")
    await api("GET", CONFIG_MAPS)
    await api("GET", CONFIG_MAPS + "/none")
    applied = "application/apply-patch+yaml"
    await api("PATCH", CONFIG_MAPS + "/one?fieldManager=me", config_map("one", {"a": "b"}), applied)
    found = await scraped(api)
    place = 'group="",resource="configmaps",scope="{}",subresource="",verb="{}",version="v1"'

    def total(code: int, scope: str, verb: str, dry_run: str = "") -> float:
        labels = f'code="{code}",component="apiserver",dry_run="{dry_run}",{place.format(scope, verb)}'
        return found[f"apiserver_request_total{{{labels}}}"]

    assert total(201, "resource", "POST") == total(201, "resource", "POST", "All") == 1
    assert total(200, "resource", "GET") == total(404, "resource", "GET") == total(200, "namespace", "LIST") == 1
    assert total(200, "resource", "APPLY") == 1
    got = f'component="apiserver",{place.format("resource", "GET")}'
    assert found[f"apiserver_response_sizes_count{{{got}}}"] == 2
    assert found[f"apiserver_request_sli_duration_seconds_count{{{got}}}"] == 2
    timed = got.replace('",group', '",dry_run="",group', 1)
    assert found[f"apiserver_request_duration_seconds_count{{{timed}}}"] == 2
    assert found['apiserver_request_body_size_bytes_count{group="",resource="configmaps",verb="create"}'] == 2


async def test_what_clients_make_up_is_no_label(api: Local) -> None:
    for path in ("/apis/made.up/v1/things", "/api/v1/namespaces/default/pods/a/madeup", "/madeup"):
        await api("GET", path)
    await api("BREW", CONFIG_MAPS + "/one")
    _, text = await api("GET", "/metrics")
    assert b"made" not in text and b"BREW" not in text


async def test_storage_and_caches(api: Local) -> None:
    await api("POST", CONFIG_MAPS, config_map("one"))
    await api("DELETE", CONFIG_MAPS + "/one")
    found = await scraped(api)
    assert found['apiserver_storage_objects{resource="namespaces"}'] == 4
    assert found['apiserver_resource_objects{group="",resource="namespaces"}'] == 4
    assert found['apiserver_resource_objects{group="scheduling.k8s.io",resource="priorityclasses"}'] == 2
    assert found['apiserver_storage_objects{resource="priorityclasses.scheduling.k8s.io"}'] == 2
    assert found['apiserver_resource_size_estimate_bytes{group="",resource="namespaces"}'] > 4 * 200
    assert found['etcd_requests_total{group="",operation="create",resource="configmaps"}'] == 1
    assert found['etcd_request_duration_seconds_count{group="",operation="delete",resource="configmaps"}'] == 1
    seen = found['apiserver_watch_cache_events_received_total{group="",resource="configmaps"}']
    assert found['apiserver_watch_cache_events_dispatched_total{group="",resource="configmaps"}'] == seen > 1
    revision = found['apiserver_watch_cache_resource_version{group="",resource="configmaps"}']
    assert revision == api.server.api.cache.revision


async def test_admission(api: Local, webhook: Webhook) -> None:
    """Plugins; webhooks that agree, refuse, cannot be called, and are left out by their conditions."""
    gone = {**webhook.config(), "url": "https://127.0.0.1:1/x"}
    conditions = [{"name": "c", "expression": "object.metadata.name != 'left-out'"}]
    await register(
        api,
        "Validating",
        webhook.hook("a.example.com", matchConditions=conditions),
        webhook.hook("open.example.com", clientConfig=gone, failurePolicy="Ignore"),
    )
    webhook.answer = lambda request: {"allowed": request["name"] != "no", "status": {"code": 418}}
    for name in ("yes", "no", "left-out"):
        await api("POST", CONFIG_MAPS, config_map(name))
    await register(api, "Mutating", webhook.hook("shut.example.com", clientConfig=gone))
    await api("POST", CONFIG_MAPS, config_map("shut"))
    found = await scraped(api)
    head, calls = "apiserver_admission", 'name="a.example.com",operation="CREATE",rejected="{}",type="validating"'
    assert found[f'{head}_webhook_request_total{{code="200",{calls.format("false")}}}'] == 1
    assert found[f'{head}_webhook_request_total{{code="418",{calls.format("true")}}}'] == 1
    assert found[f"{head}_webhook_admission_duration_seconds_count{{{calls.format('true')}}}"] == 1
    refused = 'name="{}",operation="CREATE",rejection_code="{}",type="{}"'
    of = f"{head}_webhook_rejection_count"
    assert found[f'{of}{{error_type="no_error",{refused.format("a.example.com", 418, "validating")}}}'] == 1
    assert found[f'{of}{{error_type="calling_webhook_error",{refused.format("shut.example.com", 503, "admit")}}}'] == 1
    assert found[f'{head}_webhook_fail_open_count{{name="open.example.com",type="validating"}}'] == 3
    condition = 'kind="webhook",name="a.example.com",operation="CREATE",type="validating"'
    assert found[f"{head}_match_condition_exclusions_total{{{condition}}}"] == 1
    assert found[f"{head}_match_condition_evaluation_seconds_count{{{condition}}}"] == 3
    plugin = 'name="ValidatingAdmissionWebhook",operation="CREATE",rejected="{}",type="validate"'
    assert found[f"{head}_controller_admission_duration_seconds_count{{{plugin.format('true')}}}"] == 1
    assert (
        found[f'{head}_step_admission_duration_seconds_count{{operation="CREATE",rejected="true",type="validate"}}']
        == 1
    )
    assert (
        found[f'{head}_step_admission_duration_seconds_count{{operation="CREATE",rejected="true",type="admit"}}'] == 1
    )
    # what webhooks took is no time of ours
    place = 'group="",resource="configmaps",scope="resource",subresource="",verb="POST",version="v1"'
    ours = found[f'apiserver_request_sli_duration_seconds_sum{{component="apiserver",{place}}}']
    assert ours < found[f'apiserver_request_duration_seconds_sum{{component="apiserver",dry_run="",{place}}}']


async def test_policies(api: Local) -> None:
    strict = policy("object.metadata.name != 'no'", "object.data.x == 'y'", failurePolicy="Ignore")
    await enforce(api, strict, binding(validationActions=["Warn", "Audit"]))
    await api("POST", CONFIG_MAPS, config_map("no"))
    found = await scraped(api)
    labels = 'enforcement_action="{}",error_type="{}",policy="p",policy_binding="b"'
    for action, problem in (("warn", "no_error"), ("audit", "no_error"), ("allow", "invalid_error")):
        key = labels.format(action, problem)
        assert found[f"apiserver_validating_admission_policy_check_total{{{key}}}"] == 1
        assert found[f"apiserver_validating_admission_policy_check_duration_seconds_count{{{key}}}"] == 1


async def test_watches(api: Local) -> None:
    reply = await api.raw("GET", CONFIG_MAPS + "?watch=1&timeoutSeconds=60")
    assert reply.stream is not None
    writer = Written()
    watch = asyncio.ensure_future(reply.stream(writer))
    await asyncio.sleep(0)
    await api("POST", CONFIG_MAPS, config_map("one"))
    found = await scraped(api)
    place = 'group="",resource="configmaps",scope="namespace",subresource="",verb="WATCH",version="v1"'
    assert found[f'apiserver_longrunning_requests{{component="apiserver",{place}}}'] == 1
    sent = len(writer.lines)
    assert found['apiserver_watch_events_total{group="",resource="configmaps",version="v1"}'] == sent >= 1
    assert found['apiserver_watch_events_sizes_count{group="",resource="configmaps",version="v1"}'] == sent
    assert found['apiserver_watch_events_sizes_sum{group="",resource="configmaps",version="v1"}'] == sum(
        map(len, writer.lines)
    )
    total = f'apiserver_request_total{{code="200",component="apiserver",dry_run="",{place}}}'
    assert total not in found
    writer.gone()
    await watch
    found = await scraped(api)
    assert found[total] == 1
    assert found[f'apiserver_longrunning_requests{{component="apiserver",{place}}}'] == 0


async def test_who_asks(api: Local) -> None:
    stranger = Local(api.server, None)
    assert (await stranger("GET", CONFIG_MAPS, authorization="Bearer nonsense"))[0] == 401
    assert (await stranger("GET", CONFIG_MAPS))[0] == 403
    found = await scraped(api)
    assert found['authentication_attempts{result="failure"}'] == 1
    assert found['authorization_attempts_total{result="no-opinion"}'] == 1
    assert found['authentication_attempts{result="success"}'] == found['authenticated_user_requests{username="other"}']


async def test_health_checks(api: Local) -> None:
    await api("GET", "/readyz")
    api.server.stopping = True
    await api("GET", "/readyz")
    found = await scraped(api, "/metrics/slis")
    assert found['kubernetes_healthcheck{name="shutdown",type="readyz"}'] == 0
    assert found['kubernetes_healthchecks_total{name="shutdown",status="success",type="readyz"}'] == 1
    assert found['kubernetes_healthchecks_total{name="shutdown",status="error",type="readyz"}'] == 1
    assert found['kubernetes_healthchecks_total{name="ping",status="success",type="readyz"}'] == 2
    assert (await api("GET", "/metrics/other"))[0] == 404
