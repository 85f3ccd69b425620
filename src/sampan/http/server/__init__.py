"""The receiving half of HTTP/1.1: for the API server, the kubelet and the runtime's streams.

listener = `Server`; messages = what an application gets and gives; protocol = one connection; websocket = WebSockets.
"""
