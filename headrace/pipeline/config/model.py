"""What configurations of components are made of."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetCoreSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from headrace.pipeline.config.durations import format_duration, parse_duration, parse_size

REDACTED = "[REDACTED]"


class ComponentConfig(BaseModel):
    """Base of everything a user configures: frozen, without room for unknown keys.

    The string under a field is its documentation for users.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        validate_default=False,
        hide_input_in_errors=False,
        ser_json_timedelta="iso8601",
        arbitrary_types_allowed=True,
    )


class Secret:
    """A text that shows itself to nobody: printed, logged or serialised, it is ``[REDACTED]``."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: type[Any], _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Take a string; the faults never quote it."""

        def make(value: object) -> Secret:
            if isinstance(value, Secret):
                return value
            if not isinstance(value, str):
                raise PydanticCustomError("secret_type", "must be a string")
            return cls(value)

        return core_schema.no_info_plain_validator_function(
            make,
            json_schema_input_schema=core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: REDACTED),
        )


def _duration(value: Any) -> timedelta:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{why}", {"why": str(error)}) from None


def _non_negative(value: Any) -> timedelta:
    duration = _duration(value)
    if duration < timedelta():
        raise PydanticCustomError("duration", "must not be negative, got {got}", {"got": _shown(value)})
    return duration


def _positive(value: Any) -> timedelta:
    duration = _duration(value)
    if duration <= timedelta():
        raise PydanticCustomError("duration", "must be more than 0, got {got}", {"got": _shown(value)})
    return duration


def _size(value: Any) -> int:
    try:
        return parse_size(value)
    except ValueError as error:
        raise PydanticCustomError("size", "{why}", {"why": str(error)}) from None


def _shown(value: object) -> str:
    return str(value)


_WRITTEN = (PlainSerializer(format_duration, return_type=str), WithJsonSchema({"type": "string", "examples": ["30s"]}))

Duration = Annotated[timedelta, BeforeValidator(_duration), *_WRITTEN]
"""A duration with any sign."""

NonNegativeDuration = Annotated[timedelta, BeforeValidator(_non_negative), *_WRITTEN]
"""A duration of 0 or more."""

PositiveDuration = Annotated[timedelta, BeforeValidator(_positive), *_WRITTEN]
"""A duration of more than 0."""

ByteSize = Annotated[
    int, BeforeValidator(_size), WithJsonSchema({"type": ["integer", "string"], "examples": ["10MiB"]})
]
"""A size in bytes, as a number or with a unit."""
