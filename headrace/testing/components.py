"""What holds for every component, whatever its kind."""

from __future__ import annotations

import asyncio
import re
import tempfile
import threading
import time
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ValidationError

from headrace.testing.batches import make_settings
from headrace.testing.hosts import make_host, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from headrace.pipeline.component import Component, Factory, Settings
    from headrace.pipeline.host import Host

_NAME = re.compile(r"[a-z][0-9a-z_]{0,62}")
_STABILITIES = {"alpha", "beta", "stable"}


class FactoryContract:
    """What holds for the factory and the settings of a component.

    Attributes:
        factory: The component's.
        config: Settings as a user writes them, where the defaults are not enough.
    """

    factory: ClassVar[Factory[Any]]
    config: ClassVar[dict[str, Any]] = {}

    def configuration(self) -> dict[str, Any]:
        """Return the settings; override it where they depend on the test."""
        return dict(self.config)

    def make(self) -> Any:
        """Return a new component."""
        raise NotImplementedError

    def test_the_name_can_be_written_in_a_file(self) -> None:
        """Names and aliases are types as configuration files have them."""
        names = [self.factory.name, *self.factory.aliases]
        assert all(_NAME.fullmatch(name) for name in names), names
        assert len(names) == len(set(names))
        assert self.factory.stability in _STABILITIES

    def test_every_setting_is_documented(self) -> None:
        """By the string under its field, which is what users read."""
        assert list(undocumented(self.factory.config)) == []

    def test_an_unknown_setting_is_refused(self) -> None:
        """A misspelt setting keeps the daemon from starting."""
        try:
            self.factory.config.model_validate({**self.configuration(), "no_such_setting": 1})
        except ValidationError as error:
            places = [one["loc"] for one in error.errors()]
        else:
            places = []
        assert ("no_such_setting",) in places

    def test_making_it_does_nothing(self) -> None:
        """The constructor opens nothing, starts nothing and needs no event loop."""
        self.make()  # What is imported late opens files.
        before = _open_files(), threading.active_count()
        made = self.make()
        assert (_open_files(), threading.active_count()) == before, "the constructor does I/O"
        del made


class ComponentContract(FactoryContract):
    """Base of the contracts of components that start and stop.

    Attributes:
        kind: Section of the configuration; set by the contract of the kind.
        directory: An empty directory of each test.
        host: Of each test; `running` starts what listens there.
        settings: Of each test; what the component is made with.
    """

    kind: ClassVar[str] = ""

    directory: Path
    host: Host
    settings: Settings

    def setup_method(self) -> None:
        """Make a directory and a host for a test."""
        self._temporary = tempfile.TemporaryDirectory(prefix="headrace-contract-")
        self.directory = Path(self._temporary.name)
        self.renew()

    def teardown_method(self) -> None:
        """Remove the directory."""
        self._temporary.cleanup()

    def renew(self) -> None:
        """Make a new host, as a new start of the daemon does."""
        self.host = make_host()
        self.settings = make_settings(
            self.factory.name,
            kind=self.kind,
            counters=self.host.counters,
            clock_ns=time.time_ns,
            monotonic_s=time.monotonic,
        )

    def make(self) -> Any:
        """Return a new component."""
        return self.create(self.factory.config.model_validate(self.configuration()))

    def create(self, config: Any) -> Any:
        """Return a new component with a validated configuration."""
        raise NotImplementedError

    def test_shutdown_without_start_and_twice(self) -> None:
        """It may be called at any time."""

        async def stop() -> None:
            component: Component = self.make()
            await component.shutdown()
            await component.shutdown()

        asyncio.run(stop())

    def test_nothing_is_left_running(self) -> None:
        """After `shutdown` no task of the component is alive, and another instance can take its place."""

        async def live() -> set[str]:
            before = asyncio.all_tasks()
            component: Component = self.make()
            async with running(component, self.host):
                await asyncio.sleep(0)
            await component.shutdown()
            return {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}

        for _ in range(2):
            assert asyncio.run(live()) == set()
            self.renew()


def undocumented(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the settings of `model`, and of those inside it, that have no description."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        if not field.description:
            yield key
        for inner in _models(field.annotation):
            if inner is not model:
                yield from undocumented(inner, f"{key}.")


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
