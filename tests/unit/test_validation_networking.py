"""Services, endpoints and network policies: what is refused."""

# ruff: noqa: E501 (a row is a line)
# fmt: off

from __future__ import annotations

import pytest

from tests.validation import GONE, Change, Valid, ids

SERVICE = Valid("", "v1", "services", {"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80}]}})

SERVICE_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/ports": []}, ["spec.ports: Required value"]),
    ({"spec/ports/0/port": 0}, ["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive", "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive"]),
    ({"spec/ports/0/protocol": "x"}, ['spec.ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
    ({"spec/ports/0/targetPort": "A_"}, ['spec.ports[0].targetPort: Invalid value: "A_": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)', 'spec.ports[0].targetPort: Invalid value: "A_": must contain at least one letter (a-z)']),
    ({"spec/ports/0/name": "A"}, ['spec.ports[0].name: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/ports/0/appProtocol": "a b"}, ['spec.ports[0].appProtocol: Invalid value: "a b": name part must consist of …']),
    ({"spec/ports": [{"port": 80}, {"port": 80, "name": "b"}]}, ["spec.ports[0].name: Required value", 'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}']),
    ({"spec/ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, ['spec.ports[1].name: Duplicate value: "a"']),
    ({"spec/ports/0/nodePort": 30000}, ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"]),
    ({"spec/type": "NodePort", "spec/ports": [{"port": 80, "name": "a", "nodePort": 30000}, {"port": 81, "name": "b", "nodePort": 30000}]}, ["spec.ports[1].nodePort: Duplicate value: 30000"]),
    ({"spec/type": "x"}, ['spec.type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"']),
    ({"spec/selector": {"a b": "c"}}, ['spec.selector: Invalid value: "a b": name part must consist of …']),
    ({"spec/sessionAffinity": "x"}, ['spec.sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None"']),
    ({"spec/sessionAffinity": "ClientIP", "spec/sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}, ["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400"]),
    ({"spec/clusterIP": "10.0.0.2"}, ['spec.clusterIPs: Invalid value: ["10.0.0.1"]: first value must match `clusterIP`']),
    ({"spec/clusterIPs": []}, ["spec.clusterIPs: Required value"]),
    ({"spec/clusterIP": "", "spec/clusterIPs": ["10.0.0.1"]}, ['spec.clusterIPs: Invalid value: ["10.0.0.1"]: must be empty when `clusterIP` is not specified']),
    ({"spec/clusterIP": "a", "spec/clusterIPs": ["a"]}, ['spec.clusterIPs[0]: Invalid value: "a": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ({"spec/clusterIPs": ["10.0.0.1", "10.0.0.2"]}, ['spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family']),
    ({"spec/clusterIPs": ["10.0.0.1", "None"]}, ["spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"None\"]: 'None' must be the first and only value"]),
    ({"spec/ipFamilies": ["IPv6"]}, ['spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`']),
    ({"spec/ipFamilies": ["IPv4", "IPv4"]}, ['spec.ipFamilies[1]: Duplicate value: "IPv4"']),
    ({"spec/ipFamilies": ["x"], "spec/ipFamilyPolicy": "y"}, ['spec.ipFamilies[0]: Unsupported value: "x": supported values: "IPv4", "IPv6"', 'spec.ipFamilyPolicy: Unsupported value: "y": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"']),
    ({"spec/clusterIP": "None", "spec/clusterIPs": ["None"], "spec/type": "LoadBalancer"}, ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for LoadBalancer services"]),
    ({"spec/type": "ExternalName"}, ["spec.clusterIPs: Forbidden: may not be set for ExternalName services", "spec.ipFamilies: Forbidden: may not be set for ExternalName services", "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services", "spec.externalName: Required value"]),
    ({"spec/externalIPs": ["127.0.0.1", "x"]}, ['spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)', 'spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)']),
    ({"spec/loadBalancerSourceRanges": ["10.0.0.0/8"]}, ["spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"spec/type": "LoadBalancer", "spec/loadBalancerSourceRanges": ["x"]}, ['spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ({"spec/allocateLoadBalancerNodePorts": True}, ["spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"spec/loadBalancerClass": "a.b/c"}, ["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"]),
    ({"spec/type": "LoadBalancer", "spec/loadBalancerClass": "a b"}, ['spec.loadBalancerClass: Invalid value: "a b": name part must consist of …']),
    ({"spec/externalTrafficPolicy": "Local"}, ['spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services']),
    ({"spec/type": "LoadBalancer", "spec/externalTrafficPolicy": "x"}, ['spec.externalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local"']),
    ({"spec/type": "LoadBalancer", "spec/externalTrafficPolicy": "Local"}, ["spec.healthCheckNodePort: Required value"]),
    ({"spec/healthCheckNodePort": 30001}, ["spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"]),
    ({"spec/internalTrafficPolicy": "x"}, ['spec.internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local"']),
    ({"spec/trafficDistribution": "x"}, ['spec.trafficDistribution: Unsupported value: "x": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"']),
    ({"metadata/annotations": {"service.kubernetes.io/topology-mode": "Auto", "service.kubernetes.io/topology-aware-hints": "auto"}}, ['metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified']),
]

@pytest.mark.parametrize(("change", "expected"), SERVICE_ROWS, ids=ids(SERVICE_ROWS))
def test_service(change: Change, expected: list[str]) -> None:
    assert SERVICE.errors(change) == expected


SERVICE_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/clusterIP": "10.0.0.2", "spec/clusterIPs": ["10.0.0.2"]}, {}, ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set']),
    ({"spec/clusterIP": "", "spec/clusterIPs": []}, {}, ["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"]),
    ({"spec/ipFamilies": ["IPv6"], "spec/clusterIP": "::1", "spec/clusterIPs": ["::1"]}, {}, ['spec.clusterIPs[0]: Invalid value: ["::1"]: may not change once set', 'spec.ipFamilies[0]: Invalid value: ["IPv6"]: may not change once set']),
    ({"spec/clusterIPs": ["10.0.0.1", "fd00::1"], "spec/ipFamilies": ["IPv4", "IPv6"], "spec/ipFamilyPolicy": "PreferDualStack"}, {}, []),
    ({"spec/clusterIPs": ["10.0.0.1"], "spec/ipFamilies": ["IPv4"]}, {"spec/clusterIPs": ["10.0.0.1", "fd00::1"], "spec/ipFamilies": ["IPv4", "IPv6"], "spec/ipFamilyPolicy": "PreferDualStack"}, ["spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP", "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily"]),
    ({"spec/type": "LoadBalancer", "spec/loadBalancerClass": "a.b/d"}, {"spec/type": "LoadBalancer", "spec/loadBalancerClass": "a.b/c"}, ['spec.loadBalancerClass: Invalid value: "a.b/d": may not change once set']),
    ({"spec/healthCheckNodePort": 30002}, {"spec/type": "LoadBalancer", "spec/externalTrafficPolicy": "Local", "spec/healthCheckNodePort": 30001}, ["spec.healthCheckNodePort: Forbidden: field is immutable"]),
]

@pytest.mark.parametrize(("change", "old", "expected"), SERVICE_UPDATE_ROWS, ids=ids(SERVICE_UPDATE_ROWS))
def test_service_update(change: Change, old: Change, expected: list[str]) -> None:
    assert SERVICE.update(change, old) == expected


LOAD_BALANCER_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, {}, ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]),
    ({"status/loadBalancer": {"ingress": [{"ip": "x", "ipMode": "y"}, {"hostname": "1.2.3.4", "ipMode": "VIP"}]}}, {"spec/type": "LoadBalancer"}, ['status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'status.loadBalancer.ingress[0].ipMode: Unsupported value: "y": supported values: "Proxy", "VIP"', "status.loadBalancer.ingress[1].ipMode: Forbidden: may not be specified when `ip` is not set", 'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address']),
]

@pytest.mark.parametrize(("change", "old", "expected"), LOAD_BALANCER_STATUS_ROWS, ids=ids(LOAD_BALANCER_STATUS_ROWS))
def test_load_balancer_status(change: Change, old: Change, expected: list[str]) -> None:
    assert SERVICE.status(change, old) == expected


SERVICE_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({}, []),
    ({"spec/clusterIP": "None", "spec/clusterIPs": ["None"], "spec/externalIPs": ["1.2.3.4"], "spec/loadBalancerIP": "1.2.3.4", "spec/sessionAffinity": "ClientIP"}, ["spec.loadBalancerIP is ignored for headless services", "spec.externalIPs is ignored for headless services", "spec.SessionAffinity is ignored for headless services"]),
    ({"spec/externalIPs": ["010.2.3.4"]}, ['spec.externalIPs[0]: non-standard IP address "010.2.3.4" will be considered invalid in a future Kubernetes release: use "10.2.3.4"', "spec.externalIPs is deprecated and may no longer be implemented in some clusters"]),
    ({"spec/externalName": "x"}, ['spec.externalName is ignored when spec.type is not "ExternalName"']),
    ({"spec/trafficDistribution": "PreferClose"}, ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"']),
    ({"metadata/annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}}, ["annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead"]),
    ({"spec/type": "LoadBalancer", "spec/loadBalancerSourceRanges": ["10.0.0.1/8"]}, ['spec.loadBalancerSourceRanges[0]: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)']),
]

@pytest.mark.parametrize(("change", "expected"), SERVICE_WARNINGS_ROWS, ids=ids(SERVICE_WARNINGS_ROWS))
def test_service_warnings(change: Change, expected: list[str]) -> None:
    assert SERVICE.warnings(change) == expected


ENDPOINTS = Valid("", "v1", "endpoints", {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]})

ENDPOINTS_ROWS: list[tuple[Change, list[str]]] = [
    ({"subsets/0/addresses": []}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
    ({"subsets/0/addresses": [{"ip": "x"}, {"ip": "127.0.0.1"}, {"ip": "169.254.1.1"}, {"ip": "0.0.0.0"}, {"ip": "224.0.0.1"}]}, ['subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address', 'subsets[0].addresses[1].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)', 'subsets[0].addresses[2].ip: Invalid value: "169.254.1.1": may not be in the link-local range (169.254.0.0/16, fe80::/10)', 'subsets[0].addresses[3].ip: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)', 'subsets[0].addresses[4].ip: Invalid value: "224.0.0.1": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)']),
    ({"subsets/0/addresses/0/hostname": "A"}, ['subsets[0].addresses[0].hostname: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"subsets/0/addresses/0/nodeName": "A"}, ['subsets[0].addresses[0].nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"subsets/0/ports": [{"port": 80}, {"port": 0, "name": "b", "protocol": "x", "appProtocol": "a b"}]}, ["subsets[0].ports[0].name: Required value", "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive", 'subsets[0].ports[1].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"', 'subsets[0].ports[1].appProtocol: Invalid value: "a b": name part must consist of …']),
]

@pytest.mark.parametrize(("change", "expected"), ENDPOINTS_ROWS, ids=ids(ENDPOINTS_ROWS))
def test_endpoints(change: Change, expected: list[str]) -> None:
    assert ENDPOINTS.errors(change) == expected


SLICE = Valid("discovery.k8s.io", "v1", "endpointslices", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]})

ENDPOINT_SLICE_ROWS: list[tuple[Change, list[str]]] = [
    ({"addressType": GONE}, ["addressType: Required value"]),
    ({"addressType": "x"}, ['addressType: Unsupported value: "x": supported values: "FQDN", "IPv4", "IPv6"']),
    ({"addressType": "IPv6"}, ['endpoints[0].addresses[0]: Invalid value: "10.0.0.1": must be a valid IPv6 address']),
    ({"addressType": "FQDN"}, []),
    ({"endpoints/0/addresses": []}, ["endpoints[0].addresses: Required value: must contain at least 1 address"]),
    ({"endpoints/0/addresses": ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.1"]}, ["endpoints[0].addresses: Too many: 101: must have at most 100 items"]),
    ({"endpoints/0/nodeName": "A"}, ['endpoints[0].nodeName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"endpoints/0/hostname": "A"}, ['endpoints[0].hostname: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"endpoints/0/hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}, ['endpoints[0].hints.forZones[1].name: Duplicate value: "a"']),
    ({"endpoints/0/deprecatedTopology": {"a0": "", "a1": "", "a2": "", "a3": "", "a4": "", "a5": "", "a6": "", "a7": "", "a8": "", "a9": "", "a10": "", "a11": "", "a12": "", "a13": "", "a14": "", "a15": "", "a16": ""}}, ["endpoints[0].deprecatedTopology: Too many: 17: must have at most 16 items"]),
    ({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}, ['ports[1].name: Duplicate value: "a"']),
    ({"ports": [{"port": 80, "name": "A", "protocol": "x"}]}, ['ports[0].name: Invalid value: "A": a lowercase RFC 1123 label …', 'ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"']),
]

@pytest.mark.parametrize(("change", "expected"), ENDPOINT_SLICE_ROWS, ids=ids(ENDPOINT_SLICE_ROWS))
def test_endpoint_slice(change: Change, expected: list[str]) -> None:
    assert SLICE.errors(change) == expected


ENDPOINT_SLICE_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"addressType": "IPv6", "endpoints": []}, {"endpoints": []}, ['addressType: Invalid value: "IPv6": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), ENDPOINT_SLICE_UPDATE_ROWS, ids=ids(ENDPOINT_SLICE_UPDATE_ROWS))
def test_endpoint_slice_update(change: Change, old: Change, expected: list[str]) -> None:
    assert SLICE.update(change, old) == expected


POLICY = Valid("networking.k8s.io", "v1", "networkpolicies", {"spec": {"podSelector": {}}})

NETWORK_POLICY_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/podSelector": {"matchLabels": {"a b": "c"}}}, ['spec.podSelector.matchLabels: Invalid value: "a b": name part must consist of …']),
    ({"spec/ingress": [{"ports": [{"protocol": "x", "port": 0}]}]}, ['spec.ingress[0].ports[0].protocol: Unsupported value: "x": supported values: "TCP", "UDP", "SCTP"', "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
    ({"spec/ingress": [{"ports": [{"endPort": 5}]}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified"]),
    ({"spec/ingress": [{"ports": [{"port": "a", "endPort": 5}]}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is non-numeric"]),
    ({"spec/ingress": [{"ports": [{"port": 6, "endPort": 5}]}]}, ["spec.ingress[0].ports[0].endPort: Invalid value: 5: must be greater than or equal to `port`"]),
    ({"spec/ingress": [{"from": [{}]}]}, ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    ({"spec/ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]}, ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"]),
    ({"spec/ingress": [{"from": [{"ipBlock": {"cidr": ""}}]}]}, ["spec.ingress[0].from[0].ipBlock.cidr: Required value"]),
    ({"spec/ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16", "x", "10.0.0.0/8"]}}]}]}, ['spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`', 'spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)', 'spec.ingress[0].from[0].ipBlock.except[2]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`']),
    ({"spec/egress": [{"to": [{"ipBlock": {"cidr": "x"}}]}]}, ['spec.egress[0].to[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
    ({"spec/policyTypes": ["x"]}, ['spec.policyTypes[0]: Unsupported value: "x": supported values: "Ingress", "Egress"']),
    ({"spec/policyTypes": ["Ingress", "Egress", "Ingress"]}, ['spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not specify more than two policyTypes']),
]

@pytest.mark.parametrize(("change", "expected"), NETWORK_POLICY_ROWS, ids=ids(NETWORK_POLICY_ROWS))
def test_network_policy(change: Change, expected: list[str]) -> None:
    assert POLICY.errors(change) == expected


INGRESS = Valid("networking.k8s.io", "v1", "ingresses", {"spec": {"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}})

INGRESS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/rules": []}, ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]),
    ({"spec/rules/0/host": "1.2.3.4"}, ['spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address']),
    ({"spec/rules/0/host": "*.A"}, ['spec.rules[0].host: Invalid value: "*.A": a wildcard DNS-1123 subdomain …']),
    ({"spec/rules/0/http": {"paths": []}}, ["spec.rules[0].http.paths: Required value"]),
    ({"spec/rules/0/http/paths/0/pathType": GONE}, ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]),
    ({"spec/rules/0/http/paths/0/pathType": "x"}, ['spec.rules[0].http.paths[0].pathType: Unsupported value: "x": supported values: "Exact", "ImplementationSpecific", "Prefix"']),
    ({"spec/rules/0/http/paths/0/path": "a"}, ['spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path']),
    ({"spec/rules/0/http/paths/0/path": "/a//b/../c%2f"}, ["spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/../c%2f\": must not contain '//'", "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/../c%2f\": must not contain '/../'", "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/../c%2f\": must not contain '%2f'"]),
    ({"spec/rules/0/http/paths/0/path": "/a/.."}, ["spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'"]),
    ({"spec/rules/0/http/paths/0/pathType": "ImplementationSpecific", "spec/rules/0/http/paths/0/path": "a"}, ['spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path']),
    ({"spec/rules/0/http/paths/0/backend": {}}, ['spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required']),
    ({"spec/rules/0/http/paths/0/backend/resource": {"kind": "a", "name": "b"}}, ['spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both resource and service backends']),
    ({"spec/rules/0/http/paths/0/backend": {"resource": {"kind": "", "name": ""}}}, ["spec.rules[0].http.paths[0].backend.resource.kind: Required value", "spec.rules[0].http.paths[0].backend.resource.name: Required value"]),
    ({"spec/rules/0/http/paths/0/backend/service": {"name": "", "port": {}}}, ["spec.rules[0].http.paths[0].backend.service.name: Required value", "spec.rules[0].http.paths[0].backend: Required value: port name or number is required"]),
    ({"spec/rules/0/http/paths/0/backend/service": {"name": "1", "port": {"name": "a", "number": 1}}}, ['spec.rules[0].http.paths[0].backend: Invalid value: "": cannot set both port name & port number']),
    ({"spec/rules/0/http/paths/0/backend/service/name": "A"}, ['spec.rules[0].http.paths[0].backend.service.name: Invalid value: "A": a lowercase RFC 1123 label …']),
    ({"spec/rules/0/http/paths/0/backend/service/port": {"name": "A_"}}, ['spec.rules[0].http.paths[0].backend.service.port.name: Invalid value: "A_": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)', 'spec.rules[0].http.paths[0].backend.service.port.name: Invalid value: "A_": must contain at least one letter (a-z)']),
    ({"spec/rules/0/http/paths/0/backend/service/port": {"number": 70000}}, ["spec.rules[0].http.paths[0].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive"]),
    ({"spec/tls": [{"hosts": ["A"], "secretName": "B"}]}, ['spec.tls[0].hosts[0]: Invalid value: "A": a lowercase RFC 1123 subdomain …', 'spec.tls[0].secretName: Invalid value: "B": a lowercase RFC 1123 subdomain …']),
    ({"spec/ingressClassName": "A"}, ['spec.ingressClassName: Invalid value: "A": a lowercase RFC 1123 subdomain …']),
    ({"spec/ingressClassName": "a", "metadata/annotations": {"kubernetes.io/ingress.class": "b"}}, ['annotations.kubernetes.io/ingress.class: Invalid value: "b": must match `ingressClassName` when both are specified']),
]

@pytest.mark.parametrize(("change", "expected"), INGRESS_ROWS, ids=ids(INGRESS_ROWS))
def test_ingress(change: Change, expected: list[str]) -> None:
    assert INGRESS.errors(change) == expected


INGRESS_STATUS_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"status/loadBalancer": {"ingress": [{"ip": "x"}, {"hostname": "1.2.3.4"}]}}, {}, ['status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)', 'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address']),
]

@pytest.mark.parametrize(("change", "old", "expected"), INGRESS_STATUS_ROWS, ids=ids(INGRESS_STATUS_ROWS))
def test_ingress_status(change: Change, old: Change, expected: list[str]) -> None:
    assert INGRESS.status(change, old) == expected


INGRESS_WARNINGS_ROWS: list[tuple[Change, list[str]]] = [
    ({"metadata/annotations": {"kubernetes.io/ingress.class": "b"}}, ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]),
]

@pytest.mark.parametrize(("change", "expected"), INGRESS_WARNINGS_ROWS, ids=ids(INGRESS_WARNINGS_ROWS))
def test_ingress_warnings(change: Change, expected: list[str]) -> None:
    assert INGRESS.warnings(change) == expected


INGRESS_CLASS = Valid("networking.k8s.io", "v1", "ingressclasses", {"spec": {"controller": "a.b/c"}})

INGRESS_CLASS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/controller": GONE}, ["spec.controller: Required value"]),
    ({"spec/controller": "a"}, ['spec.controller: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")']),
    ({"spec/controller": "a.b/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"}, ["spec.controller: Too long: may not be more than 250 bytes"]),
    ({"spec/parameters": {"kind": "", "name": "a/b"}}, ["spec.parameters.kind: Required value", "spec.parameters.name: Invalid value: \"a/b\": may not contain '/'"]),
    ({"spec/parameters": {"kind": "a", "name": "b", "scope": "x"}}, ['spec.parameters.scope: Unsupported value: "x": supported values: "Cluster", "Namespace"']),
    ({"spec/parameters": {"kind": "a", "name": "b", "scope": "Namespace"}}, ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"]),
    ({"spec/parameters": {"kind": "a", "name": "b", "namespace": "c"}}, ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"]),
]

@pytest.mark.parametrize(("change", "expected"), INGRESS_CLASS_ROWS, ids=ids(INGRESS_CLASS_ROWS))
def test_ingress_class(change: Change, expected: list[str]) -> None:
    assert INGRESS_CLASS.errors(change) == expected


INGRESS_CLASS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/controller": "a.b/d"}, {}, ['spec.controller: Invalid value: "a.b/d": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), INGRESS_CLASS_UPDATE_ROWS, ids=ids(INGRESS_CLASS_UPDATE_ROWS))
def test_ingress_class_update(change: Change, old: Change, expected: list[str]) -> None:
    assert INGRESS_CLASS.update(change, old) == expected


ADDRESS = Valid("networking.k8s.io", "v1", "ipaddresses", {"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "namespace": "a", "name": "b"}}})

IP_ADDRESS_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/parentRef": GONE}, ["spec.parentRef: Required value"]),
    ({"spec/parentRef": {}}, ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"]),
    ({"spec/parentRef/group": "A", "spec/parentRef/name": "a/b", "spec/parentRef/namespace": ".."}, ['spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain …', "spec.parentRef.name: Invalid value: \"a/b\": may not contain '/'", "spec.parentRef.namespace: Invalid value: \"..\": may not be '..'"]),
]

@pytest.mark.parametrize(("change", "expected"), IP_ADDRESS_ROWS, ids=ids(IP_ADDRESS_ROWS))
def test_ip_address(change: Change, expected: list[str]) -> None:
    assert ADDRESS.errors(change) == expected


IP_ADDRESS_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/parentRef/name": "c"}, {}, ['spec.parentRef: Invalid value: {"name":"c","namespace":"a","resource":"services"}: field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), IP_ADDRESS_UPDATE_ROWS, ids=ids(IP_ADDRESS_UPDATE_ROWS))
def test_ip_address_update(change: Change, old: Change, expected: list[str]) -> None:
    assert ADDRESS.update(change, old) == expected


SERVICE_CIDR = Valid("networking.k8s.io", "v1", "servicecidrs", {"spec": {"cidrs": ["10.0.0.0/16"]}})

SERVICE_CIDR_ROWS: list[tuple[Change, list[str]]] = [
    ({"spec/cidrs": []}, ["spec.cidrs: Required value: at least one CIDR required"]),
    ({"spec/cidrs": ["10.0.0.1/16"]}, ['spec.cidrs[0]: Invalid value: "10.0.0.1/16": must not have bits set beyond the prefix length']),
    ({"spec/cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}, ['spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/16","10.1.0.0/16"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64']),
    ({"spec/cidrs": ["10.0.0.0/16", "fd00::/64", "fd01::/64"]}, ['spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/16","fd00::/64","fd01::/64"]}: may only hold up to 2 values']),
    ({"spec/cidrs": ["010.0.0.0/16"]}, ['spec.cidrs[0]: Invalid value: "010.0.0.0/16": must not have leading 0s in IP or prefix length']),
]

@pytest.mark.parametrize(("change", "expected"), SERVICE_CIDR_ROWS, ids=ids(SERVICE_CIDR_ROWS))
def test_service_cidr(change: Change, expected: list[str]) -> None:
    assert SERVICE_CIDR.errors(change) == expected


SERVICE_CIDR_UPDATE_ROWS: list[tuple[Change, Change, list[str]]] = [
    ({"spec/cidrs": ["10.0.0.0/16", "fd00::/64"]}, {}, []),
    ({"spec/cidrs": ["10.1.0.0/16"]}, {}, ['spec.cidrs: Invalid value: ["10.1.0.0/16"]: field is immutable']),
    ({"spec/cidrs": ["10.1.0.0/16", "fd00::/64"]}, {}, ['spec.cidrs[0]: Invalid value: "10.1.0.0/16": field is immutable']),
]

@pytest.mark.parametrize(("change", "old", "expected"), SERVICE_CIDR_UPDATE_ROWS, ids=ids(SERVICE_CIDR_UPDATE_ROWS))
def test_service_cidr_update(change: Change, old: Change, expected: list[str]) -> None:
    assert SERVICE_CIDR.update(change, old) == expected
