"""Prometheus names and labels of OpenTelemetry metrics; `headrace.pipeline.naming` has the choices there are.

Source:
    OpenTelemetry specification, "Prometheus and OpenMetrics compatibility"; where it and the translator that
    Prometheus uses disagree (``_ratio``, spellings of units), Prometheus is followed.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import METRIC_NAME, Form, MetricType, Series
from headrace.pipeline.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from headrace.pipeline.identity import AttributeValue, Kind, Resource, Scope

_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
    "Hz": "hertz", "%": "percent", "1": "",
}  # fmt: skip
_PER_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

_FOREIGN = re.compile(r"[^A-Za-z0-9:_]+")
_NOT_WORD = re.compile(r"[^A-Za-z0-9:]+")
_NOT_LABEL = re.compile(r"[^A-Za-z0-9_]")
_NOT_UNIT = re.compile(r"[^A-Za-z0-9]+")

_IDENTIFYING = frozenset({"service.namespace", "service.name", "service.instance.id"})


_DEFAULT = Naming()


def metric_name(name: str, unit: str, kind: Kind, naming: Naming = _DEFAULT) -> str:
    """Return the Prometheus name of a metric.

    Raises:
        InvalidInput: Nothing is left of the name.

    >>> from headrace.pipeline.identity import Kind, MetricType
    >>> metric_name("system.cpu.time", "s", Kind(MetricType.COUNTER))
    'system_cpu_time_seconds_total'
    """
    if not name.strip("_") or (naming.strategy.escapes and not _NOT_WORD.sub("", name)):
        raise InvalidInput(f"metric name {name!r} has no character that Prometheus allows")
    if not naming.strategy.escapes:
        return _unescaped(name, unit, kind, naming)
    words = _words(name, unit, kind) if naming.strategy.adds_suffixes else [_squeezed(name)]
    text = "_".join([_squeezed(naming.namespace), *words] if naming.namespace else words)
    return f"_{text}" if text[0].isdigit() else text


def _words(name: str, unit: str, kind: Kind) -> list[str]:
    """Return the words of an escaped name with suffixes."""
    words = [word for word in _NOT_WORD.split(name) if word]
    main, per = _unit_words(unit)
    if main and main not in words:
        words.append(main)
    if per and per not in words:
        words += ("per", per)
    last = _type_word(unit, kind)
    return [*(word for word in words if word != last), last] if last else words


def _squeezed(name: str) -> str:
    """Return a name whose runs of foreign characters are single underscores, none at its ends."""
    return "_".join(part for part in _FOREIGN.split(name) if part)


def _unescaped(name: str, unit: str, kind: Kind, naming: Naming) -> str:
    """Return a name with all its characters, its suffixes in the one right order."""
    text = f"{naming.namespace}_{name}" if naming.namespace else name
    if not naming.strategy.adds_suffixes:
        return text
    main, per = _unit_words(unit)
    per = f"per_{per}" if per else ""
    last = _type_word(unit, kind)
    for suffix in (last, per):
        text = _trimmed(text, suffix)
    if main and not text.endswith(main):
        text = f"{text}_{main}"
    return "_".join(filter(None, (text, per, last)))


def _trimmed(text: str, suffix: str) -> str:
    """Return `text` without `suffix` and the one character before it, whatever that is."""
    return text[: -len(suffix) - 1] if suffix and text.endswith(suffix) and len(text) > len(suffix) + 1 else text


def _type_word(unit: str, kind: Kind) -> str:
    """Return what is appended for the type of a metric."""
    if kind.type is MetricType.COUNTER:
        return "total"
    return "ratio" if kind.type is MetricType.GAUGE and unit == "1" and not kind.is_sum else ""


def label_name(key: str, naming: Naming = _DEFAULT) -> str:
    """Return the Prometheus name of an attribute.

    Raises:
        InvalidInput: It has nothing but underscores.

    >>> label_name("http.request.method"), label_name("0x"), label_name("_private")
    ('http_request_method', 'key_0x', 'key_private')
    """
    name = _NOT_LABEL.sub("_", key) if naming.strategy.escapes else key
    if not name.strip("_"):
        raise InvalidInput(f"attribute {key!r} has no character that a label name allows")
    if not naming.strategy.escapes:
        return name
    if name[0].isdigit():
        return f"key_{name}"
    return f"key{name}" if name[0] == "_" and name[1] != "_" else name


def attribute_text(value: AttributeValue) -> str:
    """Return an attribute value as text: JSON for lists and maps, base64 for bytes."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def labels_of(attributes: Iterable[tuple[str, str]], naming: Naming = _DEFAULT) -> dict[str, str]:
    """Translate attribute names; values whose names become equal are joined by ``;`` in the order of the keys.

    Args:
        attributes: Name and value as text; ``__name__`` and empty values are left out.
        naming: How.

    Raises:
        InvalidInput: A name has nothing but underscores.
    """
    labels: dict[str, str] = {}
    for key, value in sorted(attributes):
        if key == METRIC_NAME or not value:
            continue
        name = label_name(key, naming)
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return labels


