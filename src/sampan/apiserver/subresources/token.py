"""`serviceaccounts/token`: a token for a ServiceAccount, for as long and for whom the request says.

Source: kubernetes/pkg/registry/core/serviceaccount/storage/token.go; pkg/apis/authentication/validation
"""

from __future__ import annotations

import orjson

from sampan.api import errors
from sampan.api.field import ErrorList, Path
from sampan.api.kind import Obj
from sampan.api.times import format_time
from sampan.apiserver import replies
from sampan.apiserver.admission.chain import Attributes
from sampan.apiserver.body import read_as
from sampan.apiserver.call import Call
from sampan.apiserver.options import write_options
from sampan.http.server.messages import Response

GVK = ("authentication.k8s.io", "v1", "TokenRequest")
DEFAULT_SECONDS, LEAST_SECONDS, MOST_SECONDS = 3600, 600, 1 << 32
SPEC = Path("spec")


async def serve(call: Call) -> Response:
    """201 with the TokenRequest and its token. Raises 400, 404, 409, 422."""
    options = write_options(call.query, "CreateOptions")
    struct = call.api.registry.struct(*GVK)
    assert struct is not None
    request = await read_as(call, struct, GVK, options.validation)
    if request["spec"].get("expirationSeconds") is None:
        request["spec"]["expirationSeconds"] = DEFAULT_SECONDS
    info = call.info
    asked = Attributes(
        call, "CREATE", GVK, "token", info.namespace, info.name, request, None, options.wire, options.dry_run
    )
    await call.api.admission.mutate(asked)
    assert asked.obj is not None
    request = asked.obj
    await call.api.fresh()
    account = _account(call, request)
    _complete(call, request, account)
    problems = _validate(request)
    if problems:
        raise errors.invalid(GVK[0], GVK[2], "", problems)
    await call.api.admission.validate(asked)
    _issue(call, request, account)
    shown = {name: request[name] for name in ("kind", "apiVersion", "metadata", "spec", "status")}
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(orjson.dumps(shown), code=201, media=call.accept.media, warnings=call.warnings, pretty=pretty)


def _account(call: Call, request: Obj) -> Obj:
    """The ServiceAccount, where the body does not speak of another one."""
    meta, info = request["metadata"], call.info
    for field, found, what in (("name", info.name, "name"), ("namespace", info.namespace, "namespace")):
        if meta.get(field) and meta[field] != found:
            problems = ErrorList()
            problems.invalid(
                Path("metadata", field), meta[field], f"must match the service account {what} if specified"
            )
            raise errors.invalid(GVK[0], GVK[2], info.name, problems)
    account = _get(call, "serviceaccounts", info.namespace, info.name)
    uid = account["metadata"]["uid"]
    if meta.get("uid") and meta["uid"] != uid:
        why = f"the UID in the token request ({meta['uid']}) does not match the UID of the service account ({uid})"
        raise errors.conflict(GVK[0], GVK[2], info.name, why)
    return account


def _complete(call: Call, request: Obj, account: Obj) -> None:
    meta = request["metadata"]
    meta.update({name: account["metadata"][name] for name in ("name", "namespace", "uid")})
    meta["creationTimestamp"] = format_time(call.api.clock())
    if not request["spec"].get("audiences"):
        assert call.api.identity is not None
        request["spec"]["audiences"] = list(call.api.identity.issuer.audiences)
    request["status"] = {"token": "", "expirationTimestamp": None}


def _validate(request: Obj) -> ErrorList:
    out, spec = ErrorList(), request["spec"]
    seconds = spec["expirationSeconds"]
    if seconds < LEAST_SECONDS:
        out.invalid(SPEC / "expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds > MOST_SECONDS:
        out.invalid(SPEC / "expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    # DEVIATION: upstream's alpha feature binds tokens to webhook configurations, and attests things of them
    if spec.get("attestations"):
        out.invalid(SPEC / "attestations", "", "attestations may not be specified without a bound object reference")
    return out


def _issue(call: Call, request: Obj, account: Obj) -> None:
    identity = call.api.identity
    assert identity is not None
    spec, issuer, now = request["spec"], identity.issuer, call.api.clock()
    bound = _bound(call, spec.get("boundObjectRef"))
    seconds = spec["expirationSeconds"]
    if 0 < issuer.max_seconds < seconds:
        call.warnings.append(f"requested expiration of {seconds} seconds shortened to {issuer.max_seconds} seconds")
        seconds = spec["expirationSeconds"] = issuer.max_seconds
    token = issuer.bound(
        account,
        now=now,
        seconds=seconds,
        audiences=spec["audiences"],
        pod=bound.get("Pod"),
        secret=bound.get("Secret"),
        node=bound.get("Node"),
    )
    request["status"] = {"token": token, "expirationTimestamp": format_time(now + seconds)}


def _bound(call: Call, reference: Obj | None) -> dict[str, Obj]:
    """What the token is bound to, by kind; of a pod its node as well."""
    if reference is None:
        return {}
    kind, name, uid = (reference.get(field, "") for field in ("kind", "name", "uid"))
    group, _, version = reference.get("apiVersion", "").rpartition("/")
    if group or kind not in ("Pod", "Secret", "Node"):
        shown = f"{group}/{version}, Kind={kind}"
        raise errors.bad_request(f"cannot bind token to object of type {shown}")
    obj = _get(call, kind.lower() + "s", "" if kind == "Node" else call.info.namespace, name)
    out = {kind: obj}
    if kind == "Pod":
        if obj["spec"].get("serviceAccountName", "") != call.info.name:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount "{call.info.name}" to pod running with different serviceaccount name.'
            )
        on = obj["spec"].get("nodeName")
        if on:
            node = call.api.cached("", "nodes").get(on)
            out["Node"] = node.obj() if node is not None else {"metadata": {"name": on}}
    if uid and uid != obj["metadata"]["uid"]:
        why = f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        raise errors.conflict(group, kind, name, why)
    return out


def _get(call: Call, resource: str, namespace: str, name: str) -> Obj:
    record = call.api.cached("", resource).get(f"{namespace}/{name}" if namespace else name)
    if record is None:
        raise errors.not_found("", resource, name)
    return record.obj()
