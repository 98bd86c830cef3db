"""Numbers as text, one at a time, in plain Python; kernels of this package do many."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_DECIMAL = re.compile(r"[+-]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?", re.ASCII)
_HEXADECIMAL = re.compile(r"[+-]?0[xX]_?([0-9a-fA-F_]*)(\.([0-9a-fA-F_]*))?[pP][+-]?\d+(_\d+)*", re.ASCII)
_WORD = re.compile(r"[+-]?inf(inity)?|nan", re.IGNORECASE)


def parse_float(text: str) -> float:
    """Read a number as Go's ``strconv.ParseFloat`` does: also hexadecimal, and with ``_`` between digits.

    Raises:
        ValueError: `text` is not a number, or one beyond the range of doubles.
    """
    if _HEXADECIMAL.fullmatch(text) and _underscores_separate(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except OverflowError:
            raise ValueError(f"value out of range: {text[:60]!r}") from None
    if _WORD.fullmatch(text):
        return float(text)
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"not a number: {text[:60]!r}")
    value = float(text.replace("_", ""))
    if math.isinf(value):
        raise ValueError(f"value out of range: {text[:60]!r}")
    return value


def format_value(value: float) -> str:
    """Print a sample as Prometheus' HTTP API does: an exponent only below 1e-6 and from 1e21 on."""
    if not math.isfinite(value):
        return _special(value)
    if value == 0 or 1e-6 <= abs(value) < 1e21:
        text = repr(value)
        if "e" in text:
            text = format(Decimal(text), "f")
        return text.removesuffix(".0")
    return repr(value).replace(".0e", "e")


def format_canonical(value: float) -> str:
    """Print a number as OpenMetrics wants it: ``1.0``, ``0.25``, ``1e+06``, ``+Inf``."""
    if not math.isfinite(value):
        return _special(value)
    if value == 0:
        return "0.0"
    if 1e-4 <= abs(value) < 1e6:
        return repr(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    power = int(exponent) + len(digits) - 1
    point = "." if len(text) > 1 else ""
    return f"{'-' if sign else ''}{text[0]}{point}{text[1:]}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "+Inf" if value > 0 else "-Inf"


def _underscores_separate(text: str) -> bool:
    """Tell whether every ``_`` of a hexadecimal number has a digit, or the base, on its left and a digit right."""
    digits = re.split(r"[pP]", text, maxsplit=1)[0]
    return not re.search(r"_(_|\.|$)|\._", digits) and bool(re.search(r"0[xX]_?\.?[0-9a-fA-F]", digits))
