"""Simulated nodes: everything of a node but the containers. Lives of pods are data (`pod.yaml`)."""

from sampan.hollow.nodes import HollowNodes

__all__ = ["HollowNodes"]
