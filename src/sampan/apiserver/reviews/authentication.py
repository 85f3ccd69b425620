"""Who: `SelfSubjectReview` and `TokenReview`.

Source: kubernetes/pkg/registry/authentication/*/rest.go
"""

from __future__ import annotations

from sampan.api import errors
from sampan.api.kind import Obj
from sampan.apiserver.call import Call


def self_subject(call: Call, review: Obj) -> Obj:
    review["metadata"] = {**review.get("metadata", {}), "creationTimestamp": call.context().now}
    return {"userInfo": call.user.info}


def token(call: Call, review: Obj) -> Obj:
    if not review.get("spec", {}).get("token"):
        raise errors.bad_request("token is required for TokenReview in authentication")
    return {"user": {}, "error": "[invalid bearer token]"}
