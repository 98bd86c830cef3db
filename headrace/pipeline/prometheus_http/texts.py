"""What settings of Prometheus' YAML have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from headrace.pipeline.config import Secret

NUMBERS_ARE_TEXTS = ConfigDict(coerce_numbers_to_str=True)
"""Of models that prometheus.yml holds: a number where a text is asked for is the text."""

NO_SECRET_MANAGER = "there is no secret manager: name a file"  # noqa: S105 -- a message
"""Why the options that end in ``_ref`` are refused."""


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SecretText = Annotated[Secret, BeforeValidator(_text)]
"""A secret that YAML may have read as a number."""
