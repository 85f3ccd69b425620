"""The cluster's DNS server: CoreDNS's Corefile, Kubernetes' names.

wire, names         messages and domain names, as the rest knows them
corefile, setup     from a Corefile to what it says
plugins             one directive each, in a chain; `kubernetes` is the cluster's own zone
mirror, zone        Services, endpoints and namespaces, and what they answer
server, listener    from a datagram or a stream to an answer; answers given once are given again as they are
instance            a Corefile in service: start, reload, stop
"""
