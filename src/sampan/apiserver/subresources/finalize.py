"""`namespaces/finalize`: the namespace controller says that it has done its part.

Source: kubernetes/pkg/registry/core/namespace/strategy.go (namespaceFinalizeStrategy)
"""

from __future__ import annotations

from sampan.api.kind import Obj
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.verbs.create import written
from sampan.apiserver.verbs.update import check_name
from sampan.apiserver.write import Produced, change
from sampan.http.server.messages import Response


async def serve(call: Call) -> Response:
    """200 with the namespace; without any finalizer left a terminating one is gone."""
    from sampan.api.core_v1.namespace import label

    options = write_options(call.query, "UpdateOptions")
    sent = await read_object(call, options.validation)
    check_name(call, sent)
    label(sent)

    def produce(old: Obj | None) -> Produced:
        assert old is not None
        return Produced({**sent, "status": old.get("status", {})})

    return written(call, await change(call, call.key, produce, options, subresource="finalize"))
