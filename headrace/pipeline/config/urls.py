"""URLs in settings: they may hold a password, which nobody is shown."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from pydantic import PlainSerializer

from headrace.pipeline.config.model import REDACTED

_PASSWORD = re.compile(r"(?<=//)([^/?#@:]*):[^/?#]*@")


def without_password(url: str) -> str:
    """Return a URL for logs and pages: with ``[REDACTED]`` in place of its password."""
    return _PASSWORD.sub(rf"\1:{REDACTED}@", url)


Url: TypeAlias = Annotated[str, PlainSerializer(without_password, return_type=str, when_used="json")]
"""A URL that is serialised without its password."""
