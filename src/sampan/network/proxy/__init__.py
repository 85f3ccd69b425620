"""The service proxy of a node: what is sent to a Service's address arrives at one of its endpoints.

model       a Service and its EndpointSlices, as ports with endpoints
frontends   ... as elements of maps
table       the rules that look them up, and the program for nftables
ruleset     what is in the kernel, and the transactions that change it
flows       UDP flows that the change contradicts
proxy       informers, the loop
health      healthz, metrics, health checks of load balancers
balancers   gives Services of type LoadBalancer an address
routes      to the pods of other nodes
"""
