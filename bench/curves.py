"""Curves over one axis as an SVG picture, one panel above the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WIDTH = 760
_PANEL = 170
_LEFT, _RIGHT, _TOP, _BOTTOM, _GAP = 70, 20, 12, 44, 34
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
_TICKS = 4


class Curve(NamedTuple):
    """One panel.

    Attributes:
        name: What it shows, with its unit.
        values: One for each place on the axis, none negative.
    """

    name: str
    values: Sequence[float]


def picture(xs: Sequence[float], axis: str, curves: Sequence[Curve]) -> str:
    """Return an SVG picture of `curves` over `xs`, ascending; each panel begins at zero."""
    height = _TOP + len(curves) * (_PANEL + _GAP) - _GAP + _BOTTOM
    size = f'width="{_WIDTH}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        f'<rect {size} fill="white"/>',
    ]
    for i, curve in enumerate(curves):
        lines.extend(_panel(xs, curve, _TOP + i * (_PANEL + _GAP), _COLOURS[i % len(_COLOURS)]))
    middle = (_LEFT + _WIDTH - _RIGHT) // 2
    lines.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">{axis}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _step(most: float) -> float:
    """Return a round distance of ticks: 1, 2, 2.5 or 5 times a power of ten."""
    rough = max(most, 1e-9) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)


def _panel(xs: Sequence[float], curve: Curve, top: int, colour: str) -> Iterator[str]:
    step = _step(max(curve.values))
    most = step * max(math.ceil(max(curve.values) / step), 1)
    bottom, width = top + _PANEL, _WIDTH - _LEFT - _RIGHT
    for k in range(round(most / step) + 1):
        y = bottom - k * step / most * _PANEL
        yield f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{k * step:,.10g}</text>'
    span = xs[-1] - xs[0] or 1
    for k in range(math.floor(span / _step_x(span)) + 1):
        x = _LEFT + k * _step_x(span) / span * width
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="black"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{xs[0] + k * _step_x(span):,.10g}</text>'
    points = " ".join(
        f"{_LEFT + (x - xs[0]) / span * width:.1f},{bottom - y / most * _PANEL:.1f}"
        for x, y in zip(xs, curve.values, strict=True)
    )
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
    yield f'<line x1="{_LEFT}" y1="{top}" x2="{_LEFT}" y2="{bottom}" stroke="black"/>'
    yield f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}" stroke="black"/>'
    yield f'<text x="{_LEFT + 8}" y="{bottom - 8}" fill="{colour}">{curve.name}</text>'


def _step_x(span: float) -> float:
    """Return a round distance of ticks on the axis, of which there are a dozen at most."""
    return next((step for step in (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0) if span / step <= 12), span / 8)
