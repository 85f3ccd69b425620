"""What containers are told: variables, /etc/hosts, resolv.conf, and by which names registries know us."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.errors import StatusError
from sampan.kubelet import dns_config, env_file, expansion, fields, hosts, pull_secrets, service_links
from sampan.kubelet.cri import CriFailed
from sampan.kubelet.environment import ConfigError, Facts, environment
from sampan.kubelet.sources import references

Obj = dict[str, Any]


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def pod(**spec: Any) -> Obj:
    meta = {
        "name": "web",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"b": "2", "a": "1"},
        "annotations": {"k": 'say "hi"'},
    }
    return {"metadata": meta, "spec": {"containers": [], "nodeName": "n1", "serviceAccountName": "robot", **spec}}


def service(namespace: str, name: str, ip: str, *ports: Obj) -> Obj:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"clusterIP": ip, "ports": list(ports)}}


class Fixed:
    """What the API server holds."""

    def __init__(self, *services: Obj, **objects: Obj) -> None:
        self._services, self._objects = list(services), objects

    async def services(self, *, wait: bool = True) -> list[Obj]:
        return self._services

    async def config_map(self, namespace: str, name: str) -> Obj:
        if name not in self._objects:
            raise StatusError(404, "NotFound", f'configmap "{name}" not found')
        return self._objects[name]

    async def secret(self, namespace: str, name: str) -> Obj:
        if name not in self._objects:
            raise StatusError(404, "NotFound", f'secret "{name}" not found')
        return self._objects[name]


async def made(
    container: Obj, of: Obj | None = None, facts: Facts | None = None, sources: Any = None
) -> dict[str, str]:
    known: Any = sources or Fixed()
    return dict(await environment(of or pod(), container, known, facts or Facts()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(A", "$(A"),
        ("$A ${A} $", "$A ${A} $"),
        ("$($(A))", "$($(A))"),
        ("$()", "$()"),
    ],
)
def test_expansion(text: str, expected: str) -> None:
    assert expansion.expand(text, {"A": "1"}) == expected


@given(st.text(alphabet="$()Ab-"))
def test_what_is_escaped_comes_out_as_it_was(text: str) -> None:
    assert expansion.expand(text.replace("$", "$$"), {"A": "1", "": "2"}) == text


def test_a_sub_path_may_not_keep_references() -> None:
    assert expansion.expand_strictly("$(A)/$$(B)", {"A": "1"}) == "1/$(B)"
    with pytest.raises(expansion.Missing, match='missing value for "C"'):
        expansion.expand_strictly("$(C)", {"A": "1"})


async def test_variables_refer_to_those_before_them_and_to_services() -> None:
    container = {"env": [
        {"name": "A", "value": "a"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "c"},
        {"name": "URL", "value": "http://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)"}, {"name": "DB_PORT", "value": "mine"},
    ]}  # fmt: skip
    found = await made(container, sources=Fixed(service("shop", "db", "10.0.0.5", {"port": 5432})))
    assert found["B"] == "a$(C)"
    assert found["URL"] == "http://10.0.0.5:5432"
    assert found["DB_PORT"] == "mine"


async def test_whole_maps_with_prefixes_and_single_keys() -> None:
    sources = Fixed(
        settings={"data": {"mode": "fast", "dotted.key": "1"}},
        login={"data": {"user": b64("root"), "mode": b64("slow")}},
    )
    container = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "login"}},
            {"prefix": "CM_", "configMapRef": {"name": "settings"}},
            {"configMapRef": {"name": "absent", "optional": True}},
        ],
        "env": [
            {"name": "user", "value": "over"},
            {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "mode"}}},
            {"name": "PASS", "valueFrom": {"secretKeyRef": {"name": "login", "key": "user"}}},
            {"name": "NOT", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "nope", "optional": True}}},
            {"name": "NOR", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "x", "optional": True}}},
        ],
    }  # fmt: skip
    found = await made(container, sources=sources)
    assert found == {
        "mode": "slow", "dotted.key": "1", "user": "over", "CM_mode": "fast", "CM_dotted.key": "1", "KEY": "fast", "PASS": "root",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"envFrom": [{"configMapRef": {"name": "absent"}}]}, 'configmap "absent" not found'),
        ({"envFrom": [{"secretRef": {"name": "absent"}}]}, 'secret "absent" not found'),
        (
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "there", "key": "a"}}}]},
            "couldn't find key a in ConfigMap shop/there",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "there", "key": "a"}}}]},
            "couldn't find key a in Secret shop/there",
        ),
    ],
)
async def test_what_is_not_there_is_said(container: Obj, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await made(container, sources=Fixed(there={"data": {}}))
    assert caught.value.message == message


async def test_the_downward_api() -> None:
    paths = {
        "NAME": "metadata.name", "NS": "metadata.namespace", "UID": "metadata.uid", "LABEL": "metadata.labels['b']",
        "NOTE": "metadata.annotations['k']", "NONE": "metadata.labels['none']", "NODE": "spec.nodeName", "SA": "spec.serviceAccountName",
        "IP": "status.podIP", "IPS": "status.podIPs", "HOST": "status.hostIP", "HOSTS": "status.hostIPs",
    }  # fmt: skip
    container = {
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    }
    found = await made(container, facts=Facts(("10.1.0.2", "fd00::2"), ("192.0.2.1",)))
    assert found == {
        "NAME": "web", "NS": "shop", "UID": "u-1", "LABEL": "2", "NOTE": 'say "hi"', "NONE": "", "NODE": "n1", "SA": "robot",
        "IP": "10.1.0.2", "IPS": "10.1.0.2,fd00::2", "HOST": "192.0.2.1", "HOSTS": "192.0.2.1",
    }  # fmt: skip
    assert fields.of_metadata(pod(), "metadata.labels") == 'a="1"\nb="2"'
    assert fields.of_metadata(pod(), "metadata.annotations") == 'k="say \\"hi\\""'


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("requests.cpu", "0", "1"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", "1", "67108865"),
        ("limits.memory", "1Mi", "65"),
        ("limits.cpu", "1", "4"),
        ("requests.memory", "1", "0"),
        ("limits.ephemeral-storage", "1Gi", "10"),
    ],
)
def test_resources_are_rounded_up_and_default_to_the_node(resource: str, divisor: str, expected: str) -> None:
    container = {"name": "c", "resources": {"requests": {"cpu": "250m"}, "limits": {"memory": "67108865"}}}
    allocatable = {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi"}
    ref = {"resource": resource, "divisor": divisor, "containerName": "c"}
    assert fields.of_resources(pod(containers=[container]), None, ref, allocatable) == expected


def test_service_links() -> None:
    services = [
        service("default", "kubernetes", "10.96.0.1", {"name": "https", "port": 443}),
        service(
            "shop",
            "my-db.v1",
            "10.96.0.7",
            {"name": "sql", "port": 5432},
            {"name": "dns-udp", "port": 53, "protocol": "UDP"},
        ),
        service("shop", "9lives", "10.96.0.9", {"port": 9}),
        service("shop", "headless", "None", {"port": 1}),
        service("other", "foreign", "10.96.0.8", {"port": 1}),
    ]
    api = {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        "KUBERNETES_PORT": "tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP": "tcp://10.96.0.1:443",
        "KUBERNETES_PORT_443_TCP_PROTO": "tcp", "KUBERNETES_PORT_443_TCP_PORT": "443", "KUBERNETES_PORT_443_TCP_ADDR": "10.96.0.1",
    }  # fmt: skip
    assert service_links.variables(services, "shop", False) == api
    found = service_links.variables(services, "shop", True)
    assert found["MY_DB_V1_SERVICE_PORT_DNS_UDP"] == "53"
    assert found["MY_DB_V1_PORT_53_UDP"] == "udp://10.96.0.7:53"
    assert found["_9LIVES_SERVICE_HOST"] == "10.96.0.9"
    assert not [name for name in found if "HEADLESS" in name or "FOREIGN" in name]


def test_variables_in_files(tmp_path: Path) -> None:
    text = "# settings\n\nA='one'\n  B='two\nlines' # why\nC=''\nD= 'no'\nA='again'\nnonsense"
    assert {name: env_file.value(text, name) for name in "ABCD"} == {"A": "one", "B": "two\nlines", "C": "", "D": ""}
    for wrong, why in {
        "A=one": "value must be enclosed in single quotes", "A": "missing '='", "='x'": "empty variable name", "A='x": "unclosed",
        "A='x' y": "unexpected content after closing quote", "A ='x'": "whitespace before '=' is not allowed",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"at line 1: {why}"):
            env_file.value(wrong, "A")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text(text)
    assert env_file.value_of(tmp_path, "d/f", "A") == "one"
    (tmp_path / "link").symlink_to("/etc")
    with pytest.raises(OSError):
        env_file.value_of(tmp_path, "link/passwd", "A")


async def test_a_variable_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("A='one'\n")

    def container(key: str, optional: bool = False) -> Obj:
        ref = {"volumeName": "v", "path": "env", "key": key, "optional": optional}
        return {"env": [{"name": "X", "valueFrom": {"fileKeyRef": ref}}]}

    facts = Facts(volumes={"v": tmp_path})
    assert await made(container("A"), facts=facts) == {"X": "one"}
    assert await made(container("B", True), facts=facts) == {}
    with pytest.raises(ConfigError, match=f'environment variable key "B" not found in file "{tmp_path}/env"'):
        await made(container("B"), facts=facts)


def test_references() -> None:
    spec = {
        "imagePullSecrets": [{"name": "pull"}, {}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s1"}}]}],
        "containers": [{"name": "c", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}]}],
        "volumes": [
            {"name": "a", "configMap": {"name": "c2"}}, {"name": "b", "secret": {"secretName": "s2"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "s3"}}, {"configMap": {"name": "c3"}}]}},
        ],
    }  # fmt: skip
    found = {(kind, name) for kind, _, name in references(pod(**spec))}
    assert found == {
        ("secrets", "pull"), ("secrets", "s1"), ("secrets", "s2"), ("secrets", "s3"),
        ("configmaps", "c1"), ("configmaps", "c2"), ("configmaps", "c3"),
    }  # fmt: skip


HEAD = (
    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
)


def test_hosts_file(tmp_path: Path) -> None:
    aliases = [{"ip": "10.9.9.9", "hostnames": ["foo.local", "bar.local"]}]
    tail = "\n# Entries added by HostAliases.\n10.9.9.9\tfoo.local\tbar.local\n"
    assert hosts.hosts(pod(), ["10.1.0.2", "fd00::2"], "web") == HEAD + "10.1.0.2\tweb\nfd00::2\tweb\n"
    with_domain = hosts.hosts(pod(hostAliases=aliases), ["10.1.0.2"], "web", "sub.shop.svc.cluster.local")
    assert with_domain == HEAD + "10.1.0.2\tweb.sub.shop.svc.cluster.local\tweb\n" + tail
    own = tmp_path / "hosts"
    own.write_text("127.0.0.1 node\n")
    found = hosts.hosts(pod(hostNetwork=True, hostAliases=aliases), ["192.0.2.1"], "n1", host_file=own)
    assert found == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 node\n" + tail


def test_host_names() -> None:
    assert hosts.names_of(pod(), "cluster.local") == ("web", "")
    assert hosts.names_of(pod(hostname="h", subdomain="s"), "cluster.local") == ("h", "s.shop.svc.cluster.local")
    assert hosts.names_of(pod(hostname="h", subdomain="s", hostnameOverride="o.example"), "cluster.local") == (
        "o.example",
        "",
    )
    long = pod()
    long["metadata"]["name"] = "a" * 62 + "--" + "b"
    assert hosts.names_of(long, "x")[0] == "a" * 62


@pytest.fixture
def node(tmp_path: Path) -> dns_config.Node:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# mine\nnameserver 192.0.2.53\nsearch old.example\nsearch corp.example. .\noptions timeout:2 rotate\n"
    )
    return dns_config.Node(["10.96.0.10"], "cluster.local", file, ["192.0.2.1"])


def test_dns_policies(node: dns_config.Node) -> None:
    cluster = (
        ("10.96.0.10",),
        ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example", "."),
        ("ndots:5",),
    )
    of_node = (("192.0.2.53",), ("corp.example", "."), ("timeout:2", "rotate"))

    def made(**spec: Any) -> tuple[Any, ...]:
        found = dns_config.dns_config(pod(**spec), node)
        assert not found.warnings
        return found.servers, found.searches, found.options

    assert (
        made()
        == made(dnsPolicy="ClusterFirst")
        == made(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True)
        == cluster
    )
    assert made(dnsPolicy="Default") == made(dnsPolicy="ClusterFirst", hostNetwork=True) == of_node
    own = {
        "nameservers": ["1.1.1.1"],
        "searches": ["my.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert made(dnsPolicy="None", dnsConfig=own) == (("1.1.1.1",), ("my.example",), ("ndots:2", "edns0"))
    servers, searches, options = made(dnsConfig=own)
    assert servers == ("10.96.0.10", "1.1.1.1")
    assert searches[-1] == "my.example"
    assert options == ("ndots:2", "edns0")


def test_dns_limits_and_fallbacks_are_told(node: dns_config.Node) -> None:
    many = {"nameservers": [f"192.0.2.{n}" for n in range(5)], "searches": [f"{n}.example" for n in range(40)]}
    found = dns_config.dns_config(pod(dnsPolicy="None", dnsConfig=many), node)
    assert len(found.servers) == 3
    assert len(found.searches) == 32
    assert [reason for reason, _ in found.warnings] == ["DNSConfigForming"] * 2
    assert found.warnings[0][1].endswith("the applied nameserver line is: 192.0.2.0 192.0.2.1 192.0.2.2")
    long = {"searches": ["x" * 200] + [f"{n}." + "y" * 240 for n in range(20)]}
    assert len(" ".join(dns_config.dns_config(pod(dnsPolicy="None", dnsConfig=long), node).searches)) <= 2048
    bare = dns_config.Node((), "cluster.local", Path(""), ["fd00::1"])
    found = dns_config.dns_config(pod(), bare)
    assert (found.servers, found.searches) == (("::1",), (".",))
    assert found.warnings == (
        (
            "MissingClusterDNS",
            'pod: "web_shop(u-1)". kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
            'Falling back to "Default" policy.',
        ),
    )


def docker_config(auths: Obj, kind: str = "kubernetes.io/dockerconfigjson") -> Obj:
    key, data = (".dockercfg", auths) if kind.endswith("dockercfg") else (".dockerconfigjson", {"auths": auths})
    return {"type": kind, "data": {key: b64(json.dumps(data))}}


@pytest.mark.parametrize(
    ("place", "image", "fits"),
    [
        ("registry.example", "registry.example/a/b:v1", True),
        ("https://registry.example/v2/", "registry.example/a", True),
        ("registry.example/team", "registry.example/team/a", True),
        ("registry.example/team", "registry.example/other/a", False),
        ("registry.example:5000", "registry.example:5000/a@sha256:" + "0" * 64, True),
        ("registry.example", "registry.example:5000/a", False),
        ("*.example", "registry.example/a", True),
        ("*.example", "deep.registry.example/a", False),
        ("*", "registry.example/a", False),
        ("reg*.example", "registry.example/a", True),
        ("https://index.docker.io/v1/", "busybox", True),
        ("https://index.docker.io/v1/", "user/tool:v2", True),
        ("docker.io", "busybox", True),
        ("https://index.docker.io/v1/", "registry.example/a", False),
    ],
)
def test_credentials_are_for_a_place(place: str, image: str, fits: bool) -> None:
    ring = pull_secrets.keyring([docker_config({place: {"username": "u", "password": "p"}})])
    assert bool(pull_secrets.matching(ring, image)) == fits


def test_the_most_specific_credentials_come_first() -> None:
    ring = pull_secrets.keyring(
        [
            docker_config({"r.example": {"auth": b64("host:pw:with:colons")}}),
            docker_config({"r.example/team": {"username": "team", "password": "t"}}, "kubernetes.io/dockercfg"),
            {"type": "Opaque", "data": {".dockerconfigjson": b64("{}")}},
        ]
    )
    found = pull_secrets.matching(ring, "r.example/team/app:1")
    assert [(each.username, each.password) for each in found] == [("team", "t"), ("host", "pw:with:colons")]
    with pytest.raises(ValueError, match="unable to parse auth field"):
        pull_secrets.keyring([docker_config({"r.example": {"auth": "!"}})])


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": [1]}', '{"auths": {"r.example": 1}}', '{"auths": {"r.example": {"auth": "!"}}}']
)
async def test_secrets_that_cannot_be_read_fail_the_pull(text: str) -> None:
    kind = "kubernetes.io/dockerconfigjson"
    sources: Any = Fixed(bad={"metadata": {"name": "bad"}, "type": kind, "data": {".dockerconfigjson": b64(text)}})
    with pytest.raises(CriFailed):
        await pull_secrets.credentials(pod(imagePullSecrets=[{"name": "bad"}]), "r.example/a", sources)


async def test_pull_secrets_that_are_missing_are_told() -> None:
    told: list[tuple[str, str]] = []
    sources: Any = Fixed(there=docker_config({"r.example": {"username": "u", "password": "p"}}))
    spec = pod(imagePullSecrets=[{"name": "gone"}, {"name": "there"}, {}])
    found = await pull_secrets.credentials(spec, "r.example/a", sources, lambda *event: told.append(event))
    assert [each.username for each in found] == ["u"]
    assert told == [
        (
            "FailedToRetrieveImagePullSecret",
            "Unable to retrieve some image pull secrets (gone); attempting to pull the image may not succeed.",
        )
    ]
