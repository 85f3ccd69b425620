"""Pod Security Admission: every check's words, versions, and what labels of namespaces do."""

from pathlib import Path
from typing import Any

import pytest

from sampan.api.pod_security.evaluate import violations
from sampan.api.pod_security.policy import LATEST, Standard, of_labels
from sampan.apiserver.admission.order import chain
from tests.conftest import Local
from tests.unit.test_admission_pods import pod

GOOD = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
LABEL = "pod-security.kubernetes.io/"


def container(name: str = "a", context: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "x", "securityContext": {**GOOD, **(context or {})}, **more}


def found(level: Any, spec: dict[str, Any], version: int = LATEST, **annotations: str) -> str:
    spec = {"containers": [container()], **spec}
    return ", ".join(map(str, violations(Standard(level, version), {"annotations": annotations}, spec)))


BASELINE = [
    ({"hostNetwork": True, "hostIPC": True}, "host namespaces (hostNetwork=true, hostIPC=true)"),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
    (
        {
            "containers": [
                container(ports=[{"hostPort": 80}, {"hostPort": 443}]),
                container("b", ports=[{"hostPort": 80}]),
            ]
        },
        'hostPort (containers "a", "b" use hostPorts 443, 80)',
    ),
    (
        {"containers": [container(livenessProbe={"httpGet": {"host": "h"}})]},
        'probe or lifecycle host (container "a" uses probe or lifecycle host "h")',
    ),
    (
        {"containers": [container(context={"privileged": True})]},
        'privileged (container "a" must not set securityContext.privileged=true)',
    ),
    (
        {"containers": [container(context={"procMount": "Unmasked"})]},
        'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        {"containers": [container(context={"capabilities": {"add": ["NET_RAW", "CHOWN"]}})]},
        'non-default capabilities (container "a" must not include "NET_RAW" in securityContext.capabilities.add)',
    ),
    (
        {"securityContext": {"seLinuxOptions": {"type": "other_t", "user": "u"}}},
        'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "other_t"; user may not be set)',
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_rmem"}]}},
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
    (
        {"containers": [container(context={"appArmorProfile": {"type": "Unconfined"}})]},
        'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")',
    ),
]


@pytest.mark.parametrize(("spec", "words"), BASELINE)
def test_baseline(spec: dict[str, Any], words: str) -> None:
    assert found("baseline", spec) == words
    assert found("privileged", spec) == ""


RESTRICTED = [
    (
        {"containers": [container(context={"allowPrivilegeEscalation": True})]},
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        {"containers": [container(context={"capabilities": {"add": ["CHOWN"]}})]},
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; '
        'container "a" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        {"volumes": [{"name": "v", "hostPath": {}}, {"name": "w", "nfs": {}}, {"name": "x", "emptyDir": {}}]},
        'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
    ),
    (
        {"containers": [container(context={"runAsNonRoot": None}), container("b", context={"runAsNonRoot": None})]},
        'runAsNonRoot != true (pod or containers "a", "b" must set securityContext.runAsNonRoot=true)',
    ),
    (
        {"securityContext": {"runAsNonRoot": False}},
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    ),
    (
        {"securityContext": {"runAsUser": 0}, "containers": [container(context={"runAsUser": 0})]},
        'runAsUser=0 (pod and container "a" must not set runAsUser=0)',
    ),
    (
        {"containers": [container(context={"seccompProfile": None})]},
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")',
    ),
]


@pytest.mark.parametrize(("spec", "words"), RESTRICTED)
def test_restricted(spec: dict[str, Any], words: str) -> None:
    assert found("restricted", spec) == words


def test_versions_differ() -> None:
    rmem = {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}}
    assert found("baseline", rmem, 31) and not found("baseline", rmem, 32) and not found("baseline", rmem, 99)
    escalating = {"containers": [container(context={"allowPrivilegeEscalation": True})]}
    assert not found("restricted", escalating, 7) and found("restricted", escalating, 8)
    windows = {**escalating, "os": {"name": "windows"}}
    assert found("restricted", windows, 24) and not found("restricted", windows, 25)
    root = {"containers": [container(context={"runAsNonRoot": None})], "hostUsers": False}
    assert found("restricted", root, 34) and not found("restricted", root, 35)
    # a check of the baseline holds in restricted where nothing stricter is there yet
    annotated = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert found("restricted", {}, 18, **annotated) == (
        'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert found("restricted", {}, 19, **annotated) == ""


def test_labels() -> None:
    policy, problems = of_labels({LABEL + "enforce": "strict", LABEL + "warn": "x", LABEL + "enforce-version": "1.2"})
    assert str(policy.enforce) == "restricted:latest" and str(policy.warn) == "privileged:latest"
    assert [str(problem) for problem in problems] == [
        f'metadata.labels[{LABEL}enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted',
        f'metadata.labels[{LABEL}enforce-version]: Invalid value: "1.2": must be "latest" or "v1.x"',
        f'metadata.labels[{LABEL}warn]: Invalid value: "x": must be one of privileged, baseline, restricted',
    ]
    policy, problems = of_labels({LABEL + "audit": "baseline", LABEL + "audit-version": "v1.20"})
    assert str(policy.audit) == "baseline:v1.20" and not problems


async def namespace(api: Local, **labels: str) -> str:
    meta = {"name": "n", "labels": {LABEL + key.replace("_", "-"): value for key, value in labels.items()}}
    code, made = await api("POST", "/api/v1/namespaces", {"metadata": meta})
    assert code == 201, made
    return "/api/v1/namespaces/n/pods"


async def warned(api: Local, method: str, path: str, body: Any, kind: str = "application/json") -> list[str]:
    reply = await api.raw(method, path, body, kind)
    assert reply.code in (200, 201), reply.body
    return [value for key, value in reply.headers if key == "Warning"]


async def test_restricted_pods_are_refused_in_upstreams_words(api: Local) -> None:
    path = await namespace(api, enforce="restricted")
    code, refused = await api("POST", path, pod())
    assert (code, refused["reason"], refused["message"]) == (
        403,
        "Forbidden",
        'pods "p" is forbidden: violates PodSecurity "restricted:latest": '
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), '
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), '
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to '
        '"RuntimeDefault" or "Localhost")',
    )
    assert (await api("POST", f"{path}?dryRun=All", pod()))[0] == 403
    assert (await api("POST", path, pod(containers=[container()])))[0] == 201
    patch = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "x"}]}}
    code, refused = await api("PATCH", f"{path}/p/ephemeralcontainers", patch, "application/strategic-merge-patch+json")
    assert code == 403 and 'container "debug" must set' in refused["message"]


