"""The values of a YAML document as they were written, without those that say nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.config.faults import Path
    from headrace.pipeline.config.source import Document

_ZERO_IS_MEANT = {
    "allow_stale", "enable_compression", "enable_http2", "filter_external_labels", "follow_redirects",
    "honor_timestamps", "match_first_network", "queue_config", "send",
}  # fmt: skip
"""Options that Prometheus takes for ``false`` or 0 where nothing is written, against their default: nothing is refused.
Everywhere else nothing is the default."""


def written(document: Document, tell: Callable[[Path, str], None]) -> Any:
    """Return the values of a document.

    Numbers and truth values keep their spelling, as texts, where another one would be written for them (``007``,
    ``1.50``): what takes texts gets what the user wrote, and what takes numbers reads them all the same.

    Args:
        document: The document.
        tell: Told of bytes that are no text.
    """
    return _written(document.value, (), document, tell)


def _written(value: Any, path: Path, document: Document, tell: Callable[[Path, str], None]) -> Any:
    if isinstance(value, dict):
        return {
            name: _written(one, (*path, name), document, tell)
            for name, one in value.items()
            if one is not None or name in _ZERO_IS_MEANT or _in_rule(path)
        }
    if isinstance(value, list):
        return [_written(one, (*path, i), document, tell) for i, one in enumerate(value)]
    if isinstance(value, bytes):
        return _decoded(value, path, tell)
    return value if value is None or isinstance(value, str) else _scalar(value, document.texts.get(path))


def _in_rule(path: Path) -> bool:
    """Tell whether a mapping is a relabelling rule, where an empty text is not the default."""
    return any(isinstance(part, str) and part.endswith("relabel_configs") for part in path)


def _decoded(value: bytes, path: Path, tell: Callable[[Path, str], None]) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        tell(path, "is no text: its bytes are not UTF-8")
        return ""


def _scalar(value: Any, text: str | None) -> Any:
    if text is None or text.startswith("0x"):
        return value
    if isinstance(value, bool):
        return value if text in {"true", "false"} else text
    if isinstance(value, float) and not math.isfinite(value):
        return value
    return value if isinstance(value, int | float) and str(value) == text else text
