"""The grammar of OTTL by recursive descent: not binds closer than and, and closer than or."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pipeline.ottl.lexer import Token, fault, tokens
from headrace.pipeline.ottl.nodes import Binary, Call, Listed, Literal, Mapped, Node, Path, Segment, Statement, Unary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from headrace.pipeline.errors import InvalidInput

MAX_DEPTH = 50
"""How deep parentheses, calls, lists and signs may nest."""

MAX_HEIGHT = 100
"""How high the tree may be: sums in a row nest too."""

MAX_NODES = 2000
"""Operators and values of one expression."""

ENUMERATION = {
    "METRIC_DATA_TYPE_NONE": 0,
    "METRIC_DATA_TYPE_GAUGE": 1,
    "METRIC_DATA_TYPE_SUM": 2,
    "METRIC_DATA_TYPE_HISTOGRAM": 3,
    "METRIC_DATA_TYPE_EXPONENTIAL_HISTOGRAM": 4,
    "METRIC_DATA_TYPE_SUMMARY": 5,
    "AGGREGATION_TEMPORALITY_UNSPECIFIED": 0,
    "AGGREGATION_TEMPORALITY_DELTA": 1,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": 2,
    "FLAG_NONE": 0,
    "FLAG_NO_RECORDED_VALUE": 1,
}
"""Names that stand for numbers."""

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_MAX_INT = 2**63 - 1
_NO_CONDITION = "a condition is needed: a comparison, or a function that answers yes or no"


def parse_condition(text: str) -> Node:
    """Read a boolean expression.

    Raises:
        InvalidInput: It is none; the message names the place.
    """
    parser = _Parser(text)
    node = parser.condition()
    parser.finish()
    return node


def parse_statement(text: str) -> Statement:
    """Read an editor and its ``where``.

    Raises:
        InvalidInput: It is none; the message names the place.
    """
    parser = _Parser(text)
    statement = parser.statement()
    parser.finish()
    return statement


def is_condition(node: Node) -> bool:
    """Tell whether a node may stand where a condition is asked for."""
    if isinstance(node, Binary):
        return node.operator in COMPARISONS or node.operator in {"and", "or"}
    if isinstance(node, Unary):
        return node.operator == "not"
    return isinstance(node, Call) or (isinstance(node, Literal) and isinstance(node.value, bool))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0
        self._nodes = 0
        self._heights: dict[int, int] = {}

    # -- parts -----------------------------------------------------------------------------------------------

    def statement(self) -> Statement:
        first = self._token
        if first.kind != "name" or not first.text[0].islower():
            raise self._fault("a statement begins with a function such as set(...),")
        editor = self._named()
        if not isinstance(editor, Call):
            raise fault(
                self._text, first.position, f"{first.text!r} is no function, a statement is one such as set(...)"
            )
        where = self.condition() if self._take("where") else None
        return Statement(editor, where)

    def condition(self) -> Node:
        position = self._token.position
        node = self._or()
        if not is_condition(node):
            raise fault(self._text, position, _NO_CONDITION)
        return node

    def finish(self) -> None:
        if self._token.kind != "end":
            raise self._fault("unexpected")

    def _or(self) -> Node:
        return self._conditions(self._and, "or")

    def _and(self) -> Node:
        return self._conditions(self._not, "and")

    def _not(self) -> Node:
        token = self._token
        if not self._take("not"):
            return self._comparison()
        operand = self._nested(self._not)
        self._need_condition(operand, token)
        return self._noted(Unary("not", operand, token.position))

    def _comparison(self) -> Node:
        left = self._sum()
        token = self._token
        if token.kind != "op" or token.text not in COMPARISONS:
            return left
        self._at += 1
        return self._noted(Binary(token.text, left, self._sum(), token.position))

    def _sum(self) -> Node:
        return self._chain(self._product, ("+", "-"))

    def _product(self) -> Node:
        return self._chain(self._signed, ("*", "/"))

    def _signed(self) -> Node:
        token = self._token
        if token.kind == "op" and self._take("+"):
            return self._nested(self._signed)
        if token.kind != "op" or not self._take("-"):
            return self._primary()
        operand = self._nested(self._signed)
        if (
            isinstance(operand, Literal)
            and isinstance(operand.value, int | float)
            and not isinstance(operand.value, bool)
        ):
            return Literal(-operand.value, token.position)
        return self._noted(Unary("-", operand, token.position))

    def _conditions(self, part: Callable[[], Node], operator: str) -> Node:
        """Read conditions joined by one operator, as a tree that is no deeper than it has to be."""
        first = self._token
        found = [part()]
        while self._token.kind == "name" and self._take(operator):
            if len(found) == 1:
                self._need_condition(found[0], first)
            token = self._token
            found.append(part())
            self._need_condition(found[-1], token)
        return self._tree(found, operator, first.position)

    def _tree(self, nodes: list[Node], operator: str, position: int) -> Node:
        if len(nodes) == 1:
            return nodes[0]
        half = len(nodes) // 2
        left, right = (self._tree(some, operator, position) for some in (nodes[:half], nodes[half:]))
        return self._noted(Binary(operator, left, right, position))

    def _chain(self, part: Callable[[], Node], operators: tuple[str, ...]) -> Node:
        left = part()
        while self._token.kind == "op" and self._token.text in operators:
            token = self._token
            self._at += 1
            left = self._noted(Binary(token.text, left, part(), token.position))
        return left

    def _primary(self) -> Node:
        token = self._token
        if token.kind == "name":
            return self._named()
        if token.kind in {"int", "float", "string", "bytes"}:
            self._at += 1
            return self._noted(Literal(self._value(token), token.position))
        if token.kind == "op" and token.text in "([{":
            self._at += 1
            return self._nested({"(": self._group, "[": self._listed, "{": self._mapped}[token.text])
        raise self._fault("a value is needed, not")

    def _value(self, token: Token) -> str | int | float | bytes:
        if token.kind == "string":
            return token.text
        if token.kind == "float":
            return float(token.text)
        if token.kind == "bytes":
            digits = token.text[2:]
            return bytes.fromhex(digits if len(digits) % 2 == 0 else f"0{digits}")
        # Longer ones are no 64-bit numbers anyway, and int() would refuse thousands of digits in its own words.
        number = int(token.text) if len(token.text) <= 20 else _MAX_INT + 1
        if number > _MAX_INT:
            raise fault(self._text, token.position, "a number does not fit into 64 bits")
        return number

    def _group(self) -> Node:
        node = self._or()
        self._need(")")
        return node

    def _listed(self) -> Node:
        position = self._token.position
        items: list[Node] = []
        while not self._take("]"):
            if items:
                self._need(",")
            items.append(self._or())
        return self._noted(Listed(tuple(items), position))

    def _mapped(self) -> Node:
        position = self._token.position
        items: list[tuple[str, Node]] = []
        while not self._take("}"):
            if items:
                self._need(",")
            key = self._token
            if key.kind != "string":
                raise self._fault("a key in double quotes is needed, not")
            self._at += 1
            self._need(":")
            items.append((key.text, self._or()))
        return self._noted(Mapped(tuple(items), position))

    def _named(self) -> Node:
        token = self._token
        self._at += 1
        if token.text in _WORDS:
            return self._noted(Literal(_WORDS[token.text], token.position))
        if self._token.text == "(" and self._token.kind == "op":
            self._at += 1
            return self._nested(lambda: self._call(token))
        if token.text.isupper():
            if token.text not in ENUMERATION:
                raise fault(self._text, token.position, f"there is no enumeration value {token.text!r}")
            return self._noted(Literal(ENUMERATION[token.text], token.position))
        segments = [Segment(token.text, self._keys())]
        while self._token.kind == "op" and self._take("."):
            name = self._token
            if name.kind != "name":
                raise self._fault("a name is needed after the dot, not")
            self._at += 1
            segments.append(Segment(name.text, self._keys()))
        return self._noted(Path(tuple(segments), token.position))

    def _call(self, name: Token) -> Node:
        arguments: list[tuple[str | None, Node]] = []
        while not self._take(")"):
            if arguments:
                self._need(",")
            arguments.append((self._argument_name(), self._or()))
        return self._noted(Call(name.text, tuple(arguments), self._keys(), name.position))

    def _argument_name(self) -> str | None:
        after = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self._token.kind != "name" or after.kind != "op" or after.text != "=":
            return None
        name = self._token.text
        self._at += 2
        return name

    def _keys(self) -> tuple[Node, ...]:
        keys: list[Node] = []
        while self._token.kind == "op" and self._take("["):
            keys.append(self._nested(self._sum))
            self._need("]")
        return tuple(keys)

    # -- tokens ----------------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _take(self, text: str) -> bool:
        taken = self._token.kind in {"op", "name"} and self._token.text == text
        self._at += taken
        return taken

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise self._fault(f"{text!r} is needed, not")

    def _need_condition(self, node: Node, token: Token) -> None:
        if not is_condition(node):
            raise fault(self._text, token.position, _NO_CONDITION)

    def _nested(self, part: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise fault(self._text, self._token.position, f"nested deeper than {MAX_DEPTH}")
        node = part()
        self._depth -= 1
        return node

    def _noted(self, node: Node) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise fault(self._text, self._token.position, f"more than {MAX_NODES} operators and values")
        # By id: equal nodes are not the same, and all of them live as long as the parser.
        height = 1 + max((self._heights.get(id(child), 0) for child in _children(node)), default=0)
        if height > MAX_HEIGHT:
            raise fault(self._text, self._token.position, f"nested deeper than {MAX_HEIGHT}")
        self._heights[id(node)] = height
        return node

    def _fault(self, why: str) -> InvalidInput:
        token = self._token
        found = "the end" if token.kind == "end" else repr(token.text)
        return fault(self._text, token.position, f"{why} {found}")


def _children(node: Node) -> Iterable[Node]:
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Call):
        return (*(value for _, value in node.arguments), *node.keys)
    if isinstance(node, Path):
        return [key for segment in node.segments for key in segment.keys]
    if isinstance(node, Mapped):
        return [value for _, value in node.items]
    return node.items if isinstance(node, Listed) else ()
