"""Options that other collectors have and a component here has not: they are refused by name, with the reason.

An option that is set to what it is by default (``false``, ``0``, nothing) says nothing and is let pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from collections.abc import Mapping


def refuse(options: Any, known: Mapping[str, str]) -> Any:
    """Return `options` without those of `known` that are off.

    Raises:
        PydanticCustomError: One of `known` is set.
    """
    if not isinstance(options, dict):
        return options
    wrong = [f"{name} ({known[name]})" for name, value in options.items() if name in known and value]
    if wrong:
        raise PydanticCustomError("unsupported", "not supported: {names}", {"names": "; ".join(wrong)})
    return {name: value for name, value in options.items() if name not in known}
