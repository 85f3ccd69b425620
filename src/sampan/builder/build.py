"""One build from beginning to end: a directory and its Dockerfile become an image on the shelf.

    image = await Builder(shelf, bases, say=print, output=write).build(context, text, ignore=Ignore(""), tags=["web:v1"])

`bases` finds images that are not on the shelf; scratch, stages and what was built before are known here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan.builder.dockerfile import Instruction, Mistake, Stage, parse, replaced
from sampan.builder.ignore import Ignore
from sampan.builder.shelf import Image, Shelf
from sampan.builder.steps import Made, Say, Steps, Surroundings
from sampan.runtime import names
from sampan.runtime.errors import Invalid
from sampan.runtime.manifests import architecture

#: puts an image on the shelf under its whole name. Raises CriError.
Bases = Callable[[str], Awaitable[Image]]


class Builder:
    def __init__(
        self, shelf: Shelf, bases: Bases, *, say: Say, output: Callable[[bytes], None], clock: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        self._shelf, self._bases, self._say, self._output, self._clock = shelf, bases, say, output, clock

    async def build(
        self, context: Path, text: str, *, ignore: Ignore, tags: Sequence[str] = (), args: Mapping[str, str] | None = None,
        target: str = "", cache: bool = True,
    ) -> Image:  # fmt: skip
        """`text`: the Dockerfile. Raises Mistake, StepFailed, CriError, OSError."""
        whole = [named(tag) for tag in tags]
        before, stages = parse(text)
        given = dict(args or {})
        known = _before(before, given)
        stages = _up_to(stages, target)
        done: dict[str, Made] = {}
        total = sum(1 + len(stage.instructions) for stage in stages)
        number = 0

        async def other(name: str) -> list[str]:
            found = done.get(name.lower())
            return found.layers if found is not None else (await self._base(name)).layers

        around = Surroundings(self._shelf, context, ignore, given, other, self._say, self._output, cache, self._now)
        made = Made({}, [], [], "")
        for index, stage in enumerate(stages):
            number += 1
            base = replaced(stage.base, known)
            self._say(f"Step {number}/{total} : FROM {base}{f' AS {stage.name}' if stage.name else ''}")
            made = await self._begin(base, done)
            steps = Steps(around, made, known)
            later = [_later(text, stage) for text in made.config.pop("OnBuild", None) or ()]
            for each in (*later, *stage.instructions):
                number += each not in later
                self._say(f"Step {number}/{total} : {each.text}")
                await steps.do(each)
            done[str(index)] = made
            if stage.name:
                done[stage.name] = made
        unused = sorted(set(given) - {word.partition("=")[0] for word in _declared(before, stages)})
        if unused:
            self._say(f"[Warning] One or more build-args {unused} were not consumed")
        image = Image(self._document(made))
        for name in whole:
            self._shelf.name(name, image)
        return image

    async def _begin(self, base: str, done: Mapping[str, Made]) -> Made:
        if base == "scratch":
            return Made({}, [], [], "scratch")
        found = done.get(base.lower())
        if found is not None:
            return Made(
                json.loads(json.dumps(found.config)),
                list(found.layers),
                list(found.history),
                found.key,
                created=found.created,
            )
        image = await self._base(base)
        key = hashlib.sha256(json.dumps(image.config, sort_keys=True).encode()).hexdigest()
        config = json.loads(json.dumps(image.config.get("config") or {}))
        return Made(
            config,
            list(image.layers),
            list(image.config.get("history") or ()),
            key,
            created=str(image.config.get("created") or ""),
        )

    async def _base(self, name: str) -> Image:
        whole = named(name)
        found = self._shelf.image(whole)
        if found is None:
            found = await self._bases(whole)
            self._shelf.name(whole, found)
        return found

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _document(self, made: Made) -> dict[str, Any]:
        # the same steps make the same image, whenever
        created = made.created or self._now()
        config = {name: value for name, value in made.config.items() if value not in (None, {}, [])}
        history = [{"created": created, **entry} for entry in made.history]
        rootfs = {"type": "layers", "diff_ids": made.layers}
        about = {"architecture": architecture(), "os": "linux", "created": created}
        return {**about, "config": config, "rootfs": rootfs, "history": history}


def named(text: str) -> str:
    """A whole name. Raises Mistake."""
    try:
        return str(names.parse(text))
    except Invalid as error:
        raise Mistake(f"invalid name of an image {text!r}: {error}") from None


def _before(instructions: Sequence[Instruction], given: Mapping[str, str]) -> dict[str, str]:
    """What FROM may use, and ARG without a value in a stage."""
    known = {"TARGETARCH": architecture(), "TARGETOS": "linux", "TARGETPLATFORM": f"linux/{architecture()}"}
    known |= {"BUILDPLATFORM": known["TARGETPLATFORM"]}
    for each in instructions:
        for word in each.words():
            name, equals, value = word.partition("=")
            if name in given or equals:
                known[name] = given.get(name, replaced(value, known))
    return known


def _up_to(stages: list[Stage], target: str) -> list[Stage]:
    if not target:
        return stages
    index = next((i for i, stage in enumerate(stages) if target.lower() in (stage.name, str(i))), None)
    if index is None:
        raise Mistake(f"target stage {target!r} could not be found")
    return stages[: index + 1]


def _declared(before: Sequence[Instruction], stages: Sequence[Stage]) -> list[str]:
    every = [*before, *(each for stage in stages for each in stage.instructions)]
    return [word for each in every if each.name == "ARG" for word in each.words()]


def _later(text: str, stage: Stage) -> Instruction:
    """An ONBUILD trigger of the base."""
    _, (found,) = parse(f"FROM scratch\n{text}")
    return found.instructions[0]
