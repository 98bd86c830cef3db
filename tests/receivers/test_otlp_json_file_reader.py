"""How the bytes of a file become requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.receivers.otlp_json_file_reader import RequestFile

if TYPE_CHECKING:
    from pathlib import Path


def test_a_long_line_is_looked_through_once(tmp_path: Path) -> None:
    """However many pieces it is read in, none of its bytes is searched again."""
    path = tmp_path / "long.json"
    line = b"x" * (8 << 20)
    path.write_bytes(b"first\n" + line + b"\nlast\n")
    file = RequestFile(path, 0, framed=False, compressed=False)
    searched, cut = 0, file._cut

    def counting(data: bytearray, begin: int, known: int) -> tuple[int, int, int] | None:
        nonlocal searched
        found = cut(data, begin, known)
        searched += (len(data) if found is None else found[2]) - max(begin, known)
        return found

    file._cut = counting  # type: ignore[assignment]
    assert file.look()
    found = [one for one in iter(file.next, None) if one is not None]
    assert [(one.data, one.end) for one in found] == [
        (b"first", 6), (line, len(line) + 7), (b"last", len(line) + 12),
    ]  # fmt: skip
    assert searched == path.stat().st_size
