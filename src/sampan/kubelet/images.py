"""Images for containers: there already, pulled, or why not.

What could not be pulled is let be for a while, longer each time; `ImagePullBackOff` says so, and what the error was.

Source: kubernetes pkg/kubelet/images/{image_manager,puller,types}.go, pkg/util/parsers/parsers.go
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sampan.client import Bucket
from sampan.cri import pb
from sampan.kubelet.backoff import Backoffs
from sampan.kubelet.cri import Cri, CriFailed

Obj = dict[str, Any]
Tell = Callable[[str, str, str], None]
#: credentials to try for an image, in order; None: without any
Credentials = Callable[[Obj, str], Awaitable[list[Any]]]
_NAME = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?P<tag>:\w[\w.-]{0,127})?(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


class ImageFailed(Exception):
    """`reason` is the container's state: ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName, ImageInspectError, ..."""

    def __init__(self, reason: str, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.wait = wait


@dataclass(frozen=True, slots=True)
class Image:
    """`ref` is its id, by which containers name it; `uid` and `username` are those of its configuration."""

    ref: str
    uid: int | None
    username: str


def tagged(image: str) -> str:
    """With the tag that is meant. Raises ValueError."""
    match = _NAME.fullmatch(image)
    if match is None:
        upper = re.fullmatch(r"[^:@]*[A-Z][^:@]*(?:[:@].*)?", image) and not re.search(r"[\s]", image)
        why = (
            "repository name must be lowercase"
            if upper and _NAME.fullmatch(image.lower())
            else "invalid reference format"
        )
        raise ValueError(f'couldn\'t parse image name "{image}": {why}')
    return image if match["tag"] or match["digest"] else f"{image}:latest"


class Images:
    def __init__(
        self, cri: Cri, backoffs: Backoffs, *, clock: Callable[[], float], credentials: Credentials | None = None,
        parallel: int = 5, allowed: Bucket | None = None,
    ) -> None:  # fmt: skip
        """`allowed`: how many pulls a second."""
        self._cri = cri
        self._backoffs = backoffs
        self._clock = clock
        self._credentials = credentials
        self._slots = asyncio.Semaphore(parallel)
        self._allowed = allowed
        self._errors: dict[tuple[str, str], str] = {}

    async def status(self, image: str) -> Any | None:
        """CRI's Image. Raises CriFailed."""
        reply = await self._cri.ImageStatus(image=pb.ImageSpec(image=image, user_specified_image=image))
        return reply.image if reply.HasField("image") and reply.image.id else None

    async def ensure(self, pod: Obj, container: Obj, tell: Tell, sandbox_config: Any = None) -> Image:
        """Raises ImageFailed."""
        given = container.get("image", "")
        try:
            image = tagged(given)
        except ValueError as error:
            message = f'Failed to apply default image tag "{given}": {error}'
            tell("Warning", "InspectFailed", message)
            raise ImageFailed("InvalidImageName", message) from None
        try:
            found = await self.status(image)
        except CriFailed as error:
            message = f'Failed to inspect image "{given}": {_rpc(error)}'
            tell("Warning", "InspectFailed", message)
            raise ImageFailed("ImageInspectError", message) from None
        policy = container.get("imagePullPolicy", "IfNotPresent")
        if found is not None and policy != "Always":
            tell(
                "Normal",
                "Pulled",
                f'Container image "{given}" already present on machine and can be accessed by the pod',
            )
            return _image(found)
        if policy == "Never":
            message = f'Container image "{given}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ImageFailed("ErrImageNeverPull", message)
        return await self._pull(pod, given, image, tell, sandbox_config)

    async def _pull(self, pod: Obj, given: str, image: str, tell: Tell, sandbox_config: Any) -> Image:
        key = (pod["metadata"]["uid"], given)
        if (left := self._backoffs.left_since_update(key)) > 0:
            message = f'Back-off pulling image "{given}"'
            tell("Normal", "BackOff", message)
            if before := self._errors.get(key):
                message = f"{message}: {before}"
            raise ImageFailed("ImagePullBackOff", message, left)
        tell("Normal", "Pulling", f'Pulling image "{given}"')
        asked = self._clock()
        async with self._slots:
            began = self._clock()
            try:
                ref = await self._try(pod, image, sandbox_config)
                found = await self.status(image) or await self.status(ref)
                if found is None:
                    raise CriFailed("NOT_FOUND", f'image "{given}" is not there after it was pulled')
            except CriFailed as error:
                self._backoffs.next(key, self._clock())
                reason, message = _reason(given, error)
                tell("Warning", "Failed", f'Failed to pull image "{given}": {_rpc(error)}')
                self._errors[key] = f"{reason}: {message}"
                raise ImageFailed(reason, message, self._backoffs.left_since_update(key)) from None
        done = self._clock()
        self._errors.pop(key, None)
        took, waited = _go(done - began), _go(done - asked)
        size = found.size
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{given}" in {took} ({waited} including waiting). Image size: {size} bytes.',
        )
        return _image(found)

    async def _try(self, pod: Obj, image: str, sandbox_config: Any) -> str:
        """With each of the credentials, until one is good. Raises CriFailed."""
        if self._allowed is not None and not self._allowed.try_take():
            raise CriFailed("", "pull QPS exceeded")
        tries = (await self._credentials(pod, image) if self._credentials else []) or [None]
        spec = pb.ImageSpec(image=image, annotations=pod["metadata"].get("annotations") or {})
        errors: list[CriFailed] = []
        for auth in tries:
            try:
                return str((await self._cri.PullImage(image=spec, auth=auth, sandbox_config=sandbox_config)).image_ref)
            except CriFailed as error:
                errors.append(error)
        if len(errors) > 1:
            raise CriFailed(errors[-1].code, "[" + ", ".join(_rpc(each) for each in errors) + "]")
        raise errors[0]

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        for key in [key for key in self._errors if key[0] == uid]:
            del self._errors[key]


def _image(found: Any) -> Image:
    """Who is not said to be anybody is root."""
    uid = found.uid.value if found.HasField("uid") else None if found.username else 0
    return Image(found.id, uid, found.username)


def _rpc(error: CriFailed) -> str:
    """As gRPC's own errors read in Go; what the runtime was not asked has no code."""
    if not error.code:
        return error.message
    code = "".join(part.capitalize() for part in error.code.split("_"))
    return f"rpc error: code = {code} desc = {error.message}"


def _reason(image: str, error: CriFailed) -> tuple[str, str]:
    text = error.message
    for name, words in (
        ("RegistryUnavailable", "the registry is unavailable"),
        ("SignatureValidationFailed", "the signature validation failed"),
    ):
        if text.startswith(name):
            return name, f"image pull failed for {image} because {words}{text[len(name) :]}"
    return "ErrImagePull", _rpc(error)


def _go(seconds: float) -> str:
    """Go's duration, to the millisecond."""
    milli = round(seconds * 1000)
    if milli < 1000:
        return f"{milli}ms" if milli else "0s"
    minutes, rest = divmod(milli, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{minutes}m{text}" if minutes else text
