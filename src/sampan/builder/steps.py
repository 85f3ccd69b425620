"""One stage, instruction by instruction: each changes the image's configuration, or makes a layer.

A step whose beginning, words and files are as they were is not done again.

Source: https://docs.docker.com/reference/dockerfile/; https://docs.docker.com/build/cache/
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import posixpath
import shutil
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.builder import copying
from sampan.builder.copying import Owner, Source
from sampan.builder.dockerfile import REPLACED, Instruction, Mistake, pairs, replaced
from sampan.builder.ignore import Ignore
from sampan.builder.shelf import Shelf
from sampan.cri import pb
from sampan.runtime import cgroups, kernel, spec, users
from sampan.runtime.errors import CriError
from sampan.runtime.manifests import Settings

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: the control group of commands, while there are any
GROUP = "/sampan-build"
RESOLVERS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
Say = Callable[[str], None]


class StepFailed(Exception):
    """A command that ended with another code than 0."""


@dataclass(slots=True)
class Made:
    """What a stage has come to. `key`: of everything that led here; `args`: ARGs in
    reach; `created`: when its last layer was made."""

    config: dict[str, Any]
    layers: list[str]
    history: list[dict[str, Any]]
    key: str
    args: dict[str, str] = field(default_factory=dict)
    created: str = ""
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])

    def variables(self) -> dict[str, str]:
        env = dict(entry.partition("=")[::2] for entry in self.config.get("Env") or ())
        return {**self.args, **env}


@dataclass(slots=True)
class Surroundings:
    """`given`: build arguments of the command line. `other(name)`: the layers of another stage or image."""

    shelf: Shelf
    context: Path
    ignore: Ignore
    given: dict[str, str]
    other: Callable[[str], Awaitable[list[str]]]
    say: Say
    output: Callable[[bytes], None]
    cache: bool
    now: Callable[[], str]
    oci_runtime: str = "runc"


class Steps:
    def __init__(self, around: Surroundings, made: Made, before: dict[str, str]) -> None:
        self._around, self.made, self._before = around, made, before

    async def do(self, given: Instruction) -> None:
        """Raises Mistake, StepFailed, OSError, CriError."""
        made = self.made
        text = given.rest
        if given.name in REPLACED:
            text = replaced(text, made.variables())
            flags = {name: replaced(value, made.variables()) for name, value in given.flags.items()}
            given = Instruction(given.name, text, given.line, flags, given.documents)
        if given.name in ("RUN", "COPY", "ADD"):
            await getattr(self, f"_{given.name.lower()}")(given)
        elif given.name == "WORKDIR":
            await self._workdir(given)
        else:
            getattr(self, f"_{given.name.lower()}")(given)
            self._forward(given.text)
            made.history.append({"created_by": given.text, "empty_layer": True})

    def _forward(self, *words: str) -> None:
        self.made.key = hashlib.sha256("\0".join((self.made.key, *words)).encode()).hexdigest()

    # -- configuration -------------------------------------------------------------------------------------------------

    def _env(self, given: Instruction) -> None:
        env = dict(entry.partition("=")[::2] for entry in self.made.config.get("Env") or ())
        env |= pairs(given.rest, given.line)
        self.made.config["Env"] = [f"{name}={value}" for name, value in env.items()]

    def _label(self, given: Instruction) -> None:
        self.made.config["Labels"] = {**(self.made.config.get("Labels") or {}), **pairs(given.rest, given.line)}

    def _maintainer(self, given: Instruction) -> None:
        self.made.config["Labels"] = {**(self.made.config.get("Labels") or {}), "maintainer": given.rest}

    def _arg(self, given: Instruction) -> None:
        for word in given.words():
            name, equals, value = word.partition("=")
            known = self._around.given.get(name, self._before.get(name))
            if known is not None or equals:
                self.made.args[name] = known if known is not None else value

    def _command(self, given: Instruction) -> list[str]:
        found = given.array()
        return found if found is not None else [*self.made.shell, given.rest]

    def _cmd(self, given: Instruction) -> None:
        self.made.config["Cmd"] = self._command(given)

    def _entrypoint(self, given: Instruction) -> None:
        self.made.config["Entrypoint"] = self._command(given)
        self.made.config.pop("Cmd", None)  # of the base; one of our own comes after

    def _expose(self, given: Instruction) -> None:
        ports = self.made.config.setdefault("ExposedPorts", {})
        for word in given.words():
            number, _, protocol = word.partition("/")
            if not number.replace("-", "").isdigit():
                raise Mistake(f"line {given.line}: invalid containerPort: {word}")
            ports[f"{number}/{(protocol or 'tcp').lower()}"] = {}

    def _volume(self, given: Instruction) -> None:
        self.made.config.setdefault("Volumes", {}).update({word: {} for word in given.words()})

    def _user(self, given: Instruction) -> None:
        self.made.config["User"] = given.rest

    def _stopsignal(self, given: Instruction) -> None:
        self.made.config["StopSignal"] = given.rest

    def _shell(self, given: Instruction) -> None:
        found = given.array()
        if not found:
            raise Mistake(f"line {given.line}: SHELL requires the arguments to be in JSON form")
        self.made.shell = found

    def _healthcheck(self, given: Instruction) -> None:
        """Kubernetes has probes of its own: it is written down, and nothing more."""
        kind, _, rest = given.rest.partition(" ")
        if kind.upper() == "NONE":
            self.made.config["Healthcheck"] = {"Test": ["NONE"]}
            return
        command = Instruction("CMD", rest.strip(), given.line).array()
        self.made.config["Healthcheck"] = {"Test": ["CMD", *command] if command else ["CMD-SHELL", rest.strip()]}

    def _onbuild(self, given: Instruction) -> None:
        self.made.config["OnBuild"] = [*(self.made.config.get("OnBuild") or ()), given.rest]

    # -- layers --------------------------------------------------------------------------------------------------------

    async def _workdir(self, given: Instruction) -> None:
        here = posixpath.normpath(posixpath.join("/", self.made.config.get("WorkingDir") or "/", given.rest))
        self.made.config["WorkingDir"] = here

        async def change(root: Path) -> None:
            copying.make_directory(root, here, Owner())

        await self._layer(given, change)

    async def _copy(self, given: Instruction) -> None:
        await self._put(given, unpack=False)

    async def _add(self, given: Instruction) -> None:
        await self._put(given, unpack=True)

    async def _put(self, given: Instruction, *, unpack: bool) -> None:
        around = self._around
        *wanted, target = given.array() or given.words()
        if not wanted:
            raise Mistake(f"line {given.line}: {given.name} requires at least two arguments")
        directory = target.endswith("/") or target in (".", "./")
        whole = posixpath.normpath(posixpath.join("/", self.made.config.get("WorkingDir") or "/", target))
        whole += "/" if directory and whole != "/" else ""
        work = around.shelf.work()
        none: Callable[[str], bool] = lambda name: False  # noqa: E731
        ignored: Callable[[str], bool] = none
        if "from" in given.flags:
            layers = await around.other(given.flags["from"])
            await kernel.mount_overlay(work, [around.shelf.fs(digest) for digest in layers])
            root = work / "rootfs"
            found = copying.sources(root, wanted, none, given.line)
        else:
            root, ignored = around.context, around.ignore
            found = []
            for number, word in enumerate(wanted):
                found += await self._source(word, number, given, work, unpack)
        try:
            mode = int(given.flags["chmod"], 8) if "chmod" in given.flags else None

            async def change(root: Path) -> None:
                asked = self._user_of(root, given.flags.get("chown", "0:0"))
                owner = Owner(asked.uid, asked.gid, mode)
                copying.put(root, found, whole, owner, ignored, given.line, unpack=unpack)

            await self._layer(given, change, copying.digest(found, ignored))
        finally:
            kernel.unmount(work / "rootfs")

    async def _source(self, word: str, number: int, given: Instruction, work: Path, unpack: bool) -> list[Source]:
        around = self._around
        if word.startswith("<<"):
            name = word.lstrip("<-").strip("\"'")
            text = given.documents[name]
            quoted = '"' in word or "'" in word
            (work / name).write_text(text if quoted else replaced(text, self.made.variables()))
            return [Source(work, name)]
        if unpack and word.startswith(("http://", "https://")):
            name = posixpath.basename(word.partition("?")[0]) or f"download-{number}"
            await asyncio.to_thread(_download, word, work / name)
            return [Source(work, name)]
        return copying.sources(around.context, [word], around.ignore, given.line)

    async def _run(self, given: Instruction) -> None:
        found = given.array()
        if found is not None:
            command = found
        elif given.documents and given.rest.startswith("<<"):
            command = [*self.made.shell, "\n".join(given.documents.values())]
        else:
            command = [*self.made.shell, given.rest]
        args = sorted(f"{name}={value}" for name, value in self.made.args.items())

        async def change(root: Path) -> None:
            await self._execute(root, command, args, given)

        await self._layer(given, change, *args, *given.documents.values())

    async def _layer(self, given: Instruction, change: Callable[[Path], Awaitable[None]], *inputs: str) -> None:
        """What `change` does to the root file system, unless that is known."""
        shelf, made = self._around.shelf, self.made
        self._forward(given.text, *inputs)
        known = shelf.step(made.key) if self._around.cache else None
        if known is None:
            work = shelf.work()
            await kernel.mount_overlay(work, [shelf.fs(digest) for digest in made.layers])
            try:
                await change(work / "rootfs")
            finally:
                kernel.unmount(work / "rootfs")
            digest = shelf.add(work / "upper") if any((work / "upper").iterdir()) else ""
            made.created = self._around.now()
            shelf.remember(made.key, digest, made.created)
        else:
            digest, made.created = known
            self._around.say(" ---> Using cache")
        if digest:
            made.layers.append(digest)
        made.history.append({"created_by": given.text, **({} if digest else {"empty_layer": True})})

    def _user_of(self, root: Path, text: str) -> users.User:
        return users.find(root, pb.LinuxContainerSecurityContext(), text)

    async def _execute(self, root: Path, command: list[str], args: list[str], given: Instruction) -> None:
        around, image = self._around, self.made.config
        work = root.parent
        for name, source in (("resolv.conf", _resolver()), ("hosts", Path("/etc/hosts"))):
            shutil.copyfile(source, work / name)
        env = [PATH] if not any(entry.startswith("PATH=") for entry in image.get("Env") or ()) else []
        settings = Settings((), (), (*env, *(image.get("Env") or ()), *args), image.get("WorkingDir") or "/", "", "")
        wanted = pb.ContainerConfig(command=command)
        shared = {f"/etc/{name}": work / name for name in ("resolv.conf", "hosts")}
        place = spec.Place(root, f"{GROUP}/{work.name}", {"pid": "", "ipc": "", "uts": ""}, shared, "build")
        found = spec.build(wanted, settings, self._user_of(root, image.get("User") or ""), place)
        (work / "config.json").write_text(json.dumps(found))
        state = work / "run"
        child = await asyncio.create_subprocess_exec(
            around.oci_runtime, "--root", str(state), "run", "--bundle", str(work), work.name,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert child.stdout is not None
        try:
            while data := await child.stdout.read(65536):
                around.output(data)
            code = await child.wait()
        except BaseException:
            killer = await asyncio.create_subprocess_exec(
                around.oci_runtime, "--root", str(state), "delete", "--force", work.name,
                stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await killer.wait()
            raise
        finally:
            await asyncio.to_thread(cgroups.remove, GROUP)
        if code:
            shown = " ".join(command)
            raise StepFailed(f"line {given.line}: the command {shown!r} returned a non-zero code: {code}")


def _resolver() -> Path:
    return next(path for path in RESOLVERS if path.exists())


def _download(url: str, target: Path) -> None:
    with urllib.request.urlopen(url, timeout=60) as reply, target.open("wb") as file:
        shutil.copyfileobj(reply, file)
    os.chmod(target, 0o600)


__all__ = ["CriError", "Made", "Say", "StepFailed", "Steps", "Surroundings"]
