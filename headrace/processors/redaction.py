"""Take away attributes that are not allowed, and mask values that look like secrets.

It looks at the attributes of points and of resources. The labels ``le`` and ``quantile`` of Prometheus sources are no
attributes, and stay. Series that become one by it stay separate points of one series.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from headrace.pipeline.component import ProcessorFactory, Settings
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.identity import Form, Series
from headrace.pipeline.ottl.values import text_of
from headrace.pipeline.regex import unanchored
from headrace.pipeline.series_view import SeriesView

if TYPE_CHECKING:
    from collections.abc import Callable

    from headrace.pipeline.identity import AttributeValue
    from headrace.pipeline.series_view import Attributes

MASK = "****"
"""What masked text becomes where it is not hashed."""

_REFUSED = {
    "url_sanitizer": "block patterns with blocked_values",
    "db_sanitizer": "block patterns with blocked_values",
    "sanitize_span_name": "there are metrics alone",
}
_STRUCTURE = frozenset({"le", "quantile"})


class HashFunction(StrEnum):
    """What masks values."""

    NONE = "none"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA3 = "sha3"
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA512 = "hmac-sha512"


class Summary(StrEnum):
    """What a series says about what was taken from it."""

    SILENT = "silent"
    INFO = "info"
    DEBUG = "debug"


class RedactionConfig(ComponentConfig):
    """Settings of the ``redaction`` processor."""

    allow_all_keys: bool = False
    """Keep all attributes, whatever `allowed_keys` says."""

    allowed_keys: tuple[str, ...] = ()
    """Attributes that are kept; all others are taken away, so that an empty list takes away everything."""

    ignored_keys: tuple[str, ...] = ()
    """Attributes that are kept as they are, values too."""

    ignored_key_patterns: tuple[str, ...] = ()
    """RE2 patterns of names that are treated like `ignored_keys`."""

    blocked_key_patterns: tuple[str, ...] = ()
    """RE2 patterns of names whose values are masked as a whole."""

    blocked_values: tuple[str, ...] = ()
    """RE2 patterns that are masked wherever they are found in a value."""

    allowed_values: tuple[str, ...] = ()
    """RE2 patterns of values that are not masked."""

    redact_all_types: bool = False
    """Look at values that are no strings too, as text."""

    hash_function: HashFunction = HashFunction.NONE
    """``none`` masks with ``****``; ``md5``, ``sha1``, ``sha3``, ``hmac-sha256`` and ``hmac-sha512`` put the digest in
    its place."""

    hmac_key: Secret | None = None
    """Key of the two HMACs."""

    summary: Summary = Summary.SILENT
    """``info`` adds attributes with counts (``redaction.masked.count`` and the like), ``debug`` adds the names too."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _REFUSED)

    @model_validator(mode="after")
    def _check(self) -> Self:
        patterns = (self.ignored_key_patterns, self.blocked_key_patterns, self.blocked_values, self.allowed_values)
        for pattern in (one for group in patterns for one in group):
            try:
                unanchored(pattern)
            except InvalidInput as error:
                raise ValueError(str(error)) from None
        if self.hash_function.startswith("hmac") and not self.hmac_key:
            raise ValueError(f"{self.hash_function} needs hmac_key")
        return self


@dataclass(slots=True)
class _Tally:
    redacted: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


class RedactionProcessor:
    """Redacts each new series once."""

    def __init__(self, settings: Settings, config: RedactionConfig) -> None:
        del settings
        self._config = config
        self._allowed = frozenset(config.allowed_keys)
        self._ignored = frozenset(config.ignored_keys)
        self._ignored_names = _found(config.ignored_key_patterns)
        self._blocked_names = _found(config.blocked_key_patterns)
        self._allowed_values = _found(config.allowed_values)
        self._blocked = [unanchored(pattern) for pattern in config.blocked_values]
        self._mask = _masker(config)

    def admit(self, series: Series) -> Series | None:
        """Return the series without what must not leave."""
        view = SeriesView.of(series)
        kept = _STRUCTURE if series.form is Form.PROMETHEUS else frozenset()
        structure = {name: value for name, value in view.attributes.items() if name in kept}
        others = {name: value for name, value in view.attributes.items() if name not in kept}
        view.attributes = {**self._redacted(others), **structure}
        view.resource = self._redacted(view.resource)
        return view.series()

    def _redacted(self, attributes: Attributes) -> Attributes:
        tally = _Tally()
        kept: Attributes = {}
        for name, value in attributes.items():
            if name in self._ignored or self._ignored_names(name):
                tally.ignored.append(name)
                kept[name] = value
            elif self._config.allow_all_keys or name in self._allowed:
                kept[name] = self._value(name, value, tally)
            else:
                tally.redacted.append(name)
        return {**kept, **self._summary(tally)} if self._config.summary is not Summary.SILENT else kept

    def _value(self, name: str, value: AttributeValue, tally: _Tally) -> AttributeValue:
        if value is None or not (isinstance(value, str) or self._config.redact_all_types):
            return value
        text = text_of(value)
        if self._blocked_names(name):
            tally.masked.append(name)
            return self._mask(text)
        if self._allowed_values(text):
            tally.allowed.append(name)
            return value
        masked = text
        for pattern in self._blocked:
            masked = pattern.sub(lambda match: self._mask(match.group(0)), masked)
        if masked == text:
            return value
        tally.masked.append(name)
        return masked

    def _summary(self, tally: _Tally) -> Attributes:
        out: Attributes = {}
        for what, names in (("redacted", tally.redacted), ("masked", tally.masked), ("allowed", tally.allowed)):
            if names and self._config.summary is Summary.DEBUG:
                out[f"redaction.{what}.keys"] = ",".join(sorted(names))
            if names:
                out[f"redaction.{what}.count"] = len(names)
        if tally.ignored:
            out["redaction.ignored.count"] = len(tally.ignored)
        return out


def _found(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    compiled = [unanchored(pattern) for pattern in patterns]
    return lambda text: any(pattern.search(text) is not None for pattern in compiled)


def _masker(config: RedactionConfig) -> Callable[[str], str]:
    function = config.hash_function
    if function is HashFunction.NONE:
        return lambda _text: MASK
    if config.hmac_key is not None and function.startswith("hmac"):
        key, algorithm = config.hmac_key.reveal().encode(), function.removeprefix("hmac-")
        return lambda text: hmac.new(key, _bytes(text), algorithm).hexdigest()
    name = "sha3_256" if function is HashFunction.SHA3 else str(function)
    return lambda text: hashlib.new(name, _bytes(text), usedforsecurity=False).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


FACTORY = ProcessorFactory(name="redaction", config=RedactionConfig, create=RedactionProcessor)
