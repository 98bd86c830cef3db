"""Recorded traffic: recordings of ``headrace tap``, and files that a ``file`` exporter has written."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from headrace.cli.plan.numbers import times_of
from headrace.pipeline.batch import BatchContext
from headrace.pipeline.errors import ConfigError, InvalidInput
from headrace.pipeline.http.decompression import decompress
from headrace.pipeline.streams.snapshots import MAGIC
from headrace.pipeline.taps.frames import frames
from headrace.pipeline.wire.otlp import OtlpDecoder
from headrace.pipeline.wire.otlp_json import to_protobuf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from headrace.pipeline.batch import MetricBatch
    from headrace.pipeline.host import Workspaces

_RECEIVERS = "receivers."
_ZSTD = b"\x28\xb5\x2f\xfd"
_LENGTH = struct.Struct(">I")
_MAX_REQUEST_BYTES = 64 << 20


def batches(path: Path, workspaces: Workspaces, receiver: str) -> Iterator[tuple[str, MetricBatch]]:
    """Yield receiver and batch, in order.

    Args:
        path: A recording, or a file of OTLP requests: JSON in lines, or protobuf or compressed requests behind their
            lengths.
        workspaces: Where series are interned.
        receiver: Whom OTLP requests came to; files of them do not say.

    Raises:
        ConfigError: It is no such file, or does not name a receiver.
    """
    try:
        with path.open("rb") as file:
            if _is_recording(file):
                yield from _recorded(file, workspaces)
            elif receiver:
                yield from _requests(file, workspaces, receiver)
            else:
                raise ConfigError(str(path), "does not say who received it: give --receiver")
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror or error}") from None
    except (ValueError, InvalidInput) as error:
        raise ConfigError(str(path), str(error)) from None


def _is_recording(file: BinaryIO) -> bool:
    head = file.read(4096).lstrip(b"\0")
    file.seek(0)
    return not head or MAGIC in head[: 4 + len(MAGIC)]


def _recorded(file: BinaryIO, workspaces: Workspaces) -> Iterator[tuple[str, MetricBatch]]:
    for edge, batch in frames(file, workspaces.table):
        if edge.startswith(_RECEIVERS):
            yield edge.removeprefix(_RECEIVERS), batch


def _requests(file: BinaryIO, workspaces: Workspaces, receiver: str) -> Iterator[tuple[str, MetricBatch]]:
    workspace = BatchContext().workspace
    decoder = OtlpDecoder(workspaces.table(workspace))
    is_json = file.read(1) == b"{"
    file.seek(0)
    for data in file if is_json else _framed(file):
        body = decompress(data, "zstd", _MAX_REQUEST_BYTES, ("zstd",)) if data.startswith(_ZSTD) else data
        if not body.strip():
            continue
        request = to_protobuf(body) if body.lstrip().startswith(b"{") else body
        batch = decoder.decode(request, BatchContext(workspace, receiver)).batch
        if len(batch):
            received = BatchContext(workspace, receiver, "", int(np.max(times_of(batch))))
            yield receiver, batch.with_columns(context=received)


def _framed(file: BinaryIO) -> Iterator[bytes]:
    while head := file.read(_LENGTH.size):
        size = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else _MAX_REQUEST_BYTES + 1
        if size > _MAX_REQUEST_BYTES:
            raise ValueError("it is neither a recording nor a file of OTLP requests")
        data = file.read(size)
        if len(data) < size:
            raise ValueError("the last request is cut off")
        yield data
