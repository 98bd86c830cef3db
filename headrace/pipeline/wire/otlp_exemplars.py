"""What OpenTelemetry's exemplars are shortened to so that they stay within the limit of exemplars elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.pipeline.wire.otlp_label_kernels import NAMES

if TYPE_CHECKING:
    from headrace.pipeline.batch import ExemplarColumns

MAX_RUNES = 128
"""Most characters of all names and values together, as in OpenMetrics."""


def shortened(rows: ExemplarColumns) -> ExemplarColumns:
    """Return exemplars of one OTLP request; of those with too many characters only trace and span id are kept.

    Args:
        rows: As `otlp_label_kernels.exemplars` wrote them: names of ids lie at the beginning of the arena.

    Source:
        Prometheus' OTLP receiver, which leaves the attributes out as well.
    """
    spans = rows.spans.astype(np.int64)
    begins = np.concatenate([[0], np.cumsum(rows.arena & 0xC0 != 0x80)])
    runes = begins[spans[:, 0] + spans[:, 1]] - begins[spans[:, 0]]
    runes += begins[spans[:, 2] + spans[:, 3]] - begins[spans[:, 2]]
    upto = np.concatenate([[0], np.cumsum(runes)])
    starts = rows.starts.astype(np.int64)
    is_long = upto[starts[1:]] - upto[starts[:-1]] > MAX_RUNES
    if not is_long.any():
        return rows
    keep = ~np.repeat(is_long, np.diff(starts)) | (spans[:, 0] < NAMES)
    kept = np.concatenate([[0], np.cumsum(keep)])
    return replace(rows, starts=kept[starts].astype(np.int32), spans=rows.spans[keep])
