"""The one way objects change: read, produce, prepare, admit, validate, compare-and-swap.

Every verb that writes says how the new object comes from the old one (`Produce`) and leaves the rest to `create` and
`change`. A lost compare-and-swap runs all of it again against what won, until the request's time is up, unless the client
named the revision it builds on: then it is told of the conflict.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Create, Update), pkg/registry/rest/{create,update}.go
"""

from __future__ import annotations

from sampan.apiserver.write.asking import admit, attributes
from sampan.apiserver.write.change import change
from sampan.apiserver.write.new import create
from sampan.apiserver.write.parts import Finish, Produce, Produced, View, Written
from sampan.apiserver.write.stored import served, stored, transact

__all__ = [
    "Finish", "Produce", "Produced", "View", "Written", "admit", "attributes", "change", "create", "served", "stored",
    "transact",
]  # fmt: skip
