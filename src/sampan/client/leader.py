"""One of many leads: whoever holds the Lease, for as long as it renews it.

    elector = LeaderElector(client, "kube-system", "kube-scheduler", identity=f"{host}_{uuid}", clock=clock)
    await elector.run(scheduler.run)

Only what is seen to change counts: a lease that stayed the same for its whole duration, by our own loop's time, is free,
whatever times stand in it. Who cannot renew within the deadline stops leading before another may begin. This does not
fence: what was sent before may still arrive.

Source: client-go/tools/leaderelection/{leaderelection,resourcelock/leaselock}.go
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.api.errors import StatusError
from sampan.api.times import format_micro_time
from sampan.client.client import Client
from sampan.client.errors import is_not_found
from sampan.client.events import EventRecorder
from sampan.http import HttpError

log = logging.getLogger("sampan.client")
Obj = dict[str, Any]
JITTER = 1.2
#: how long who leads may go on after its lease has run out, until that is told
TOLERATED_SECONDS = 20.0


class LeadershipLost(Exception):
    """The lease could not be renewed in time; what was led has been stopped."""


class LeaderElector:
    """`observed`: the holder last seen. Raises ValueError for durations that cannot work."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        identity: str,
        clock: Callable[[], float],
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        release_on_cancel: bool = True,
        recorder: EventRecorder | None = None,
        on_new_leader: Callable[[str], None] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if lease_duration <= renew_deadline:
            raise ValueError("leaseDuration must be greater than renewDeadline")
        if renew_deadline <= JITTER * retry_period:
            raise ValueError("renewDeadline must be greater than retryPeriod*JitterFactor")
        if retry_period <= 0:
            raise ValueError("retryPeriod must be greater than zero")
        if not identity:
            raise ValueError("Lock identity is empty")
        self.client = client
        self.namespace, self.name = namespace, name
        self.identity = identity
        self.clock = clock
        self.lease_duration, self.renew_deadline, self.retry_period = lease_duration, renew_deadline, retry_period
        self.release_on_cancel = release_on_cancel
        self.recorder = recorder
        self.on_new_leader = on_new_leader
        self.rng = rng or random.Random()
        self._lease: Obj | None = None
        self._seen_at = 0.0
        self._reported = ""

    @property
    def observed(self) -> str:
        return _holder(self._lease)

    @property
    def is_leader(self) -> bool:
        return self.observed == self.identity

    def problem(self) -> str:
        """Why it is not well: it leads, and has not renewed its lease for long. Empty: it is well."""
        since = asyncio.get_running_loop().time() - self._seen_at
        late = self.is_leader and since > self.lease_duration + TOLERATED_SECONDS
        return f"failed election to renew leadership on lease {self.name}" if late else ""

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then `lead`, which is cancelled when the lease is lost (LeadershipLost) or we are. What
        `lead` raises or returns ends it too, and gives the lease back."""
        log.info("attempting to acquire leader lease %s/%s...", self.namespace, self.name)
        while True:
            if await self._try():
                break
            await asyncio.sleep(self.retry_period * (1 + self.rng.random() * JITTER))
        log.info("successfully acquired lease %s/%s", self.namespace, self.name)
        self._record("became leader")
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # what is led must have stopped before the lease is given up
            for task in (leading, renewing):
                task.cancel()
            await asyncio.gather(leading, renewing, return_exceptions=True)
            self._record("stopped leading")
            if self.release_on_cancel:
                await self._release()
        if not leading.cancelled():
            leading.result()
            return
        raise LeadershipLost(f"failed to renew lease {self.namespace}/{self.name}: context deadline exceeded")

    async def _renew(self) -> None:
        """Returns when it could not be renewed within the deadline."""
        while True:
            try:
                async with asyncio.timeout(self.renew_deadline):
                    while True:
                        if await self._try():
                            break
                        await asyncio.sleep(self.retry_period)
            except TimeoutError:
                log.error("failed to renew lease %s/%s: context deadline exceeded", self.namespace, self.name)
                return
            await asyncio.sleep(self.retry_period)

    async def _try(self) -> bool:
        """Take the lease or renew it."""
        try:
            return await self._acquire()
        except (StatusError, HttpError) as error:
            log.error("failed to acquire or renew lease %s/%s: %s", self.namespace, self.name, error)
            return False
        finally:
            if self.observed != self._reported:
                self._reported = self.observed
                if self.on_new_leader is not None:
                    self.on_new_leader(self._reported)

    async def _acquire(self) -> bool:
        if self.is_leader and self._valid():
            try:
                await self._update(self._spec(self._lease))
                return True
            except StatusError as error:
                log.debug("failed to update lease optimistically: %s, falling back to slow path", error)
        try:
            lease = await self.client.get("leases.coordination.k8s.io", self.name, self.namespace)
        except StatusError as error:
            if not is_not_found(error):
                raise
            meta = {"name": self.name, "namespace": self.namespace}
            body = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": meta, "spec": self._spec(None)}
            self._see(await self.client.create("leases.coordination.k8s.io", body))
            return True
        if self._lease is None or lease.get("spec") != self._lease.get("spec"):
            self._see(lease)
        else:
            self._lease = lease
        if _holder(lease) and self._valid() and not self.is_leader:
            return False
        await self._update(self._spec(lease))
        return True

    def _spec(self, lease: Obj | None) -> Obj:
        """The lease as ours, from now on."""
        now = format_micro_time(self.clock())
        old: Obj = (lease or {}).get("spec") or {}
        mine = bool(old) and old.get("holderIdentity") == self.identity
        transitions = old.get("leaseTransitions") or 0
        return {
            **{name: value for name, value in old.items() if name in ("strategy", "preferredHolder")},
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(int(self.lease_duration), 1),
            "acquireTime": old.get("acquireTime") or now if mine else now,
            "renewTime": now,
            "leaseTransitions": transitions if mine or not old else transitions + 1,
        }

    async def _update(self, spec: Obj) -> None:
        assert self._lease is not None
        self._see(await self.client.update("leases.coordination.k8s.io", {**self._lease, "spec": spec}))

    async def _release(self) -> None:
        if not self.is_leader or self._lease is None:
            return
        now = format_micro_time(self.clock())
        old = self._lease["spec"]
        spec = {
            "holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": now, "renewTime": now,
            "leaseTransitions": old.get("leaseTransitions", 0),
        }  # fmt: skip
        try:
            async with asyncio.timeout(self.retry_period):
                await self._update(spec)
        except (StatusError, HttpError, TimeoutError) as error:
            log.error("failed to release lock: %s", error)

    def _see(self, lease: Obj) -> None:
        self._lease = lease
        self._seen_at = asyncio.get_running_loop().time()

    def _valid(self) -> bool:
        """Nobody else may take it yet."""
        seconds = float(((self._lease or {}).get("spec") or {}).get("leaseDurationSeconds") or 0)
        return self._seen_at + seconds > asyncio.get_running_loop().time()

    def _record(self, what: str) -> None:
        if self.recorder is not None and self._lease is not None:
            self.recorder.event(self._lease, "Normal", "LeaderElection", f"{self.identity} {what}")


def _holder(lease: Obj | None) -> str:
    return ((lease or {}).get("spec") or {}).get("holderIdentity") or ""
