"""Labels that Python code made, as byte spans."""

from __future__ import annotations

from headrace.pipeline.wire.spans import LabelSpans


def test_labels_come_back_and_repeated_ones_are_laid_out_once() -> None:
    """Two streams with a label in common, one without any."""
    streams = [{"__name__": "a", "x": "é"}, {}, {"__name__": "b", "x": "é"}]
    found = LabelSpans.of(streams)
    text = found.buf.tobytes()
    for i, labels in enumerate(streams):
        rows = found.spans[found.starts[i] : found.starts[i + 1]].tolist()
        assert {text[a : a + n].decode(): text[b : b + m].decode() for a, n, b, m in rows} == labels
    assert found.spans[1].tolist() == found.spans[3].tolist()
    assert LabelSpans.of([]).starts.tolist() == [0]
