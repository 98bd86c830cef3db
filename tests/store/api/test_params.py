"""Times, durations and limits, as Prometheus reads them. Expected values were taken from a real Prometheus 3.5.3."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.http.form import Form
from headrace.store.api import params
from headrace.store.api.errors import ApiError


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("1_000", 1_000_000),
        ("0x10p0", 16_000),
        ("+1", 1000),
        ("-1.5", -1500),
        ("1.9996", 2000),
        ("-1.9996", -2000),
        (".5", 500),
        ("5.", 5000),
        ("1e3", 1_000_000),
        ("1700000000.1234", 1_700_000_000_123),
        ("2015-07-01T20:10:30.781Z", 1_435_781_430_781),
        ("2015-07-01T20:10:30,781Z", 1_435_781_430_781),
        ("2015-07-01T2:10:30Z", 1_435_716_630_000),
        ("2015-07-01T20:10:30+02:00", 1_435_774_230_000),
        ("2015-07-01T20:10:30+24:00", 1_435_695_030_000),
        ("2015-07-01T20:10:30+24:60", 1_435_691_430_000),
        ("2016-02-29T00:00:00-00:30", 1_456_705_800_000),
        ("0000-01-01T00:00:00Z", -62_167_219_200_000),
        ("9999-12-31T23:59:59.9999999999Z", 253_402_300_799_999),
        ("-292273086-05-16T16:47:06Z", params.MIN_TIME_NS // params.MS),
        ("292277025-08-18T07:12:54.999999999Z", params.MAX_TIME_NS // params.MS),
    ],
)
def test_times(text: str, ms: int) -> None:
    """Seconds, rounded to milliseconds, and RFC 3339 with all that Go takes."""
    assert params.time_ns(text) // params.MS == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        " 1",
        "1 ",
        "0x10",
        "1__0",
        "_1",
        ".",
        "1e400",
        "NaN",
        "Inf",
        "1e30",
        "\u0661",
        "2015-02-29T20:10:30Z",
        "2015-07-01T20:10:30+25:00",
        "9999-12-31T23:59:60Z",
        "2015-07-01T24:00:00Z",
        "2015-07-01",
        "2015-07-01T20:10:30",
        "9" * 500,
    ],
)
def test_what_is_no_time(text: str) -> None:
    """Anything else is refused with Prometheus' text."""
    with pytest.raises(ValueError, match="to a valid timestamp"):
        params.time_ns(text)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("15", 15_000_000_000),
        ("0.0015", 1_500_000),
        ("-1", -1_000_000_000),
        ("0", 0),
        ("5m", 300_000_000_000),
        ("1y2w3d4h5m6s7ms", 33_019_506_007_000_000),
        ("90s", 90_000_000_000),
    ],
)
def test_durations(text: str, ns: int) -> None:
    """Seconds, or Prometheus' own notation."""
    assert params.duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", 'cannot parse "" to a valid duration'),
        ("abc", 'cannot parse "abc" to a valid duration'),
        ("5m5", 'cannot parse "5m5" to a valid duration'),
        ("1m1h", 'cannot parse "1m1h" to a valid duration'),
        ("-5m", 'cannot parse "-5m" to a valid duration'),
        ("1e300", 'cannot parse "1e300" to a valid duration. It overflows int64'),
        ("300y", 'cannot parse "300y" to a valid duration'),
        ('a"\n\udcff\u00e4\u200b', r'cannot parse "a\"\n\xffä\u200b" to a valid duration'),
    ],
)
def test_what_is_no_duration(text: str, why: str) -> None:
    """Anything else is refused with Prometheus' text, the value quoted as Go quotes it."""
    with pytest.raises(ValueError, match="cannot parse") as caught:
        params.duration_ns(text)

    assert str(caught.value) == why


@given(st.floats(-1e11, 1e11))
def test_seconds_survive(seconds: float) -> None:
    """A time printed with milliseconds reads as the same millisecond."""
    text = f"{seconds:.3f}"
    assert params.time_ns(text) == round(float(text) * 1000) * params.MS


@given(st.text(max_size=40))
def test_any_text_is_a_value_or_an_error(text: str) -> None:
    """No text makes the readers fail in another way."""
    for read in (params.time_ns, params.duration_ns):
        found: int | str
        try:
            found = read(text)
        except ValueError as error:
            found = str(error)
        assert isinstance(found, int) or "cannot parse" in found


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
        ("1.5", 'strconv.Atoi: parsing "1.5": invalid syntax'),
        ("1_0", 'strconv.Atoi: parsing "1_0": invalid syntax'),
        ("9" * 20, f'strconv.Atoi: parsing "{"9" * 20}": value out of range'),
        ("-1", "limit must be non-negative"),
    ],
)
def test_limits(text: str, why: str) -> None:
    """A limit is a whole number of at least 0."""
    with pytest.raises(ApiError) as caught:
        params.limit_parameter(Form((("limit", text),)))

    assert caught.value.message == f'invalid parameter "limit": {why}'
    assert params.limit_parameter(Form((("limit", "+7"),))) == 7
    assert params.limit_parameter(Form()) == 0
