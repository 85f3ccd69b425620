"""The kubelet's small parts: back-offs, image names, admission, options, names, termination messages."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.client import ConfigError
from sampan.cri import pb
from sampan.kubelet import backoff, names, options, sandbox, security
from sampan.kubelet.admission import admit
from sampan.kubelet.backoff import Backoffs
from sampan.kubelet.images import tagged
from sampan.kubelet.observed import seen_of, tail
from tests.unit.test_kubelet_plan import A, Obj, container, pod

# -- back-offs ---------------------------------------------------------------------------------------------------------


def test_a_back_off_doubles_up_to_its_most_and_is_forgotten() -> None:
    now = SimpleNamespace(seconds=1000.0)
    kept = Backoffs(lambda: now.seconds)
    assert kept.left("a", 1000.0) == 0  # the first time, at once
    delays = []
    for _ in range(7):
        kept.next("a", now.seconds)
        delays.append(kept.delay("a"))
        assert kept.left("a", now.seconds) == delays[-1]
        now.seconds += delays[-1]
    assert delays == [10, 20, 40, 80, 160, 300, 300]
    assert kept.left("a", now.seconds - 100) == 200
    now.seconds += 601
    assert kept.left("a", now.seconds) == 0
    kept.next("a", now.seconds)
    assert kept.delay("a") == 10


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3600, "1h0m0s")])
def test_durations_as_go_prints_them(seconds: float, text: str) -> None:
    assert backoff.text(seconds) == text


# -- images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1.36", "busybox:1.36"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        (f"a@sha256:{'0' * 64}", f"a@sha256:{'0' * 64}"),
    ],
)
def test_a_tag_is_latest_where_none_is_said(given: str, meant: str) -> None:
    assert tagged(given) == meant


@pytest.mark.parametrize("name", ["Busybox", "a b", "a:", "-a", "", "a@sha256:12"])
def test_invalid_image_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"couldn't parse image name"):
        tagged(name)


# -- admission ---------------------------------------------------------------------------------------------------------

NODE = {"metadata": {"name": "n", "labels": {"zone": "a", "kubernetes.io/os": "linux"}}, "spec": {}}
ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "2"}


def refused(made: Obj, *others: Obj, node: Obj = NODE, pressures: tuple[str, ...] = ()) -> tuple[str, str] | None:
    found = admit(made, others, node, ALLOCATABLE, pressures)
    return None if found is None else (found.reason, found.message)


def asking(**requests: str) -> Obj:
    return pod(container("a", resources={"requests": requests}))


def test_resources_are_counted_once_more() -> None:
    assert refused(asking(cpu="1500m"), asking(cpu="500m")) is None
    assert refused(asking(cpu="1600m"), asking(cpu="500m")) == (
        "OutOfcpu", "Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000",
    )  # fmt: skip
    assert refused(asking(memory="2Gi")) == (
        "OutOfmemory", "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
    )  # fmt: skip
    assert refused(pod(A), pod(A), pod(A)) == (
        "OutOfpods", "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2",
    )  # fmt: skip
    assert refused(asking(**{"example.com/gpu": "1"})) is None


def affine(**term: Any) -> Obj:
    required = {"nodeSelectorTerms": [term]}
    return pod(A, affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}})


@pytest.mark.parametrize(
    ("made", "fits"),
    [
        (pod(A, nodeSelector={"zone": "a"}), True),
        (pod(A, nodeSelector={"zone": "b"}), False),
        (affine(matchExpressions=[{"key": "zone", "operator": "In", "values": ["a", "b"]}]), True),
        (affine(matchExpressions=[{"key": "zone", "operator": "DoesNotExist"}]), False),
        (affine(matchFields=[{"key": "metadata.name", "operator": "In", "values": ["n"]}]), True),
        (affine(), False),
    ],
)
def test_affinity(made: Obj, fits: bool) -> None:
    expected = ("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
    assert refused(made) == (None if fits else expected)


def test_host_ports_are_had_once() -> None:
    def port(number: int, **more: Any) -> Obj:
        return pod(container("a", ports=[{"containerPort": 80, "hostPort": number, **more}]))

    assert refused(port(80), port(81)) is None
    assert refused(port(80, hostIP="127.0.0.1"), port(80, hostIP="127.0.0.2")) is None
    assert (refused(port(80), port(80, hostIP="127.0.0.2")) or ("",))[0] == "NodePorts"
    assert refused(port(80), port(80, protocol="UDP")) is None


def test_no_execute_taints_and_pressure() -> None:
    tainted = {**NODE, "spec": {"taints": [{"key": "k", "value": "v", "effect": "NoExecute"}]}}
    assert (refused(pod(A), node=tainted) or ("",))[0] == "TaintToleration"
    assert refused(pod(A, tolerations=[{"key": "k", "operator": "Exists"}]), node=tainted) is None
    assert refused(pod(A), pressures=("MemoryPressure",)) == ("Evicted", "The node had condition: [MemoryPressure]. ")
    assert refused(asking(cpu="1"), pressures=("MemoryPressure",)) is None
    assert (refused(asking(cpu="1"), pressures=("DiskPressure",)) or ("",))[0] == "Evicted"
    assert refused(pod(A, priority=2_000_000_000), pressures=("DiskPressure",)) is None


def test_only_safe_sysctls_unless_others_are_allowed() -> None:
    def setting(name: str, **spec: Any) -> Obj:
        return pod(A, securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)

    assert refused(setting("net.ipv4.tcp_syncookies")) is None
    assert refused(setting("kernel.msgmax")) == ("SysctlForbidden", 'forbidden sysctl: "kernel.msgmax" not allowlisted')
    assert admit(setting("kernel.msgmax"), (), NODE, ALLOCATABLE, unsafe_sysctls=("kernel.msg*",)) is None
    found = refused(setting("net.ipv4.tcp_syncookies", hostNetwork=True))
    assert found == ("SysctlForbidden", 'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled')


# -- options -----------------------------------------------------------------------------------------------------------


def test_a_kubelet_configuration(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 7\nclusterDNS: [10.0.0.10]\n"
        "evictionHard: {memory.available: 5%}\nnodeStatusUpdateFrequency: 1m30s\ncgroupDriver: systemd\n"
        "authentication: {anonymous: {enabled: true}, x509: {clientCAFile: /ca.crt}}\nauthorization: {mode: AlwaysAllow}\n"
    )
    found = options.from_file(file)
    assert (found.max_pods, found.cluster_dns, found.eviction_hard) == (7, ("10.0.0.10",), {"memory.available": "5%"})
    assert (found.status_seconds, found.cgroup_driver, found.anonymous) == (90.0, "systemd", True)
    assert (found.client_ca, found.authorization) == (Path("/ca.crt"), "AlwaysAllow")
    file.write_text("kind: Something")
    with pytest.raises(ConfigError, match="no KubeletConfiguration"):
        options.from_file(file)
    file.write_text("kind: KubeletConfiguration\nsyncFrequency: soon")
    with pytest.raises(ConfigError, match='invalid duration "soon"'):
        options.from_file(file)


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    from sampan.cli.kubelet import parser, settings

    file = tmp_path / "config.yaml"
    file.write_text("kind: KubeletConfiguration\nmaxPods: 7\nport: 1")
    flags = [
        "--config",
        str(file),
        "--max-pods=9",
        "--hostname-override=n",
        "--node-labels=a=b,c=",
        "--kube-reserved=cpu=1",
    ]
    flags += ["--register-with-taints=k=v:NoSchedule", "--eviction-hard=memory.available<1Gi"]
    found = settings(parser().parse_args(flags))
    assert (found.max_pods, found.port, found.name, found.labels) == (9, 1, "n", {"a": "b", "c": ""})
    assert found.taints == ({"key": "k", "effect": "NoSchedule", "value": "v"},) and found.kube_reserved == {"cpu": "1"}
    assert found.eviction_hard == {"memory.available": "1Gi"}


# -- what the runtime is told, and tells -------------------------------------------------------------------------------


def test_a_sandbox_of_the_host_has_no_name_and_no_ports() -> None:
    made = pod(container("a", ports=[{"containerPort": 80, "hostPort": 8080}]), hostname="h", subdomain="s")
    told: dict[str, Any] = {
        "logs": Path("/logs"),
        "dns": None,
        "cgroup": "/pod",
        "cluster_domain": "c",
        "seccomp_root": Path("/s"),
    }
    found = sandbox.config(made, 2, **told)
    assert (found.hostname, found.metadata.attempt, found.log_directory) == ("h", 2, "/logs/default_p_u")
    assert [(each.container_port, each.host_port) for each in found.port_mappings] == [(80, 8080)]
    assert found.labels["io.kubernetes.pod.uid"] == "u"
    made["spec"]["setHostnameAsFQDN"] = True
    assert sandbox.config(made, 0, **told).hostname == "h.s.default.svc.c"
    made["spec"]["hostNetwork"] = True
    found = sandbox.config(made, 0, **told)
    assert not found.hostname and not found.port_mappings
    assert found.linux.security_context.namespace_options.network == pb.NODE


def contexts(made: Obj, **image: Any) -> Any:
    (one,) = made["spec"]["containers"]
    given = {"uid": None, "username": "", **image}
    return security.for_container(made, one, seccomp_root=Path("/seccomp"), **given)


def test_security_contexts_are_taken_over_from_the_pod() -> None:
    own = {"runAsUser": 5, "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}, "allowPrivilegeEscalation": False}
    shared = {
        "runAsUser": 1,
        "runAsGroup": 2,
        "fsGroup": 3,
        "supplementalGroups": [4],
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    found = contexts(pod(container("a", securityContext=own), securityContext=shared))
    assert (found.run_as_user.value, found.run_as_group.value, list(found.supplemental_groups)) == (5, 2, [4, 3])
    assert found.seccomp.profile_type == pb.RuntimeDefault and found.no_new_privs
    assert (list(found.capabilities.add_capabilities), list(found.capabilities.drop_capabilities)) == (
        ["NET_ADMIN"],
        ["ALL"],
    )
    assert "/proc/kcore" in found.masked_paths
    assert not contexts(pod(container("a", securityContext={"privileged": True}))).masked_paths


def test_who_an_image_wants_to_be() -> None:
    assert contexts(pod(A), uid=7).run_as_user.value == 7
    assert contexts(pod(A), username="app").run_as_username == "app"
    careful = pod(container("a"), securityContext={"runAsNonRoot": True})
    (one,) = careful["spec"]["containers"]
    security.check_user(careful, one, 7, "")
    with pytest.raises(
        security.ConfigRefused,
        match=r'^container has runAsNonRoot and image will run as root \(pod: "p_default\(u\)", container: a\)$',
    ):
        security.check_user(careful, one, 0, "")
    with pytest.raises(
        security.ConfigRefused, match=r"image has non-numeric user \(app\), cannot verify user is non-root"
    ):
        security.check_user(careful, one, None, "app")


def test_what_a_container_said_when_it_ended(tmp_path: Path) -> None:
    said, log = tmp_path / "message", tmp_path / "0.log"
    log.write_text(
        "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:00Z stderr F o\n"
    )
    assert tail(log) == "one\ntwo\n"
    notes = {names.MESSAGE_PATH: "/dev/termination-log", names.MESSAGE_POLICY: "FallbackToLogsOnError"}

    def message(code: int) -> str:
        mount = pb.Mount(container_path="/dev/termination-log", host_path=str(said))
        found = pb.ContainerStatus(
            state=pb.CONTAINER_EXITED, exit_code=code, mounts=[mount], log_path=str(log), annotations=notes
        )
        return seen_of(found).message

    said.write_text("")
    assert (message(0), message(1)) == ("", "one\ntwo\n")
    said.write_text("x" * 5000)
    assert message(1) == "x" * 4096
