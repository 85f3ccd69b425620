"""legacy-serviceaccount-token-cleaner-controller: tokens that were once made for every ServiceAccount, and that nobody has used
for a year, no longer hold, and a year after that their Secrets go.

Those are the Secrets that a ServiceAccount names; what a user made by hand stays. Since when uses are noted stands in a
ConfigMap of the API server's, which writes of each Secret when its token was last used.

Source: kubernetes/pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Iterator
from typing import Any

from sampan.api.core_v1.secret import INVALID_SINCE, LAST_USED, SINCE, TOKEN, TRACKING
from sampan.api.times import parse_time
from sampan.client import NAMESPACE, HttpError, StatusError
from sampan.client.errors import is_conflict, is_not_found
from sampan.controllers.context import Context

Obj = dict[str, Any]
log = logging.getLogger("sampan.controller")
SYNC_SECONDS = 86_400.0
DAY = datetime.timedelta(days=1)
ACCOUNT, UID = "kubernetes.io/service-account.name", "kubernetes.io/service-account.uid"
#: keys under which a pod names a Secret
_NAMING = ("imagePullSecrets", "nodePublishSecretRef", "secret", "secretKeyRef", "secretRef")


class LegacyTokens:
    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.period = datetime.timedelta(seconds=context.options.legacy_service_account_token_clean_up_period)
        self.client = context.clients("legacy-service-account-token-cleaner")
        self.secrets = context.informers.get("secrets", field_selector=f"type={TOKEN}")
        self.accounts = context.informers.get("serviceaccounts")
        self.pods = context.informers.get("pods")

    async def run(self) -> None:
        for informer in (self.secrets, self.accounts, self.pods):
            await informer.wait_synced()
        while True:
            try:
                await self._look()
            except (StatusError, HttpError) as error:
                log.error("legacy service account tokens: %s", error)
            await asyncio.sleep(SYNC_SECONDS)

    async def _look(self) -> None:
        """Raises StatusError, HttpError."""
        now = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC)
        tracking = await self.client.get("configmaps", TRACKING, "kube-system")
        since = _date((tracking.get("data") or {}).get(SINCE, ""))
        if since is None or now.date() < since + DAY + self.period:
            return
        oldest = now - self.period
        for secret in self.secrets.cache.list():
            if self._is_unused(secret, oldest):
                try:
                    await self._clean(secret, now.date(), oldest.date())
                except StatusError as error:
                    if not (is_conflict(error) or is_not_found(error)):
                        raise

    async def _clean(self, secret: Obj, today: datetime.date, oldest: datetime.date) -> None:
        meta = secret["metadata"]
        invalid = _date((meta.get("labels") or {}).get(INVALID_SINCE, ""))
        if invalid is None:
            body = {"metadata": {"uid": meta["uid"], "labels": {INVALID_SINCE: today.isoformat()}}}
            await self.client.patch("secrets", meta["name"], body, meta["namespace"], type="merge")
        elif invalid < oldest:
            version = meta["resourceVersion"]
            await self.client.delete("secrets", meta["name"], meta["namespace"], resource_version=version)

    def _is_unused(self, secret: Obj, oldest: datetime.datetime) -> bool:
        """It is old, its token was not used of late, a ServiceAccount names it and no pod does."""
        meta = secret["metadata"]
        if parse_time(meta["creationTimestamp"]) >= oldest.timestamp() or "deletionTimestamp" in meta:
            return False
        used = (meta.get("labels") or {}).get(LAST_USED)
        if used is not None:
            day = _date(used)
            if day is None or day >= oldest.date():
                return False
        notes = meta.get("annotations") or {}
        account = self.accounts.cache.get(notes.get(ACCOUNT, ""), meta["namespace"])
        if account is None or notes.get(UID, account["metadata"]["uid"]) != account["metadata"]["uid"]:
            return False
        if not any(item.get("name") == meta["name"] for item in account.get("secrets") or ()):
            return False
        pods = self.pods.cache.by_index(NAMESPACE, meta["namespace"])
        return not any(meta["name"] in set(_named(pod["spec"])) for pod in pods)


def _named(value: Any, key: str = "") -> Iterator[str]:
    """The Secrets that some part of a pod's spec names."""
    if isinstance(value, list):
        for item in value:
            yield from _named(item, key)
    elif isinstance(value, dict):
        if key in _NAMING and "name" in value:
            yield value["name"]
        for name, item in value.items():
            if name == "secretName":
                yield item
            else:
                yield from _named(item, name)


def _date(text: str) -> datetime.date | None:
    try:
        return datetime.date.fromisoformat(text) if len(text) == len("2026-01-01") else None
    except ValueError:
        return None
