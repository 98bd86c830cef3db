"""Set a label that says who owns a metric, by the first pattern that its name fits."""

import re
from typing import Self

from pydantic import model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.identity import Series


class OwnersConfig(ComponentConfig):
    """Settings of the ``owners`` processor."""

    owners: dict[str, str]
    """Owners by pattern; a pattern is a regular expression that a whole name has to fit. The first one that does
    decides."""

    label: str = "owner"
    """Label that is set. A series that has it already keeps it."""

    default: str = ""
    """Owner of what fits no pattern; without one, such series get no label."""

    drop_unowned: bool = False
    """Drop what fits no pattern instead."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for pattern in self.owners:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"owners: {pattern!r} is no regular expression: {error}") from None
        if self.drop_unowned and self.default:
            raise ValueError("default has no meaning with drop_unowned")
        return self


class Owners:
    """Knows the patterns."""

    def __init__(self, settings: Settings, config: OwnersConfig) -> None:
        self._config = config
        self._owners = [(re.compile(pattern), owner) for pattern, owner in config.owners.items()]

    def admit(self, series: Series) -> Series | None:
        """Return the series with its owner; called once for each new series."""
        label = self._config.label
        if any(name == label for name, _ in series.labels):
            return series
        owner = self._owner(series.name)
        if not owner:
            return None if self._config.drop_unowned else series
        return series.set(**{label: owner})

    def _owner(self, name: str) -> str:
        found = (owner for pattern, owner in self._owners if pattern.fullmatch(name))
        return next(found, self._config.default)


FACTORY = ProcessorFactory(name="owners", config=OwnersConfig, create=Owners)
