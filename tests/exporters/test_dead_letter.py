"""The exporter ``dead_letter`` keeps its contract; the files are tested with the storage."""

from __future__ import annotations

from typing import Any

from headrace.exporters.dead_letter import FACTORY
from headrace.pipeline.series import SeriesTable
from headrace.pipeline.storage.letters import CLOSED, letters_in
from headrace.testing.exporters import ExporterContract


class TestDeadLetter(ExporterContract):
    """Into files that are read again."""

    factory = FACTORY

    def configuration(self) -> dict[str, Any]:
        return {"directory": str(self.directory / "letters")}

    def arrived(self) -> int:
        paths = sorted((self.directory / "letters").glob(f"*{CLOSED}"))
        damaged: list[int] = []
        letters = [one for path in paths for one in letters_in(path, lambda _: SeriesTable(), _noted(damaged))]
        assert not damaged
        return sum(len(letter.batch) for letter in letters)


def _noted(damaged: list[int]) -> Any:
    return lambda points, _why: damaged.append(points)
