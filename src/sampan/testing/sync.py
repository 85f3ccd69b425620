"""The test cluster for code without async: it runs in a thread of its own and has an endpoint for any client.

    with sampan.testing.SyncCluster(nodes=3) as cluster:
        core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(cluster.kubeconfig)))
        cluster.advance(hours=1)

Time flows as the thread's does, and jumps in `advance`. Functions that are waited for are called by the thread that waits,
so that they may ask the cluster.
"""

from __future__ import annotations

import asyncio
import builtins
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

from sampan.api.user import User
from sampan.client import Client
from sampan.testing.cluster import Cluster, Obj, Snapshot
from sampan.testing.conditions import Condition, holds
from sampan.testing.loop import VirtualLoop

T = TypeVar("T")


class SyncCluster:
    """Takes what `Cluster` takes (`https` is on unless told); `inner` is that."""

    def __init__(self, nodes: int | Iterable[str] = 0, **more: Any) -> None:
        self.inner = Cluster(nodes, **{"https": True, **more})
        self._loop: VirtualLoop | None = None
        self._ready = threading.Event()
        self._ended: asyncio.Event
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sampan cluster", daemon=True)

    def __enter__(self) -> SyncCluster:
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: VirtualLoop(time.time(), flowing=True)) as runner:
                runner.run(self._live())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._ended = asyncio.Event()
        async with self.inner:
            self._loop = loop
            self._ready.set()
            await self._ended.wait()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None or not self._thread.is_alive():
            work.close()
            said = "has not begun: `with SyncCluster() as cluster:`" if self._loop is None else "has ended"
            raise RuntimeError(f"the cluster {said}")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    # -- as `Cluster` has them -----------------------------------------------------------------------------------------

    @property
    def kubeconfig(self) -> Path:
        return self.inner.kubeconfig

    @property
    def revision(self) -> int:
        return self.inner.revision

    def clock(self) -> float:
        return self.inner.clock()

    def advance(self, seconds: float = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        self._do(self.inner.advance(seconds, minutes=minutes, hours=hours, days=days))

    @property
    def client(self) -> SyncClient:
        """The administrator's."""
        return SyncClient(self.inner.client, self._do)

    def as_user(self, user: User | str, agent: str = "sampan-testing") -> SyncClient:
        return SyncClient(self.inner.as_user(user, agent), self._do)

    def apply(self, source: str | Path | Obj | builtins.list[Obj], namespace: str = "default") -> builtins.list[Obj]:
        return self._do(self.inner.apply(source, namespace))

    def delete(self, what: str, namespace: str = "default") -> None:
        self._do(self.inner.delete(what, namespace))

    def get(self, what: str, namespace: str = "default") -> Obj | None:
        async def get() -> Obj | None:
            return self.inner.get(what, namespace)

        return self._do(get())

    def list(self, what: str, namespace: str = "") -> builtins.list[Obj]:
        async def found() -> builtins.list[Obj]:
            return self.inner.list(what, namespace)

        return self._do(found())

    def wait_for(
        self,
        what: str | Callable[[], Any],
        condition: Condition = "exists",
        namespace: str = "default",
        *,
        timeout: float | None = None,
    ) -> Any:
        if not callable(what) and not callable(condition):
            return self._do(self.inner.wait_for(what, condition, namespace, timeout=timeout))
        timeout = self.inner.patience if timeout is None else timeout
        until = self.clock() + timeout
        while True:
            seen = self.inner.changes
            obj = None if callable(what) else self.get(what, namespace)
            last = what() if callable(what) else obj
            if last if callable(what) else holds(condition, obj):
                return last
            if not self._changes(seen, until - self.clock()):
                raise self._late(what, condition, namespace, timeout, last)

    def _late(self, *told: Any) -> TimeoutError:
        async def late() -> TimeoutError:
            return self.inner.late(*told)

        return self._do(late())

    def _changes(self, seen: int, seconds: float) -> bool:
        """Whether something is stored, after `seen` changes, while there is time."""
        if seconds <= 0:
            return False
        try:
            return bool(self._do(self.inner.wait_for(lambda: self.inner.changes != seen, timeout=seconds)))
        except TimeoutError:
            return False

    def snapshot(self, revision: int = 0) -> Snapshot:
        return self._do(self.inner.snapshot(revision))

    def fork(self, snapshot: Snapshot) -> SyncCluster:
        """Another cluster, in a thread of its own: `with cluster.fork(cluster.snapshot()) as other`."""
        other = SyncCluster()
        other.inner = self.inner.fork(snapshot)
        return other

    def rewind(self, to: int | Snapshot) -> None:
        self._do(self.inner.rewind(to))


class SyncClient:
    """What `sampan.client.Client` does, and each call returns when it is done. Watches are for async code, or for any other
    client by the `kubeconfig`."""

    def __init__(self, inner: Client, do: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._inner = inner
        self._do = do

    def __getattr__(self, name: str) -> Any:
        if name in ("watch", "pages"):
            raise AttributeError(f"{name} is for async code: here `items` gives all there is of a kind")
        found = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *arguments, **named: self._do(found(*arguments, **named))
