"""CRI messages: the wire format by hand-made bytes, and what the services offer."""

from __future__ import annotations

from sampan.cri import SERVICES, pb


def test_scalars_messages_and_enums_have_upstreams_numbers() -> None:
    mapping = pb.PortMapping(protocol=pb.UDP, container_port=53, host_ip="::")
    assert mapping.SerializeToString() == b"\x08\x01\x10\x35\x22\x02::"
    status = pb.ContainerStatus(id="c", state=pb.CONTAINER_EXITED, exit_code=137)
    assert status.SerializeToString() == b"\x0a\x01c\x18\x02\x38\x89\x01"
    assert (pb.SIGRTMAX, pb.CGROUPFS, pb.Localhost, pb.TARGET) == (65, 1, 2, 3)


def test_maps_and_repeated() -> None:
    config = pb.PodSandboxConfig(labels={"a": "b"}, port_mappings=[pb.PortMapping(host_port=1)])
    assert config.SerializeToString() == b"\x2a\x02\x18\x01\x32\x06\x0a\x01a\x12\x01b"
    assert dict(pb.PodSandboxConfig.FromString(config.SerializeToString()).labels) == {"a": "b"}


def test_windows_fields_are_skipped() -> None:
    assert pb.ContainerStats.FromString(b"\x0a\x03\x0a\x01c\x9a\x01\x02hi").attributes.id == "c"


def test_absent_wrapper_differs_from_zero() -> None:
    context = pb.LinuxContainerSecurityContext.FromString(b"\x2a\x00")
    assert context.HasField("run_as_user") and context.run_as_user.value == 0
    assert not context.HasField("run_as_group")


def test_services() -> None:
    runtime = SERVICES["runtime.v1.RuntimeService"]
    assert len(runtime) == 35
    events = runtime["GetContainerEvents"]
    assert (events.request, events.response, events.streams) == (pb.GetEventsRequest, pb.ContainerEventResponse, True)
    assert set(SERVICES["runtime.v1.ImageService"]) == {
        "ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo", "StreamImages"
    }  # fmt: skip
