"""The kernels that read and print doubles, against Python's ``float`` and ``repr``."""

from __future__ import annotations

import math
import os
import random
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.kernels import float_parse_kernels as parsing
from headrace.kernels import float_print_kernels as printing
from headrace.kernels.buffers import padded
from headrace.kernels.float_text import format_canonical, format_value, parse_float

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


def parse(text: str) -> tuple[float, int, int]:
    data = text.encode()
    value, end, status = parsing.parse(padded(data), 0, len(data))
    return float(value), int(end), int(status)


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def printed(kernel: object, value: float) -> str:
    out = np.full(printing.MAX_BYTES + 8, 0xAA, np.uint8)
    end = kernel(out, 4, value)  # type: ignore[operator]  # one of the two kernels
    assert (out[:4] == 0xAA).all()
    assert (out[printing.MAX_BYTES + 4 :] == 0xAA).all()
    return out[4:end].tobytes().decode()


def check_read(text: str) -> None:
    """A number that the kernel decides is the one Python reads; what it leaves is a number."""
    value, end, status = parse(text)
    assert end == len(text)
    assert status in {parsing.READ, parsing.SLOW}
    if status == parsing.READ:
        assert bits(value) == bits(float(text))


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(2.2250738585072011e-308)
@example(9007199254740993.0)
@example(-0.0)
def test_reads_what_repr_writes(value: float) -> None:
    """Every double comes back from its shortest text, and from 17 digits."""
    for text in (repr(value), f"{value:.16e}", f"{value:.17g}"):
        check_read(text)


@given(st.from_regex(r"[+-]?[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
@example("9007199254740993")
@example("9007199254740992.99999999999999999999")
@example("1090544144181609348835077142190")
@example("0.500000000000000000000000000")
@example("8.5e-324")
def test_reads_any_decimal(text: str) -> None:
    """Long, halfway and tiny numbers are rounded right or left to the slow way."""
    check_read(text)


@given(st.floats(1e-300, 1e300), st.integers(-3, 3))
def test_halfway_cases(value: float, digit: int) -> None:
    """The exact middle between two doubles, and texts right beside it."""
    from decimal import Decimal, localcontext

    with localcontext() as context:
        context.prec = 800
        middle = (Decimal(value) + Decimal(math.nextafter(value, math.inf))) / 2
        text = f"{middle + middle * Decimal(digit).scaleb(-40):e}"
    check_read(text)


def test_most_numbers_need_no_slow_way() -> None:
    """Of random doubles with 17 digits, fewer than one in a thousand is left."""
    rng = random.Random(5)
    texts = [repr(rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)) for _ in range(2000)]
    assert sum(parse(text)[2] == parsing.SLOW for text in texts) < 2


@pytest.mark.parametrize(
    "text", ["", "+", "-", ".", "e5", "1e", "1e+", "-e1", "+nan", "-nan", "in", "x", "_1", "\u0661"]
)
def test_what_is_no_number(text: str) -> None:
    """Nothing is read."""
    assert parse(text)[2] == parsing.SYNTAX


@pytest.mark.parametrize("text", ["0x1p-3", "1_000", "1z", "infin", "nano", "1.1.1", "0b1"])
def test_hexadecimal_and_underscores_end_the_number(text: str) -> None:
    """The caller sees that something follows."""
    _, end, status = parse(text)
    assert status == parsing.READ
    assert end < len(text)


@pytest.mark.parametrize("text", ["1e400", "-1e309", "1.8e308", "9" * 400])
def test_out_of_range_is_left_to_the_slow_way(text: str) -> None:
    """A value past the range of doubles is never infinity."""
    assert parse(text)[2] == parsing.SLOW
    with pytest.raises(ValueError, match="out of range"):
        parse_float(text)


@pytest.mark.parametrize("text", ["NaN", "nan", "NAN"])
def test_nan_is_the_ordinary_one(text: str) -> None:
    """Text never makes the stale marker."""
    assert bits(parse(text)[0]) == 0x7FF8000000000001


@pytest.mark.parametrize("text", ["Inf", "+Inf", "inf", "+INFINITY", "infinity"])
def test_infinity(text: str) -> None:
    """All spellings of Go are taken, with a sign."""
    assert parse(text) == (math.inf, len(text), parsing.READ)
    assert parse("-" + text.removeprefix("+"))[0] == -math.inf


@given(st.binary(max_size=24))
def test_any_bytes(data: bytes) -> None:
    """The offset stays inside, whatever the bytes."""
    _, end, status = parsing.parse(padded(data), 0, len(data))
    assert 0 <= end <= len(data)
    assert status in {parsing.READ, parsing.SLOW, parsing.SYNTAX}


@given(st.floats())
@example(1e23)
@example(9007199254740991.0)
@example(5e-324)
@example(1.7976931348623157e308)
@example(2.0**-1022)
@example(1e21)
@example(999999999999999900000.0)
def test_prints_as_plain_python_does(value: float) -> None:
    """Both formats have the shortest digits, those of ``repr``."""
    assert printed(printing.write_api, value) == format_value(value)
    expected = "0.0" if value == 0 else format_canonical(value)
    assert printed(printing.write_canonical, value) == expected


@pytest.mark.fuzz
def test_random_bit_patterns() -> None:
    """Printing and reading invert each other for random patterns."""
    rng = random.Random(7)
    for _ in range(RUNS):
        value = struct.unpack("<d", rng.getrandbits(64).to_bytes(8, "little"))[0]
        if math.isnan(value):
            continue
        text = printed(printing.write_api, value)
        got, end, status = parse(text)
        assert end == len(text)
        assert status == parsing.SLOW or bits(got) == bits(value)
        assert bits(float(text)) == bits(value)


@pytest.mark.parametrize("value", [0, 7, 10, 99, 100, 12345678901234567890, 2**64 - 1])
def test_unsigned_integers(value: int) -> None:
    """`count_digits` says how many digits `write_uint` writes."""
    size = printing.count_digits(np.uint64(value))
    out = np.zeros(32, np.uint8)
    assert size == len(str(value))
    assert printing.write_uint(out, 0, np.uint64(value), size) == size
    assert out[:size].tobytes().decode() == str(value)