async def test_warnings_of_pods_and_templates(api: Local) -> None:
    path = await namespace(api, warn="baseline", warn_version="v1.30")
    said = await warned(api, "POST", path, pod(hostPID=True))
    assert said == ['299 - "would violate PodSecurity \\"baseline:v1.30\\": host namespaces (hostPID=true)"']
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(hostPID=True)["spec"]}
    job: dict[str, Any] = {"metadata": {"name": "j"}, "spec": {"template": template}}
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    said = await warned(api, "POST", "/apis/batch/v1/namespaces/n/jobs", job)
    assert len(said) == 1 and "host namespaces (hostPID=true)" in said[0]
    cron = {"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job["spec"]}}}
    said = await warned(api, "POST", "/apis/batch/v1/namespaces/n/cronjobs", cron)
    assert any("host namespaces" in text for text in said)


async def test_templates_are_not_refused(api: Local) -> None:
    await namespace(api, enforce="restricted")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployment = {"metadata": {"name": "d"}, "spec": spec}
    said = await warned(api, "POST", "/apis/apps/v1/namespaces/n/deployments", deployment)
    assert not any("PodSecurity" in text for text in said)


async def test_namespaces(api: Local) -> None:
    meta = {"name": "bad", "labels": {LABEL + "enforce": "strict"}}
    code, refused = await api("POST", "/api/v1/namespaces", {"metadata": meta})
    why = f'metadata.labels[{LABEL}enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted'
    assert (code, refused["message"]) == (422, f'Namespace "bad" is invalid: {why}')
    path = await namespace(api)
    for name in ("p2", "p1", "p3"):
        await api("POST", path, pod(name, hostPID=True))
    await api("POST", path, pod("q", containers=[{"name": "c", "image": "x", "securityContext": {"privileged": True}}]))
    patch = {"metadata": {"labels": {LABEL + "enforce": "baseline"}}}
    assert await warned(api, "PATCH", "/api/v1/namespaces/n", patch, "application/merge-patch+json") == [
        '299 - "existing pods in namespace \\"n\\" violate the new PodSecurity enforce level \\"baseline:latest\\""',
        '299 - "p1 (and 2 other pods): host namespaces"',
        '299 - "q: privileged"',
    ]
    patch["metadata"]["labels"][LABEL + "enforce"] = "privileged"
    assert await warned(api, "PATCH", "/api/v1/namespaces/n", patch, "application/merge-patch+json") == []


async def test_an_update_that_changes_nothing_of_note_passes(api: Local) -> None:
    path = await namespace(api)
    await api("POST", path, pod(hostPID=True))
    patch: dict[str, Any] = {"metadata": {"labels": {LABEL + "enforce": "baseline"}}}
    await api("PATCH", "/api/v1/namespaces/n", patch, "application/merge-patch+json")
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert (await api("PATCH", f"{path}/p", patch, "application/merge-patch+json"))[0] == 200
    patch = {"spec": {"containers": [{"name": "c", "image": "other"}]}}
    assert (await api("PATCH", f"{path}/p", patch, "application/strategic-merge-patch+json"))[0] == 403


async def test_exemptions_and_defaults(api: Local, tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n"
        "  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    kind: PodSecurityConfiguration\n"
        "    defaults: {enforce: baseline}\n    exemptions: {namespaces: [free], runtimeClasses: [vm]}\n"
    )
    api.server.api.admission = chain(configuration=file)
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "free"}})
    await api("POST", "/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": "vm"}, "handler": "vm"})
    bad = pod(hostPID=True)
    assert (await api("POST", "/api/v1/namespaces/default/pods", bad))[0] == 403
    assert (await api("POST", "/api/v1/namespaces/free/pods", bad))[0] == 201
    assert (await api("POST", "/api/v1/namespaces/default/pods", pod(hostPID=True, runtimeClassName="vm")))[0] == 201
