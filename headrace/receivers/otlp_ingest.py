"""What the OTLP receiver's two protocols share: from a request's bytes to what became of its points."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headrace.pipeline.batch import BatchContext
from headrace.pipeline.component import Outcome
from headrace.pipeline.errors import InvalidInput, TooLarge, Unsupported
from headrace.pipeline.http.decompression import ALGORITHMS, decompress
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_json import to_protobuf
from headrace.pipeline.workspaces import directory_of, is_served

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from headrace.pipeline.component import Settings, Sink
    from headrace.pipeline.host import Host
    from headrace.pipeline.wire.otlp import Decoded
    from headrace.pipeline.wire.otlp_recall import Recalled
    from headrace.pipeline.workspaces import WorkspaceDirectory

_INLINE_BYTES = 1 << 20
"""Bodies up to this size are read in less than a millisecond: not worth a thread, which costs a tenth of that."""

_INLINE_COMPRESSED_BYTES = 2 * 1024
"""The same for those that may decompress to a thousand times their size."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a request.

    Attributes:
        rejected: Data points that will never be taken.
        message: Why, naming one; empty where all were taken.
    """

    rejected: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Body:
    """The body of a request.

    Attributes:
        data: As sent.
        encoding: Its compression.
        is_json: Whether it is JSON, or else protobuf.
        limit: Most bytes to decompress to.
        encodings: Compressions that are taken.
        metadata: Headers of the request, as far as they are kept.
    """

    data: bytes
    encoding: str
    is_json: bool
    limit: int
    encodings: Collection[str] = ALGORITHMS
    metadata: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Ingest:
    """Decodes requests and sends them on.

    Args:
        settings: Of the receiver.
        workspaces: Ids of the workspaces that are written to; the first is the default.
        sink: Where batches go.
    """

    def __init__(self, settings: Settings, workspaces: Sequence[str], sink: Sink) -> None:
        self._settings = settings
        self._sink = sink
        self._workspaces = tuple(workspaces)
        self._directory: WorkspaceDirectory | None = None
        self._host: Host | None = None
        self._decoders: dict[str, OtlpDecoder] = {}

    def start(self, host: Host) -> None:
        """Take the series tables from `host`."""
        self._host = host
        self._directory = directory_of(host)
        if self._directory is not None:
            self._directory.on_remove(self._forget)

    def _forget(self, workspace: str) -> None:
        self._decoders.pop(workspace, None)

    @property
    def default_workspace(self) -> str:
        """The workspace of requests that name none; empty where there is none."""
        return next(iter(self._workspaces), "")

    def serves(self, workspace: str) -> bool:
        """Return whether a workspace is written to."""
        return is_served(workspace, self._workspaces, self._directory)

    async def export(self, body: Body, workspace: str, principal: str) -> Taken:
        """Deliver a request.

        Raises:
            InvalidInput: It does not decode; nothing of it was taken.
            Refused: The sender may send it again later.
        """
        self._sink.check(1, len(body.data))
        decoder = self._decoder(workspace)
        context = BatchContext(workspace, self._settings.id, principal, self._settings.clock_ns(), body.metadata)
        try:
            data = await asyncio.to_thread(_protobuf, body) if _is_packed(body) else _protobuf(body)
            decoded = await read(decoder, data, context)
        except InvalidInput as error:
            self._settings.drops.add(_reason(error), 1)
            raise
        batch = decoded.batch
        outcome = Outcome(0) if batch.is_empty else await self._sink.send(batch)
        # Not before: a request that is refused comes again, with the same points in it.
        for reason, amount in decoded.rejected.items():
            self._settings.drops.add(reason, amount, decoded.message)
        decoder.confirm(decoded)
        return _taken(decoded, outcome)

    def _decoder(self, workspace: str) -> OtlpDecoder:
        decoder = self._decoders.get(workspace)
        if decoder is None:
            if self._host is None:
                raise AssertionError("bug: a request before start")
            decoder = self._decoders[workspace] = OtlpDecoder(self._host.workspaces.table(workspace))
        return decoder


def _protobuf(body: Body) -> bytes:
    data = decompress(body.data, body.encoding, body.limit, body.encodings)
    return to_protobuf(data) if body.is_json else data


def _is_packed(body: Body) -> bool:
    """Return whether making protobuf of a body would hold up the event loop."""
    return bool(body.encoding or body.is_json) and len(body.data) > _INLINE_COMPRESSED_BYTES


async def read(decoder: OtlpDecoder, data: bytes, context: BatchContext) -> Decoded:
    """Read what of a request is not known already.

    Raises:
        InvalidInput: It does not decode.
    """
    recalled = decoder.recall(data)
    if recalled is None:
        return await _walk(decoder, data, context)
    if recalled.is_whole:
        return decoder.take_recalled(recalled, context)
    if recalled.is_part:
        with contextlib.suppress(InvalidInput):
            decoded = await _walk(decoder, recalled.rest(data), context, recalled)
            if not decoded.rejected:
                return decoded
        # What is wrong is told by the whole request.
        return await _walk(decoder, data, context)
    return await _walk(decoder, data, context, recalled)


async def _walk(decoder: OtlpDecoder, data: bytes, context: BatchContext, recalled: Recalled | None = None) -> Decoded:
    is_long = len(data) > _INLINE_BYTES
    found = await asyncio.to_thread(decoder.walk, data) if is_long else decoder.walk(data)
    for _ in decoder.identify(found):
        await asyncio.sleep(0)
    return decoder.take(found, context, recalled)


def _reason(error: InvalidInput) -> str:
    if isinstance(error, TooLarge):
        return "too_large"
    return "unsupported_encoding" if isinstance(error, Unsupported) else "corrupt"


def _taken(decoded: Decoded, outcome: Outcome) -> Taken:
    rejected = sum(decoded.rejected.values()) + sum(outcome.rejected.values())
    return Taken(rejected, "; ".join(filter(None, (decoded.message, outcome.message))))