def target_labels(resource: Resource) -> dict[str, str]:
    """Return ``job`` and ``instance`` of a resource, as far as it names a service."""
    attributes = {key: attribute_text(value) for key, value in resource.attributes if key in _IDENTIFYING}
    name, namespace = attributes.get("service.name", ""), attributes.get("service.namespace", "")
    job = f"{namespace}/{name}" if namespace and name else name
    labels = {"job": job, "instance": attributes.get("service.instance.id", "")}
    return {label: value for label, value in labels.items() if value}


def target_info(resource: Resource, naming: Naming = _DEFAULT) -> Series | None:
    """Return the series ``target_info`` of a resource; None where it has no job or instance, or says nothing more.

    Raises:
        InvalidInput: An attribute's name has nothing but underscores.
    """
    target = target_labels(resource)
    told = ((key, attribute_text(value)) for key, value in resource.attributes if key not in _IDENTIFYING)
    more = labels_of(told, naming)
    if not target or not more:
        return None
    name = f"{naming.namespace}_target_info" if naming.namespace else "target_info"
    return Series.of({**more, **target, METRIC_NAME: name})


def scope_labels(scope: Scope, naming: Naming = _DEFAULT) -> dict[str, str]:
    """Return the labels of an instrumentation scope; attributes that would replace one of the three are left out.

    Raises:
        InvalidInput: An attribute's name has nothing but underscores.
    """
    fixed = {"name": scope.name, "version": scope.version, "schema_url": scope.schema_url}
    told = ((f"otel_scope_{key}", attribute_text(value)) for key, value in scope.attributes if key not in fixed)
    return labels_of(told, naming) | {f"otel_scope_{key}": value for key, value in fixed.items() if value}


def prometheus_labels(series: Series, naming: Naming = _DEFAULT) -> Mapping[str, str]:
    """Return the Prometheus labels of an OTLP series, its metric name (of a histogram: the family's) included.

    The attributes of a point are stronger than those of its resource; job, instance and scope are stronger than both.

    Raises:
        InvalidInput: A name has no character that Prometheus allows.
    """
    labels = labels_of(series.labels, naming)
    if series.resource is not None:
        chosen = [(key, attribute_text(value)) for key, value in series.resource.attributes if key in naming.resource]
        labels = labels_of(chosen, naming) | labels if chosen else labels
        labels.update(target_labels(series.resource))
    if naming.scope and series.scope is not None:
        labels.update(scope_labels(series.scope, naming))
    labels[METRIC_NAME] = metric_name(series.name, series.unit, series.kind, naming)
    return labels


class OtlpNames:
    """A series processor that makes Prometheus series out of OTLP series and leaves others alone.

    Args:
        naming: How; a namespace is given to series of Prometheus sources as well.
    """

    def __init__(self, naming: Naming = _DEFAULT) -> None:
        self._naming = naming
        self.leaves_plain = not naming.namespace

    def admit(self, series: Series) -> Series | None:
        """Return the translated series, None where nothing is left of a name."""
        if series.form is Form.PROMETHEUS:
            space = self._naming.namespace
            return series.set({METRIC_NAME: f"{space}_{series.name}"}) if space else series
        try:
            labels = prometheus_labels(series, self._naming)
        except InvalidInput:
            return None
        plain = Series.of(labels)
        if series.kind.type in {MetricType.HISTOGRAM, MetricType.SUMMARY}:
            # Not a series of samples yet: `headrace.pipeline.prometheus_edge` derives those from it.
            return Series(plain.labels, kind=series.kind, resource=series.resource)
        return plain


def canonical_float(value: float) -> str:
    """Return the text of a bound in ``le`` and ``quantile``, the same whatever way a histogram came in.

    Source:
        OpenMetrics 1.0, "Canonical Numbers"; Go's shortest ``%g`` with ``.0`` where it would look like an integer.

    >>> canonical_float(1), canonical_float(0.5), canonical_float(1e6), canonical_float(float("inf"))
    ('1.0', '0.5', '1e+06', '+Inf')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    sign = "-" if text.startswith("-") else ""
    digits, exponent = _digits(text.lstrip("-"))
    if not digits:
        return f"{sign}0.0"
    if -4 <= exponent < 6:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        whole = digits[: exponent + 1].ljust(exponent + 1, "0")
        return f"{sign}{whole}.{digits[exponent + 1 :] or '0'}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _digits(text: str) -> tuple[str, int]:
    """Return the significant digits of a positive float's repr and the exponent of the first one."""
    mantissa, _, power = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    exponent = len(whole) - 1 - leading + (int(power) if power else 0)
    return digits.rstrip("0"), exponent


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")


def _plain(value: AttributeValue) -> object:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


def _unit_words(unit: str) -> tuple[str, str]:
    """Return the words of a unit before and after the slash."""
    main, _, per = unit.strip().partition("/")
    return _one_unit(main, _UNITS), _one_unit(per, _PER_UNITS)


def unit_text(unit: str) -> str:
    """Return a unit in words, as it is appended to names.

    >>> unit_text("By"), unit_text("m/s"), unit_text("{packet}")
    ('bytes', 'meters_per_second', '')
    """
    main, per = _unit_words(unit)
    return f"{main}_per_{per}" if main and per else main or (f"per_{per}" if per else "")


def _one_unit(unit: str, table: Mapping[str, str]) -> str:
    unit = unit.strip()
    if not unit or "{" in unit or "}" in unit:
        return ""
    return table[unit] if unit in table else _NOT_UNIT.sub("_", unit).strip("_")
