"""A reader of container files, and an executor that runs their steps in a plain folder instead of an image."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLACES = ("/opt/", "/src", "/etc/headrace", "/var/lib/headrace", "/var/cache/headrace", "/run/secrets")
"""Absolute paths of the image that are put below the folder."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction.

    Attributes:
        name: Such as ``RUN``.
        flags: Such as ``--from=build``.
        text: The rest, continued lines joined.
        line: Where it begins.
    """

    name: str
    flags: tuple[str, ...]
    text: str
    line: int

    @property
    def words(self) -> list[str]:
        """The text as a list: of JSON, or by blanks."""
        return list(json.loads(self.text)) if self.text.startswith("[") else self.text.split()


def instructions(path: Path) -> Iterator[Instruction]:
    """Yield the instructions of a file."""
    pending, begun = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("#") or (not line.strip() and not pending):
            continue
        begun = begun if pending else number
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1].rstrip() + " "
            continue
        name, _, rest = pending.partition(" ")
        flags = re.match(r"(?:--[a-z-]+=\S+\s+)*", rest)
        found = flags[0] if flags else ""
        yield Instruction(name, tuple(found.split()), rest[len(found) :].strip(), begun)
        pending = ""


@dataclass
class Steps:
    """Runs instructions.

    Attributes:
        checkout: What is copied from.
        root: Folder that stands for the root of all stages.
        environment: Variables that the file sets.
        command: What the image runs: entry point and arguments.
        health: How it is asked how it is.
        ran: Commands that were run.
    """

    checkout: Path
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)
    _folder: str = "/"

    def run(self, found: Iterator[Instruction], more: dict[str, str]) -> None:
        """Run all instructions, with more variables, which win."""
        for one in found:
            getattr(self, f"_{one.name.lower()}", lambda _one: None)(one)
            if one.name == "RUN":
                self.ran.append(one.text)
                env = {**os.environ, **self.environment, **more}
                env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
                subprocess.run(["sh", "-ec", self.here(one.text)], cwd=self.here(self._folder), env=env, check=True)

    def here(self, text: str) -> str:
        """Put the absolute paths in a text below the folder."""
        places = "|".join(map(re.escape, _PLACES))
        return re.sub(rf"(?<![\w./-])({places})", rf"{self.root}\1", text)

    def _env(self, one: Instruction) -> None:
        for pair in one.text.split():
            name, _, value = pair.partition("=")
            self.environment[name] = self.here(value)

    def _workdir(self, one: Instruction) -> None:
        self._folder = one.text
        Path(self.here(one.text)).mkdir(parents=True, exist_ok=True)

    def _copy(self, one: Instruction) -> None:
        if any(flag.startswith("--from=") for flag in one.flags):
            return  # the stages share the folder
        *sources, target = one.words
        into = Path(self.here(target if target.startswith("/") else f"{self._folder}/{target}"))
        for source in sources:
            origin = self.checkout / source
            if origin.is_dir():
                shutil.copytree(origin, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place = into / origin.name if target.endswith("/") or into.is_dir() else into
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, place)

    def _entrypoint(self, one: Instruction) -> None:
        self.command = [self.here(word) for word in one.words]

    def _cmd(self, one: Instruction) -> None:
        self.command += [self.here(word) for word in one.words]

    def _healthcheck(self, one: Instruction) -> None:
        self.health = [self.here(word) for word in json.loads(one.text.removeprefix("CMD "))]
