"""What the parser makes: a tree that knows places in the text and nothing of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from headrace.pipeline.identity import AttributeValue


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, bytes, true, false, nil or enumeration value."""

    value: AttributeValue
    position: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a path with its keys, such as ``attributes["k"][0]``."""

    name: str
    keys: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """``metric.name`` and the like."""

    segments: tuple[Segment, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Call:
    """A converter or an editor.

    Attributes:
        name: Such as ``Concat``.
        arguments: Name (None where it has none) and value.
        keys: Keys behind the closing parenthesis.
        position: Of the name.
    """

    name: str
    arguments: tuple[tuple[str | None, Node], ...]
    keys: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Listed:
    """``[1, 2]``."""

    items: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """``{"a": 1}``."""

    items: tuple[tuple[str, Node], ...]
    position: int


@dataclass(frozen=True, slots=True)
class Binary:
    """A comparison, ``and``, ``or`` or a sum."""

    operator: str
    left: Node
    right: Node
    position: int


@dataclass(frozen=True, slots=True)
class Unary:
    """``not`` or the sign ``-``."""

    operator: str
    operand: Node
    position: int


@dataclass(frozen=True, slots=True)
class Statement:
    """An editor with its condition, if it has one."""

    editor: Call
    where: Node | None


Node: TypeAlias = "Literal | Path | Call | Listed | Mapped | Binary | Unary"
