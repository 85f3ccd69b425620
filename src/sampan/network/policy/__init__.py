"""NetworkPolicy on nftables: who may reach a pod of this node, and whom it may reach.

facts      what counts of a pod
rules      from policies and pods to chains and sets
policies   informers, the loop
"""
