"""Pod networking, the service proxy and the cluster's DNS.

netlink, conntrack, nft, namespaces    the kernel, as far as it is needed here
cni                                    pods: in process for our runtime, an executable for containerd
nodes, ranges, host_rules, firewalls, resolver   nodes on one machine, and what the host has of them
proxy, policy                          Services and NetworkPolicies, in each node
dns                                    the cluster's DNS server
"""
