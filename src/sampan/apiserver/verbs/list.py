"""GET of many: pages of cached bytes, joined.

A list without a revision is as new as any acknowledged write. A page after the first (`continue`), and
`resourceVersionMatch=Exact`, show the store as it was at one revision: from the cache while nothing has changed since,
else from the store's history, which reaches back to the last compaction (410 before that).

Source: k8s.io/apiserver/pkg/storage/etcd3/store.go (GetList), pkg/storage/continue.go
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sampan.api import errors
from sampan.apiserver import replies
from sampan.apiserver.cache import Record
from sampan.apiserver.call import Call
from sampan.apiserver.options import ListOptions, continue_token, list_options, read_continue
from sampan.apiserver.views import View, view_for
from sampan.http.server.messages import Response
from sampan.store.contract import Compacted, FutureRevision, prefix_end

EXPIRED_TOKEN = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


def list_(call: Call) -> Response | Awaitable[Response]:
    options = list_options(call.query, call.kind.field_labels(), call.kind.names.kind)
    start, revision = "", 0
    if options.continue_:
        if options.resource_version not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        revision, start = read_continue(options.continue_)
    elif options.match == "Exact":
        revision = options.revision
    if revision > 0:
        return _at(call, options, revision, start)
    waits = call.api.freshness(options.resource_version)
    if waits is not None or call.kind.remote:
        return _later(call, options, start, waits)
    return current(call, options, start)


async def _later(call: Call, options: ListOptions, start: str, waits: Awaitable[None] | None) -> Response:
    if waits is not None:
        await waits
    if call.kind.remote:
        found, revision = list(select(call, options, start)), call.api.cache.revision
        await call.kind.fetch(found[: options.limit or None])
        return await _settled(page(call, options, found, revision))
    return await _settled(current(call, options, start))


async def _settled(result: Response | Awaitable[Response]) -> Response:
    return result if isinstance(result, Response) else await result


def matcher(options: ListOptions) -> Callable[[Record], bool] | None:
    """The selectors as one test of a record, or None when everything matches."""
    labels, fields = options.labels, options.fields
    if labels and fields:
        return lambda record: labels.matches(record.labels) and fields.matches(record.field)
    if labels:
        return lambda record: labels.matches(record.labels)
    if fields:
        return lambda record: fields.matches(record.field)
    return None


def select(call: Call, options: ListOptions, start: str = "") -> Iterable[Record]:
    """Current records in key order that match; one asked for by name is looked up directly."""
    cache, namespace = call.resource.cache, call.info.namespace
    name = call.info.name or options.fields.exact("metadata.name")
    test = matcher(options)
    if name and (namespace or not call.kind.names.namespaced):
        record = cache.get(f"{namespace}/{name}" if namespace else name)
        found: Iterable[Record] = (record,) if record is not None and record.key >= start else ()
    else:
        found = cache.list(namespace, start)
    return found if test is None else (record for record in found if test(record))


def current(call: Call, options: ListOptions, start: str) -> Response | Awaitable[Response]:
    """From the cache, at the revision it has."""
    return page(call, options, select(call, options, start), call.api.cache.revision)


def page(call: Call, options: ListOptions, found: Iterable[Record], revision: int) -> Response | Awaitable[Response]:
    """At most `limit` records, and where the next page starts."""
    meta: dict[str, Any] = {"resourceVersion": str(revision)}
    records = list(found)
    if options.limit and len(records) > options.limit:
        rest = len(records) - options.limit
        records = records[: options.limit]
        meta["continue"] = continue_token(revision, records[-1].key + "\0")
        if not options.labels and not options.fields:
            meta["remainingItemCount"] = rest
    view = view_for(call.kind, call.accept, call.query.get("includeObject", ""), call.api.clock)
    return _prepared(call, view, records, meta) if view.slow(records) else _shown(call, view, records, meta)


async def _prepared(call: Call, view: View, records: list[Record], meta: dict[str, Any]) -> Response:
    await call.api.workers.run(view.prepare, records, user=call.user.name)
    return _shown(call, view, records, meta)


def _shown(call: Call, view: View, records: list[Record], meta: dict[str, Any]) -> Response:
    pretty = replies.wants_pretty(call.request, call.query)
    return replies.reply(view.list(records, meta), media=call.accept.media, warnings=call.warnings, pretty=pretty)


async def _at(call: Call, options: ListOptions, revision: int, start: str) -> Response:
    cache = call.resource.cache
    if not await call.api.cache.reach(revision):
        raise errors.resource_version_too_large(revision, call.api.cache.revision)
    if cache.last <= revision and cache.horizon <= revision and not call.kind.remote:
        return await _settled(page(call, options, select(call, options, start), revision))
    prefix = cache.prefix + (call.info.namespace + "/" if call.info.namespace else "")
    first = max((cache.prefix + start).encode(), prefix.encode())
    try:
        result = await call.api.store.range(first, prefix_end(prefix.encode()), revision=revision)
    except Compacted:
        raise _expired(call, options, start) from None
    except FutureRevision:
        raise errors.resource_version_too_large(revision, call.api.cache.revision) from None
    records: Iterable[Record] = (call.resource.record(kv) for kv in result.kvs)
    test = matcher(options)
    chosen = list(records if test is None else filter(test, records))
    if call.kind.remote:
        await call.kind.fetch(chosen[: options.limit or None])
    return await _settled(page(call, options, chosen, revision))


def _expired(call: Call, options: ListOptions, start: str) -> errors.StatusError:
    if not options.continue_:
        return errors.expired("The resourceVersion for the provided list is too old.")
    token = continue_token(-1, start)
    return errors.StatusError(410, "Expired", EXPIRED_TOKEN, None, (), {"continue": token})
