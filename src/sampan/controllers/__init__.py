"""The loops that make actual state follow desired state: one file per controller, all of one shape.

A controller is built from a `Context` and runs until it is cancelled. It takes keys, reads the world from the informers'
caches, acts through the API, and says what it did in events. `manager.py` lists them all and runs them.
"""
