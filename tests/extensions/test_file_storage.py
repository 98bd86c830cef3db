"""The extensions of the sending queue keep their contract; what they keep is tested with the queue."""

from __future__ import annotations

from typing import Any

from headrace.extensions.dead_letter import FACTORY as LETTERS
from headrace.extensions.file_storage import FACTORY as STORAGE
from headrace.pipeline.sending import LetterBox
from headrace.pipeline.storage import QueueStorage
from headrace.testing.extensions import ExtensionContract


class TestFileStorage(ExtensionContract):
    """In a directory that it makes."""

    factory = STORAGE
    fulfils = (QueueStorage,)

    def configuration(self) -> dict[str, Any]:
        return {"directory": str(self.directory / "queues")}


class TestDeadLetter(ExtensionContract):
    """In a directory that it makes."""

    factory = LETTERS
    fulfils = (LetterBox,)

    def configuration(self) -> dict[str, Any]:
        return {"directory": str(self.directory / "letters")}
