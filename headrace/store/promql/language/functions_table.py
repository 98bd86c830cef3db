"""Signatures of PromQL's functions.

Source:
    Prometheus 3.14, "Query functions".
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.store.promql.language.ast import ValueType

_S, _V, _M, _T = ValueType.SCALAR, ValueType.VECTOR, ValueType.MATRIX, ValueType.STRING


@dataclass(frozen=True, slots=True)
class Signature:
    """One function.

    Attributes:
        args: Types of the arguments.
        variadic: 0 for exactly these; else the last may be left out, or stand n times, or with -1 any number of times.
        returns: What it yields.
        experimental: Whether it has to be enabled.
    """

    args: tuple[ValueType, ...]
    variadic: int = 0
    returns: ValueType = _V
    experimental: bool = False


def _same(names: str, signature: Signature) -> dict[str, Signature]:
    return dict.fromkeys(names.split(), signature)


FUNCTIONS: dict[str, Signature] = {
    **_same(
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count "
        "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh "
        "timestamp",
        Signature((_V,)),
    ),
    **_same(
        "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate "
        "last_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time stdvar_over_time "
        "sum_over_time",
        Signature((_M,)),
    ),
    **_same(
        "mad_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time ts_of_min_over_time",
        Signature((_M,), experimental=True),
    ),
    **_same("day_of_month day_of_week day_of_year days_in_month hour minute month year", Signature((_V,), variadic=1)),
    "clamp": Signature((_V, _S, _S)),
    **_same("clamp_max clamp_min", Signature((_V, _S))),
    "double_exponential_smoothing": Signature((_M, _S, _S), experimental=True),
    **_same("end range start step", Signature((), returns=_S, experimental=True)),
    "histogram_fraction": Signature((_S, _S, _V)),
    "histogram_quantile": Signature((_S, _V)),
    "histogram_quantiles": Signature((_V, _T, _S, _S), variadic=9, experimental=True),
    "info": Signature((_V, _V), variadic=1, experimental=True),
    "label_join": Signature((_V, _T, _T, _T), variadic=-1),
    "label_replace": Signature((_V, _T, _T, _T, _T)),
    **_same("max_of min_of", Signature((_S, _S), returns=_S, experimental=True)),
    "pi": Signature((), returns=_S),
    "predict_linear": Signature((_M, _S)),
    "quantile_over_time": Signature((_S, _M)),
    "round": Signature((_V, _S), variadic=1),
    "scalar": Signature((_V,), returns=_S),
    **_same("sort_by_label sort_by_label_desc", Signature((_V, _T), variadic=-1, experimental=True)),
    "start_timestamp": Signature((_V,), experimental=True),
    "time": Signature((), returns=_S),
    "vector": Signature((_S,)),
}
"""Signatures by name."""

AGGREGATIONS = frozenset(
    {
        "sum",
        "avg",
        "min",
        "max",
        "count",
        "group",
        "stddev",
        "stdvar",
        "topk",
        "bottomk",
        "quantile",
        "count_values",
        "limitk",
        "limit_ratio",
    }
)
"""Aggregation operators."""

WITH_PARAMETER = frozenset({"topk", "bottomk", "quantile", "count_values", "limitk", "limit_ratio"})
"""Aggregations that take an argument before the vector."""

EXPERIMENTAL_AGGREGATIONS = frozenset({"limitk", "limit_ratio"})
