"""Read the files that the exporter ``file`` writes, and whatever else holds OTLP requests, as they grow.

A request counts as read once it is delivered: one that is refused is offered again. Where reading stopped is kept where
`OtlpJsonFileConfig.storage` says, about once a second: after a crash what was read since comes again. A file that ends
in the middle of a request is waited for, and after a while reported.
"""

from __future__ import annotations

import asyncio
import glob
import math
from datetime import timedelta
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from headrace.pipeline.batch import DEFAULT_WORKSPACE, BatchContext
from headrace.pipeline.component import ReceiverFactory, Settings, Sink
from headrace.pipeline.config import ComponentConfig, PositiveDuration
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput, Refused, StoreFailed
from headrace.pipeline.state import StateStorage
from headrace.pipeline.status import Status
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_json import to_protobuf
from headrace.receivers.otlp_json_file_offsets import Offsets
from headrace.receivers.otlp_json_file_reader import RequestFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from headrace.pipeline.host import Host
    from headrace.pipeline.status import Statuses
    from headrace.pipeline.wire.otlp import Decoded
    from headrace.receivers.otlp_json_file_offsets import Key

_SAVE_S = 1.0
"""How often offsets are kept."""

_TORN_S = 5.0
"""After this long the rest of a request is not expected any more."""

