"""Read the files that the exporter ``file`` writes, and whatever else holds OTLP requests, as they grow.

A request counts as read once it is delivered: one that is refused is offered again. Where reading stopped is kept in
memory only, so that a daemon that starts again begins as `OtlpJsonFileConfig.start_at` says.
"""

from __future__ import annotations

import asyncio
import glob
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from headrace.pipeline.batch import DEFAULT_WORKSPACE, BatchContext
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput, Refused
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_json import to_protobuf
from headrace.receivers.otlp_json_file_reader import RequestFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.pipeline.host import Host

_LINES = "files are read request by request"
_REFUSED = {
    "storage": "where reading stopped is kept in memory only",
    "delete_after_read": "files are never deleted",
    "max_concurrent_files": "files are read one after the other",
    "fingerprint_size": "files are told apart by device and inode",
    "max_log_size": "requests have a fixed limit of 64 MiB",
    "encoding": "OTLP is UTF-8",
    "compression": "for files of the exporter file set zstd: true",
    **dict.fromkeys(("multiline", "header", "ordering_criteria", "max_batches", "polls_to_archive"), _LINES),
    **dict.fromkeys(("include_file_name", "include_file_path"), "points have no room for the name of a file"),
    **dict.fromkeys(("include_file_name_resolved", "include_file_path_resolved"), "points have no room for it"),
}


class OtlpJsonFileConfig(ComponentConfig):
    """Settings of the ``otlp_json_file`` receiver."""

    include: Annotated[tuple[str, ...], Field(min_length=1)]
    """Files to read, as patterns with ``*``, ``?``, ``[…]`` and ``**``."""

    exclude: tuple[str, ...] = ()
    """Files to leave out of those."""

    start_at: Literal["beginning", "end"] = "end"
    """Where to begin with files that are there at start; those that come later are read from their beginning."""

    poll_interval: PositiveDuration = timedelta(milliseconds=200)
    """How often to look for more."""

    replay_file: bool = False
    """Read each file from its beginning, again and again."""

    format: Literal["json", "proto"] = "json"
    """``json`` for a request in each line, ``proto`` for protobuf behind lengths, as the exporter writes them."""

    zstd: bool = False
    """Whether requests are compressed, as the exporter does with ``compression: zstd``."""

    workspace: str = DEFAULT_WORKSPACE
    """Workspace that is written to."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _REFUSED)


class OtlpJsonFileReceiver:
    """Reads files."""

    def __init__(self, settings: Settings, config: OtlpJsonFileConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._sink = sink
        self._files: dict[tuple[int, int], RequestFile] = {}
        self._decoder: OtlpDecoder | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: Host) -> None:
        """Begin to read."""
        self._decoder = OtlpDecoder(host.workspaces.table(self._config.workspace))
        await asyncio.to_thread(self._look, self._config.start_at == "end" and not self._config.replay_file)
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.id} reader")

    async def shutdown(self) -> None:
        """Stop reading; what is under way is offered again by the next reader."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            await self.poll()
            await asyncio.sleep(self._config.poll_interval.total_seconds())

    async def poll(self) -> None:
        """Read what is new in all files."""
        await asyncio.to_thread(self._look, False)
        for file in list(self._files.values()):
            await self._read(file)
            if self._config.replay_file:
                file.position = 0

    def _look(self, at_end: bool) -> None:  # noqa: FBT001 -- it runs on a thread
        """Find files that are new, and forget those that are gone."""
        excluded, paths = _matching(self._config.exclude), _matching(self._config.include)
        found: dict[tuple[int, int], RequestFile] = {}
        for path in sorted(paths - excluded):
            try:
                stat = Path(path).stat()
            except OSError:
                continue
            if not Path(path).is_file():
                continue
            key = (stat.st_dev, stat.st_ino)
            known = self._files.get(key)
            if known is None:
                position = stat.st_size if at_end else 0
                known = RequestFile(
                    Path(path), position, framed=self._config.format == "proto", compressed=self._config.zstd
                )
            known.path = Path(path)  # it may have been put aside under another name
            found[key] = known
        self._files = found

    async def _read(self, file: RequestFile) -> None:
        while True:
            try:
                found = await asyncio.to_thread(file.next)
            except FileNotFoundError:
                return
            except (OSError, InvalidInput) as error:
                file.fault = str(error)
                self._settings.drops.add("corrupt_file", 1, str(file.path))
                self._settings.logger.error("cannot read %s any further: %s", file.path, error)  # noqa: TRY400
                return
            if found is None:
                return
            data, position = found
            if data.strip():
                await self._deliver(data, file)
            file.position = position

    async def _deliver(self, data: bytes, file: RequestFile) -> None:
        """Send a request on, again and again as long as it is refused."""
        if self._decoder is None:
            raise AssertionError("bug: a file is read before start")
        try:
            request = await asyncio.to_thread(to_protobuf, data) if self._config.format == "json" else data
            walk = await asyncio.to_thread(self._decoder.walk, request)
            for _ in self._decoder.identify(walk):
                await asyncio.sleep(0)
            context = BatchContext(self._config.workspace, self._settings.id, "", self._settings.clock_ns())
            decoded = self._decoder.take(walk, context)
        except InvalidInput as error:
            self._settings.drops.add("corrupt", 1)
            self._settings.logger.warning("a request in %s is left out: %s", file.path, error)
            return
        for reason, amount in decoded.rejected.items():
            self._settings.drops.add(reason, amount, decoded.message)
        while not decoded.batch.is_empty:
            try:
                await self._sink.send(decoded.batch)
                break
            except Refused as refusal:
                await asyncio.sleep(refusal.retry_after)
        self._decoder.confirm(decoded)


def _matching(patterns: Iterable[str]) -> set[str]:
    """Return the paths that patterns fit, which may be absolute: `Path.glob` does not take such."""
    return {path for pattern in patterns for path in glob.glob(pattern, recursive=True)}  # noqa: PTH207


def warm_up() -> None:
    """Compile the kernels of the decoder."""
    from headrace.pipeline.series import SeriesTable
    from headrace.pipeline.wire.otlp_sample import sample_request

    decoder = OtlpDecoder(SeriesTable())
    for _ in range(2):
        decoder.decode(sample_request(), BatchContext())


FACTORY = ReceiverFactory(
    name="otlp_json_file",
    config=OtlpJsonFileConfig,
    create=OtlpJsonFileReceiver,
    aliases=("otlpjsonfile",),
    warm_up=warm_up,
)
