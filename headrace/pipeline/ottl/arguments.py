"""What functions of OTTL are declared with: names of their arguments, and how many are needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.regex import unanchored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import re2


@dataclass(frozen=True, slots=True)
class Function:
    """A function over plain values.

    Attributes:
        run: Takes the arguments in order, None for those left out.
        names: Of the arguments, in order.
        needed: How many of them may not be left out.
        patterns: Places of arguments that are regular expressions; constant ones are compiled at once.
        globs: The same of arguments that are globs.
    """

    run: Callable[..., Any]
    names: tuple[str, ...]
    needed: int
    patterns: tuple[int, ...] = ()
    globs: tuple[int, ...] = ()


def arranged(function: Function, given: Sequence[tuple[str | None, Any]], name: str) -> list[Any]:
    """Put arguments into the order of `function`, None for those left out.

    Raises:
        InvalidInput: There are too many or too few, or a name is wrong.
    """
    found: list[Any] = [None] * len(function.names)
    for place, (key, value) in enumerate(given):
        at = _place(function, key, name) if key is not None else place
        if at >= len(found):
            raise InvalidInput(f"{name} takes {_arguments(function)}, not {len(given)}")
        found[at] = value
    missing = [function.names[i] for i in range(function.needed) if found[i] is None]
    if missing:
        raise InvalidInput(f"{name} needs {', '.join(missing)}")
    return found


def _place(function: Function, key: str, name: str) -> int:
    if key not in function.names:
        raise InvalidInput(f"{name} has no argument {key!r} (there: {', '.join(function.names)})")
    return function.names.index(key)


def _arguments(function: Function) -> str:
    count = len(function.names)
    few = "" if function.needed == count else f"{function.needed} to "
    return f"{few}{count} argument{'s' if count != 1 else ''}"


@lru_cache(maxsize=1024)
def glob(pattern: str) -> re2._Regexp:
    """Compile a glob: ``*`` is any text, ``?`` any character, ``[abc]`` one of some, ``{a,b}`` one of some texts.

    Raises:
        InvalidInput: A bracket or brace is not closed.
    """
    out = ""
    depth = 0
    for character in pattern:
        depth += (character == "{") - (character == "}" and depth > 0)
        special = {"*": ".*", "?": ".", "{": "(?:", "}": ")", "[": "[", "]": "]", "!": "^" if out[-1:] == "[" else "!"}
        if character == "," and depth:
            out += "|"
        elif character == "-" and "[" in out:
            out += "-"
        else:
            out += special.get(character) or _quoted(character)
    return unanchored(f"^(?s:{out})$")


def _quoted(character: str) -> str:
    return character if character.isalnum() or character in "_ /:%" or ord(character) > 127 else f"\\{character}"
