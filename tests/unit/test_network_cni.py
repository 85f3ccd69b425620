"""Addresses on disk, a port's rules, and what the CNI executable answers without touching a network."""

from __future__ import annotations

import json
import threading
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from sampan.network.cni import command, hostports
from sampan.network.cni.addresses import Addresses, HostPort, Owner
from sampan.network.cni.attachment import link_name
from sampan.network.cni.errors import CniError
from sampan.network.cni.hostports import Way

SMALL = IPv4Network("10.1.0.0/29")


def owner(name: str) -> Owner:
    return Owner(name, "eth0", link_name(name, "eth0"), (HostPort("tcp", "", 80, 8080),))


def test_addresses_go_round_and_what_was_freed_comes_last(tmp_path: Path) -> None:
    addresses = Addresses(tmp_path)
    assert [str(addresses.take(SMALL, owner(str(number)))) for number in range(3)] == [
        "10.1.0.2",
        "10.1.0.3",
        "10.1.0.4",
    ]
    addresses.free(IPv4Address("10.1.0.3"))
    rest = [str(addresses.take(SMALL, owner(str(number)))) for number in range(3, 6)]
    assert rest == ["10.1.0.5", "10.1.0.6", "10.1.0.3"]
    with pytest.raises(CniError, match=r"no IP addresses available in range set: 10.1.0.2-10.1.0.6"):
        addresses.take(SMALL, owner("x"))
    assert addresses.of("5", "eth0") == {IPv4Address("10.1.0.3"): owner("5")}
    assert Addresses(tmp_path).all() == addresses.all()


def test_no_address_is_given_twice(tmp_path: Path) -> None:
    network, taken = IPv4Network("10.1.0.0/25"), []
    lock = threading.Lock()

    def take() -> None:
        mine = [Addresses(tmp_path).take(network, owner("x")) for _ in range(20)]
        with lock:
            taken.extend(mine)

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 100
    assert not [each for each in tmp_path.glob(".*") if each.name != ".last"]


def test_link_names_fit_and_stay_the_same() -> None:
    assert link_name("a" * 64, "eth0") == link_name("a" * 64, "eth0") != link_name("a" * 64, "eth1")
    assert len(link_name("a" * 64, "eth0")) == 15


def test_ports_are_elements_of_rules_that_stay() -> None:
    pods, address = IPv4Network("10.1.0.0/24"), IPv4Address("10.1.0.5")
    ports = HostPort("tcp", "", 8080, 80), HostPort("udp", "127.0.0.1", 53, 5353)
    empty = hostports.program("t", Way(pods, pods), {})
    full = hostports.program("t", Way(pods, pods), {address: Owner("s", "eth0", "veth0", ports)})
    assert "tcp . 8080 : 10.1.0.5 . 80" in full
    assert "127.0.0.1 . udp . 53 : 10.1.0.5 . 5353" in full
    assert len(full.splitlines()) == len(empty.splitlines())
    assert hostports.change("delete", "t", address, ports).splitlines() == [
        "delete element ip t ports { tcp . 8080 : 10.1.0.5 . 80 }",
        "delete element ip t ports-of { 127.0.0.1 . udp . 53 : 10.1.0.5 . 5353 }",
        "delete element ip t self { 10.1.0.5 . 10.1.0.5 }",
    ]
    assert "daddr != { 10.0.0.0/8, 224.0.0.0/4 } masquerade" in hostports.program(
        "t", Way(pods, IPv4Network("10.0.0.0/8")), {}
    )
    assert "ip saddr 10.1.0.0/24" not in hostports.program("t", None, {})


def answer(environment: dict[str, str], config: Any) -> tuple[int, Any]:
    code, said = command.run(environment, config if isinstance(config, str) else json.dumps(config))
    return code, json.loads(said)


def test_the_executable_says_what_is_wrong() -> None:
    assert answer({"CNI_COMMAND": "VERSION"}, {"cniVersion": "0.4.0"}) == (
        0, {"cniVersion": "0.4.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]},
    )  # fmt: skip
    who = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "x", "CNI_IFNAME": "eth0"}
    for environment, config, code, message in (
        ({"CNI_COMMAND": "FLY"}, {}, 4, "unknown CNI_COMMAND: FLY"),
        ({"CNI_COMMAND": "ADD"}, {}, 4, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME] missing"),
        (who, "{", 6, "error unmarshall network config"),
        (who, {"cniVersion": "2.0.0"}, 1, "incompatible CNI versions"),
        (who, {"cniVersion": "1.0.0", "name": "n"}, 7, "invalid network configuration: 'podCIDR'"),
        (who, {"cniVersion": "1.0.0", "name": "n", "podCIDR": "10.1.0.0/30"}, 7, "network 10.1.0.0/30 is too small"),
    ):
        exit_code, said = answer(environment, config)
        assert (exit_code, said["code"]) == (1, code)
        assert said["msg"].startswith(message)


def test_a_conflist_is_what_the_executable_takes(tmp_path: Path) -> None:
    made = json.loads(command.conflist({"podCIDR": "10.1.0.0/24", "stateDir": str(tmp_path)}))
    plugin = {**made["plugins"][0], "name": made["name"], "cniVersion": made["cniVersion"]}
    assert command.settings(plugin).state == tmp_path / "sampan"
