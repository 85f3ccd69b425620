"""PUT: the object whole, or one of its subresources that has the same kind (`status`)."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.verbs.create import written
from sampan.apiserver.write import Produced, change
from sampan.http.server.messages import Response


async def update(call: Call) -> Response:
    """200, or 201 where the kind may be created by PUT."""
    options = write_options(call.query, "UpdateOptions")
    obj = await read_object(call, options.validation, stored=call.resource.cache.get(call.key))
    check_name(call, obj)

    def produce(old: Obj | None) -> Produced:
        return Produced(obj)

    sub = call.info.subresource
    allowed = call.kind.create_on_update and not sub
    result = await change(call, call.key, produce, options, subresource=sub, create_missing=allowed)
    return written(call, result)


def check_name(call: Call, obj: Obj) -> None:
    """The body names the object that the URL does. Raises 400."""
    meta = obj["metadata"]
    name, namespace = meta.get("name", ""), meta.get("namespace", "")
    if not name:
        meta["name"] = call.info.name
    elif name != call.info.name:
        raise errors.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.info.name})"
        )
    if namespace and call.kind.names.namespaced and namespace != call.info.namespace:
        raise errors.bad_request(
            f"the namespace of the object ({namespace}) does not match the namespace on the URL ({call.info.namespace})"
        )
