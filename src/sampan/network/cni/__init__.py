"""Pods on the network: the in-process plugin of our runtime, and `sampan cni` for containerd.

attachment   a pod's link: /32 address, routed veth
addresses    which pod has which address, on disk
hostports    a port of the node that leads to a pod, and the way out
pods         all of it, as ADD, DEL, CHECK and GC
command      the standard's executable
"""
