"""A command line of vmagent, read as vmagent reads it.

Source:
    Go, package ``flag``; VictoriaMetrics, "vmagent", "List of command-line flags", about arrays of values.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from headrace.cli.convert.vmagent_flags import FLAGS
from headrace.pipeline.config.faults import Fault, hint

if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[{}()\[\],]|[^'"{}()\[\],]+|['"]""", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_QUOTES = ("'", '"')


def parse(arguments: Sequence[str], faults: list[Fault]) -> dict[str, list[str]]:
    """Return the values of each flag.

    Args:
        arguments: Flags with one or two dashes, ``-name=value`` or ``-name value``; truth values may stand alone.
        faults: Where mistakes go.
    """
    flags: dict[str, list[str]] = {}
    left = deque(arguments)
    while left:
        argument = left.popleft()
        name, equals, value = argument.removeprefix("-").removeprefix("-").partition("=")
        if not argument.startswith("-") or not name:
            faults.append(Fault(None, argument, "is no flag"))
        elif name not in FLAGS:
            faults.append(Fault(None, f"-{name}", f"unknown flag{hint(name, FLAGS)}"))
            if not equals and left and not left[0].startswith("-"):
                left.popleft()  # what was meant as its value, maybe a secret
        elif not equals and not FLAGS[name].alone and not left:
            faults.append(Fault(None, f"-{name}", "needs a value"))
        else:
            text = value if equals else "true" if FLAGS[name].alone else left.popleft()
            _take(flags, name, text, faults)
    return flags


def _take(flags: dict[str, list[str]], name: str, text: str, faults: list[Fault]) -> None:
    """Add the values that a text stands for, if they are right; where a flag takes one, the last is the one."""
    kind = FLAGS[name]
    values = split(text) if kind.many else [text]
    for value in values:
        try:
            if value or not kind.many:
                kind.check(value)
        except ValueError as error:
            faults.append(Fault(None, f"-{name}", str(error)))
            return
    flags[name] = [*flags.get(name, []), *values] if kind.many else values


def split(text: str) -> list[str]:
    """Split at commas that stand neither in quotes nor in brackets.

    >>> split('a,"b,c",d{e,f}')
    ['a', 'b,c', 'd{e,f}']
    """
    values, depth = [""], 0
    for piece in _PIECE.findall(text):
        depth += (piece in "([{") - (piece in ")]}")
        if piece == "," and depth <= 0:
            values.append("")
        else:
            values[-1] += piece
    return [_unquoted(value) for value in values]


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] in _QUOTES and value[-1] == value[0]:
        return _ESCAPE.sub(r"\1", value[1:-1])
    return value
