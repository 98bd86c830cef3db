"""Reading numbers in plain Python, where ``strconv.ParseFloat`` gives the rules, and printing them."""

from __future__ import annotations

import math

import pytest

from headrace.kernels.float_text import format_canonical, format_value, parse_float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1p-2", 0.25),
        ("0X1.8P1", 3.0),
        ("-0x.8p0", -0.5),
        ("0x_1Fp0", 31.0),
        ("1_000.5", 1000.5),
        ("+.5e1", 5.0),
        ("5.", 5.0),
        ("Inf", math.inf),
        ("+infinity", math.inf),
        ("-INF", -math.inf),
        ("1e-400", 0.0),
    ],
)
def test_numbers(text: str, value: float) -> None:
    """All spellings that Go takes are taken."""
    assert parse_float(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "+", ".", "e5", "1e", "1e+", "0x1", "0x", "0xp1", "_1", "1_", "1__0", "0x1_p1", "0x1_.8p1", "+nan", " 1", "1 ",
     "1\n", "\u0661", "1e400", "0x1p2000", "infin", "1._5"],
)  # fmt: skip
def test_what_is_no_number(text: str) -> None:
    """The error quotes what was read."""
    with pytest.raises(ValueError, match=r"not a number|out of range"):
        parse_float(text)


def test_nan() -> None:
    """NaN is read in any case."""
    assert math.isnan(parse_float("nAn"))


@pytest.mark.parametrize(
    ("value", "api", "canonical"),
    [
        (0.0, "0", "0.0"),
        (1.0, "1", "1.0"),
        (-2.5, "-2.5", "-2.5"),
        (1e6, "1000000", "1e+06"),
        (123456.75, "123456.75", "123456.75"),
        (1.5e21, "1.5e+21", "1.5e+21"),
        (1e21, "1e+21", "1e+21"),
        (1e-6, "0.000001", "1e-06"),
        (1.25e-7, "1.25e-07", "1.25e-07"),
        (0.0001, "0.0001", "0.0001"),
        (5e-324, "5e-324", "5e-324"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_printing(value: float, api: str, canonical: str) -> None:
    """The two formats differ in where the exponent begins and in the digit after the point."""
    assert format_value(value) == api
    assert format_canonical(value) == canonical
