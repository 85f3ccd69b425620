"""Kinds that are questions: created, answered, and stored nowhere.

`SelfSubjectReview` (who am I) and `TokenReview` (whose token is this) in `authentication.py`; the `SubjectAccessReview`
family (may they) and `SelfSubjectRulesReview` (what may I) in `authorization.py`.

Source: kubernetes/pkg/registry/{authentication,authorization}/*/rest.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson

from sampan.api.kind import Obj
from sampan.apiserver import replies
from sampan.apiserver.body import read_object
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.apiserver.reviews import authentication, authorization
from sampan.apiserver.views import TableView
from sampan.http.server.messages import Response

#: the status of a review; what is asked may wait
Answer = Callable[[Call, Obj], Obj | Awaitable[Obj]]


async def answer(call: Call) -> Response:
    """201 with the review and its status."""
    options = write_options(call.query, "CreateOptions")
    review = await read_object(call, options.validation)
    status = ANSWERS[call.kind.names.kind](call, review)
    review["status"] = status if isinstance(status, dict) else await status
    body = orjson.dumps(review)
    if call.accept.view == "Table":
        view = TableView(call.kind, call.accept.version, "None", call.api.clock)
        body = b"".join(view.table([view.render(review, call.api.clock())], {}))
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(body, code=201, media=call.accept.media, warnings=call.warnings, pretty=pretty)


ANSWERS: dict[str, Answer] = {
    "SelfSubjectReview": authentication.self_subject,
    "TokenReview": authentication.token,
    "SelfSubjectAccessReview": authorization.self_access,
    "SubjectAccessReview": authorization.subject_access,
    "LocalSubjectAccessReview": authorization.local_access,
    "SelfSubjectRulesReview": authorization.rules,
}
