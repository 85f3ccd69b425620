"""The one way components talk to the API.

    Client               calls, by resource name or `Resource`; plain dicts in and out
    HttpsTransport       ... over sockets, from a `Config` (`load`, `from_kubeconfig`, `in_cluster`);
                         in process: `sampan.testing.inprocess.InProcessTransport`
    Informers, Informer  a shared mirror of a resource: handlers, `cache` with indexes
    Controller           workers that take keys from a `WorkQueue` and call `reconcile(key)`
    Discovery            what a server serves, custom kinds too
    Expectations         what a controller did and has not seen yet
    EventRecorder        core/v1 events; `SeriesRecorder` those of events.k8s.io
    LeaderElector        one of many runs, by a Lease

Failures are `StatusError` (the server refused) or `HttpError` (no answer came); `errors.is_not_found` and its like tell
them apart. Wall time comes from a `Clock`, durations from the event loop, chance from a `random.Random` given in.
Objects from a cache or in a handler are shared: never change them.
"""

from __future__ import annotations

from sampan.api.errors import StatusError
from sampan.client import errors
from sampan.client.backoff import Backoff, Bucket, Exponential, Longest, RateLimiter, controller_limiter
from sampan.client.cache import (
    NAMESPACE,
    NODE,
    OWNER,
    Cache,
    CacheMutated,
    Indexer,
    Record,
    by_node,
    by_owner,
    key_of,
    split_key,
)
from sampan.client.client import Client
from sampan.client.config import Config, ConfigError, from_kubeconfig, in_cluster, load
from sampan.client.controller import Controller
from sampan.client.discovery import Discovered, Discovery
from sampan.client.events import EventRecorder
from sampan.client.expectations import Expectations
from sampan.client.https import HttpsTransport
from sampan.client.informer import Handler, Informer
from sampan.client.informers import Informers
from sampan.client.leader import LeaderElector, LeadershipLost
from sampan.client.queue import QueueFull, QueueShutDown, WorkQueue
from sampan.client.recorder import Clock, reference
from sampan.client.resources import Resource, UnknownResource, of_kind, of_object, resource
from sampan.client.retry import retry_on_conflict
from sampan.client.series import SeriesRecorder
from sampan.client.transport import Stream, Transport
from sampan.client.watch import Event, Watch
from sampan.http import HttpError

__all__ = [
    "NAMESPACE",
    "NODE",
    "OWNER",
    "Backoff",
    "Bucket",
    "Cache",
    "CacheMutated",
    "Client",
    "Clock",
    "Config",
    "ConfigError",
    "Controller",
    "Discovered",
    "Discovery",
    "Event",
    "EventRecorder",
    "Expectations",
    "Exponential",
    "Handler",
    "HttpError",
    "HttpsTransport",
    "Indexer",
    "Informer",
    "Informers",
    "LeaderElector",
    "LeadershipLost",
    "Longest",
    "QueueFull",
    "QueueShutDown",
    "RateLimiter",
    "Record",
    "Resource",
    "SeriesRecorder",
    "StatusError",
    "Stream",
    "Transport",
    "UnknownResource",
    "Watch",
    "WorkQueue",
    "by_node",
    "by_owner",
    "controller_limiter",
    "errors",
    "from_kubeconfig",
    "in_cluster",
    "key_of",
    "load",
    "of_kind",
    "of_object",
    "reference",
    "resource",
    "retry_on_conflict",
    "split_key",
]