_LINES = "files are read request by request"
_REFUSED = {
    "delete_after_read": "files are never deleted",
    "max_concurrent_files": "files are read one after the other",
    "fingerprint_size": "files are told apart by device and inode",
    "max_log_size": "requests have a fixed limit of 256 MiB",
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

    storage: str = ""
    """Id of an extension that keeps where reading stopped, such as ``file_storage``; without it, a daemon that starts
    again begins as `start_at` says."""

    workspace: str = DEFAULT_WORKSPACE
    """Workspace that is written to."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        return refuse(given, _REFUSED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.storage and self.replay_file:
            raise ValueError("storage does not go with replay_file, which begins each file anew")
        return self


class OtlpJsonFileReceiver:
    """Reads files."""

    def __init__(self, settings: Settings, config: OtlpJsonFileConfig, sink: Sink) -> None:
        self._settings = settings
        self._config = config
        self._sink = sink
        self._owner = f"{settings.kind}.{settings.id}"
        self._files: dict[Key, RequestFile] = {}
        self._offsets: Offsets | None = None
        self._saved_s = 0.0
        self._torn: dict[Key, tuple[int, float]] = {}
        self._decoder: OtlpDecoder | None = None
        self._task: asyncio.Task[None] | None = None
        self._statuses: Statuses | None = None

    async def start(self, host: Host) -> None:
        """Begin to read.

        Raises:
            ConfigError: There is no such storage.
            StoreFailed: What it holds cannot be read.
        """
        self._statuses = host.statuses
        self._decoder = OtlpDecoder(host.workspaces.table(self._config.workspace))
        if self._config.storage:
            storage = host.extension(self._config.storage, StateStorage, f"{self._owner}.storage")  # type: ignore[type-abstract]
            self._offsets = Offsets(storage.states, self._owner)
            await asyncio.to_thread(self._offsets.load)
        await asyncio.to_thread(self._look, self._config.start_at == "end" and not self._config.replay_file)
        self._task = asyncio.create_task(self._run(), name=f"{self._settings.id} reader")

    async def shutdown(self) -> None:
        """Stop reading; what is under way is offered again by the next reader. Safe before `start` and twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self._save()

    async def _run(self) -> None:
        while True:
            try:
                await self.poll()
            except Exception as error:  # the edge of a task: what was not taken is offered again
                self._settings.logger.exception("reading files broke")
                self._report(f"reading files broke: {error!r}")
            await asyncio.sleep(self._config.poll_interval.total_seconds())

    async def poll(self) -> None:
        """Read what is new in all files."""
        await asyncio.to_thread(self._look, False)
        for key, file in list(self._files.items()):
            await self._read(file)
            self._watch_end(key, file)
            if self._config.replay_file:
                file.rewind()
        if self._settings.monotonic_s() - self._saved_s >= _SAVE_S:
            await self._save()

    def _look(self, at_end: bool) -> None:  # noqa: FBT001 -- it runs on a thread
        """Find files that are new, and forget those that are gone."""
        excluded, paths = _matching(self._config.exclude), _matching(self._config.include)
        found: dict[Key, RequestFile] = {}
        for path in sorted(paths - excluded):
            try:
                stat = Path(path).stat()
                if S_ISREG(stat.st_mode):
                    key = stat.st_dev, stat.st_ino
                    found[key] = self._files.get(key) or self._begin(key, Path(path), stat.st_size if at_end else 0)
                    found[key].path = Path(path)  # it may have been put aside under another name
            except OSError:
                continue
        self._files = found

    def _begin(self, key: Key, path: Path, position: int) -> RequestFile:
        kept = self._offsets.of(key, path) if self._offsets is not None else None
        framed = self._config.format == "proto"
        position = position if kept is None else kept
        return RequestFile(path, position, framed=framed, compressed=self._config.zstd)

    async def _read(self, file: RequestFile) -> None:
        """Deliver what a file holds more than at the last look."""
        try:
            if not await asyncio.to_thread(file.look):
                return
            while (found := await asyncio.to_thread(file.next)) is not None:
                if found.data.strip():
                    await self._deliver(found.data, file)
                file.position = found.end
        except FileNotFoundError:
            return
        except (OSError, InvalidInput) as error:
            file.fault = str(error)
            self._settings.drops.add("corrupt_file", 1, str(file.path))
            self._report(f"cannot read {file.path} any further: {error}")

    async def _deliver(self, data: bytes, file: RequestFile) -> None:
        """Send a request on, again and again as long as it is refused."""
        try:
            decoded = await self._decode(data)
        except InvalidInput as error:
            self._settings.drops.add("corrupt", 1)
            self._report(f"a request in {file.path} at byte {file.position} is left out: {error}")
            return
        for reason, amount in decoded.rejected.items():
            self._settings.drops.add(reason, amount, decoded.message)
        while not decoded.batch.is_empty:
            try:
                await self._sink.send(decoded.batch)
                break
            except Refused as refusal:
                await asyncio.sleep(refusal.retry_after)
        self._confirm(decoded)

    async def _decode(self, data: bytes) -> Decoded:
        """Return the points of a request.

        Raises:
            InvalidInput: It does not decode.
        """
        if self._decoder is None:
            raise AssertionError("bug: a file is read before start")
        request = await asyncio.to_thread(to_protobuf, data) if self._config.format == "json" else data
        walk = await asyncio.to_thread(self._decoder.walk, request)
        for _ in self._decoder.identify(walk):
            await asyncio.sleep(0)
        context = BatchContext(self._config.workspace, self._settings.id, "", self._settings.clock_ns())
        return self._decoder.take(walk, context)

    def _confirm(self, decoded: Decoded) -> None:
        if self._decoder is not None:
            self._decoder.confirm(decoded)
        if self._statuses is not None:
            self._statuses.report(self._owner, Status.OK)

    # -- the end of files, and of reading --------------------------------------------------------------------

    def _watch_end(self, key: Key, file: RequestFile) -> None:
        """Report a file that has ended in the middle of a request for a while, once."""
        now_s = self._settings.monotonic_s()
        size, since_s = self._torn.get(key, (0, now_s))
        if file.torn_bytes == 0 or file.fault:
            self._torn.pop(key, None)
        elif size != file.torn_bytes:
            self._torn[key] = file.torn_bytes, now_s
        elif now_s - since_s >= _TORN_S:
            self._torn[key] = size, math.inf
            self._report(f"{file.path} ends in the middle of a request, after {size} bytes of it")

    def _report(self, why: str) -> None:
        self._settings.logger.warning("%s", why)
        if self._statuses is not None:
            self._statuses.report(self._owner, Status.RECOVERABLE_ERROR, why)

    async def _save(self) -> None:
        """Keep where reading stopped."""
        self._saved_s = self._settings.monotonic_s()
        if self._offsets is not None:
            try:
                await asyncio.to_thread(self._offsets.save, list(self._files.items()))
            except StoreFailed as error:
                self._report(str(error))


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
