"""Which web pages of other origins may read answers (CORS).

The settings are those of the Collector's ``confighttp``, and one more with Prometheus' meaning; the headers are
Prometheus' own.

Source:
    Fetch standard, section 3.2 (CORS protocol); Prometheus, ``--web.cors.origin``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import regex

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADERS = ("Accept", "Authorization", "Content-Type", "Origin")
_METHODS = "GET, POST, OPTIONS"
_REQUESTED = "Access-Control-Request-Method"


class CorsConfig(ComponentConfig):
    """Web pages of other origins that may send requests and read the answers."""

    allowed_origins: tuple[str, ...] = ()
    """Origins such as ``https://grafana.example.com``, also with ``*`` for any characters."""

    allowed_origin_regex: str = ""
    """RE2 pattern that the whole origin may match instead, as Prometheus' ``--web.cors.origin`` takes it."""

    allowed_headers: tuple[str, ...] = ()
    """Request headers that pages may set besides Accept, Authorization, Content-Type and Origin."""

    exposed_headers: tuple[str, ...] = ()
    """Headers of answers that pages may read besides Date and those that they always may."""

    max_age: Annotated[int, Field(ge=0)] = 0
    """Seconds that a browser may remember what is allowed; 0 leaves it to the browser."""

    @field_validator("allowed_origin_regex")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            regex(pattern)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return pattern

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not (self.allowed_origins or self.allowed_origin_regex):
            raise ValueError("needs allowed_origins or allowed_origin_regex")
        return self


class Cors:
    """Decides about origins.

    Args:
        config: Settings.
    """

    def __init__(self, config: CorsConfig) -> None:
        patterns = [".*".join(_quoted(part) for part in origin.split("*")) for origin in config.allowed_origins]
        patterns += [f"(?:{config.allowed_origin_regex})"] if config.allowed_origin_regex else []
        self._pattern = regex("|".join(patterns))
        self._headers = {
            "Access-Control-Allow-Headers": ", ".join((*_HEADERS, *config.allowed_headers)),
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Expose-Headers": ", ".join(("Date", *config.exposed_headers)),
        }
        self._max_age = {"Access-Control-Max-Age": str(config.max_age)} if config.max_age else {}

    def allows(self, origin: str | None) -> bool:
        """Return whether pages of `origin` may read answers."""
        return origin is not None and bool(self._pattern.fullmatch(origin))

    def asks(self, headers: Mapping[str, str], method: str) -> bool:
        """Return whether a request only asks what is allowed: browsers send it without credentials."""
        return method == "OPTIONS" and _REQUESTED in headers and self.allows(headers.get("Origin"))

    def headers(self, origin: str | None, *, asked: bool = False) -> dict[str, str]:
        """Return the headers of an answer.

        Args:
            origin: The request's Origin header.
            asked: The request asked what is allowed.
        """
        if origin is None:
            return {"Vary": "Origin"}
        allowed = {"Access-Control-Allow-Origin": origin} if self.allows(origin) else {}
        return {"Vary": "Origin", **self._headers, **allowed, **(self._max_age if asked else {})}


def _quoted(text: str) -> str:
    return "".join(char if char.isalnum() else f"\\{char}" for char in text)
