"""Who: `SelfSubjectReview` and `TokenReview`.

Source: kubernetes/pkg/registry/authentication/*/rest.go
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver.authentication.bearer import Refused, Verified
from sampan.apiserver.call import Call


def self_subject(call: Call, review: Obj) -> Obj:
    review["metadata"] = {**review.get("metadata", {}), "creationTimestamp": call.context().now}
    return {"userInfo": call.user.info}


async def token(call: Call, review: Obj) -> Obj:
    """For the audiences asked for, or the API server's."""
    spec, identity = review.get("spec", {}), call.api.identity
    assert identity is not None
    # a token ends at the first space, as it does in a header
    given = spec.get("token", "").strip().split(" ")[0]
    if not spec.get("token"):
        raise errors.bad_request("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or identity.tokens.audiences)
    outcome = identity.tokens.ask(given, audiences) if given else Refused()
    if not isinstance(outcome, Verified | Refused):
        outcome = await outcome
    if isinstance(outcome, Refused):
        return {"user": {}, "error": str(outcome)}
    return {"authenticated": True, "user": outcome.user.info, "audiences": list(outcome.audiences or ())}
