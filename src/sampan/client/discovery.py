"""What a server serves: for those who work on kinds that nobody knew when they were written.

    discovery = Discovery(client)
    for found in await discovery.all(): ...              # every version of every resource
    widgets = await discovery.of_kind("example.com/v1", "Widget")

Asks by aggregated discovery (two requests), or group by group where the server has none. What was learnt is kept; a
kind that is not known is asked after again, at most every ten seconds.

Source: client-go/discovery/{discovery_client,aggregated_discovery}.go, client-go/restmapper/discovery.go
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import orjson

from sampan.api.errors import StatusError
from sampan.client.backoff import loop_time
from sampan.client.client import Client
from sampan.client.resources import Resource
from sampan.http import ProtocolError

log = logging.getLogger("sampan.client")
ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Discovered:
    """`preferred`: this is the version of its group that the server would rather be asked for."""

    resource: Resource
    verbs: tuple[str, ...]
    subresources: tuple[str, ...] = ()
    preferred: bool = True


class Discovery:
    def __init__(self, client: Client) -> None:
        self.client = client
        self._found: tuple[Discovered, ...] | None = None
        self._asked = 0.0

    async def all(self, *, fresh: bool = False) -> tuple[Discovered, ...]:
        """Raises StatusError, HttpError; groups whose own server is away are left out."""
        if self._found is None or fresh:
            self._found = tuple(await self._ask())
            self._asked = loop_time()
        return self._found

    async def preferred(self, *, fresh: bool = False) -> tuple[Discovered, ...]:
        """Each resource once."""
        return tuple(found for found in await self.all(fresh=fresh) if found.preferred)

    async def of_kind(self, api_version: str, kind: str) -> Resource | None:
        for fresh in (False, True):
            if fresh and loop_time() - self._asked < RETRY_SECONDS:
                break
            for found in await self.all(fresh=fresh):
                if found.resource.kind == kind and found.resource.api_version == api_version:
                    return found.resource
        return None

    async def _ask(self) -> list[Discovered]:
        out: list[Discovered] = []
        for path in ("/api", "/apis"):
            document = await self._get(path, ACCEPT)
            if document.get("kind") == "APIGroupDiscoveryList":
                out.extend(_aggregated(document))
            elif path == "/api":
                for version in document.get("versions") or ():
                    out.extend(await self._version("", version, version == document["versions"][0]))
            else:
                for group in document.get("groups") or ():
                    preferred = (group.get("preferredVersion") or {}).get("version")
                    for served in group["versions"]:
                        version = served["version"]
                        out.extend(await self._version(group["name"], version, version == preferred))
        return out

    async def _version(self, group: str, version: str, preferred: bool) -> list[Discovered]:
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            document = await self._get(root, "application/json")
        except StatusError as error:
            log.warning("couldn't get resource list for %s: %s", root, error)
            return []
        listed = document.get("resources") or ()
        subs: dict[str, list[str]] = {}
        for item in listed:
            name, _, sub = item["name"].partition("/")
            if sub:
                subs.setdefault(name, []).append(sub)
        return [
            Discovered(
                Resource(group, version, item["name"], item["kind"], item["namespaced"]),
                tuple(item.get("verbs") or ()),
                tuple(subs.get(item["name"], ())),
                preferred,
            )
            for item in listed
            if "/" not in item["name"]
        ]

    async def _get(self, path: str, accept: str) -> dict[str, Any]:
        body = await self.client.raw("GET", path, accept=accept)
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ProtocolError(f"{path}: {error}") from None
        return document if isinstance(document, dict) else {}


def _aggregated(document: dict[str, Any]) -> list[Discovered]:
    out: list[Discovered] = []
    for group in document.get("items") or ():
        name = (group.get("metadata") or {}).get("name", "")
        for position, served in enumerate(group.get("versions") or ()):
            if served.get("freshness") == "Stale":
                log.warning("stale GroupVersion discovery: %s/%s", name, served["version"])
            for item in served.get("resources") or ():
                answer = item.get("responseKind") or {}
                namespaced = item.get("scope") == "Namespaced"
                subs = tuple(sub["subresource"] for sub in item.get("subresources") or ())
                found = Resource(name, served["version"], item["resource"], answer.get("kind", ""), namespaced)
                out.append(Discovered(found, tuple(item.get("verbs") or ()), subs, position == 0))
    return out
