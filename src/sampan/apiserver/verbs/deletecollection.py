"""DELETE of a collection: every object that matches, one after the other; the reply lists them.

Source: k8s.io/apiserver/pkg/registry/generic/registry/store.go (DeleteCollection)
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.apiserver import replies
from sampan.apiserver.cache import Record
from sampan.apiserver.call import Call
from sampan.apiserver.options import META, UNSAFE, list_options
from sampan.apiserver.verbs.delete import asked_options, remove
from sampan.apiserver.verbs.list import select
from sampan.apiserver.views import view_for
from sampan.http.server.messages import Response


async def deletecollection(call: Call) -> Response:
    """200 with the list of what was deleted (or marked). An object that somebody else deletes meanwhile is no error."""
    options = await asked_options(call)
    if options.unsafe:
        problems = ErrorList()
        problems.invalid(
            Path(UNSAFE), True, "is not allowed with DELETECOLLECTION, try again after removing the option"
        )
        raise errors.invalid(META, "DeleteOptions", "", problems)
    selection = list_options(call.query, call.kind.field_labels(), call.kind.names.kind)
    await call.api.fresh()
    done: list[Record] = []
    chosen = list(select(call, selection))
    for found in chosen[: selection.limit or len(chosen)]:
        try:
            record, _ = await remove(call, found.key, options)
        except errors.StatusError as error:
            if error.code != 404:
                raise
            continue
        done.append(record)
    if call.kind.remote:
        await call.kind.fetch(done)
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    body = view.list(done, {"resourceVersion": str(call.api.cache.revision)})
    return replies.reply(body, media=call.accept.media, warnings=call.warnings)
