"""Actions on attributes, as the Collector's ``attributes`` and ``resource`` processors have them."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from pydantic import model_validator

from headrace.pipeline.config import ComponentConfig
from headrace.pipeline.config.refusal import refuse
from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.converters import CONVERTERS
from headrace.pipeline.ottl.values import text_of
from headrace.pipeline.regex import unanchored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.series_view import Attributes

_NO_CONTEXT = {"from_context": "what is decided about a series holds for every sender"}


class ActionType(StrEnum):
    """What happens to an attribute."""

    INSERT = "insert"
    UPDATE = "update"
    UPSERT = "upsert"
    DELETE = "delete"
    HASH = "hash"
    EXTRACT = "extract"
    CONVERT = "convert"


class ConvertedType(StrEnum):
    """Types that ``convert`` makes."""

    INT = "int"
    DOUBLE = "double"
    STRING = "string"


class Action(ComponentConfig):
    """An action on an attribute."""

    action: ActionType
    """``insert`` where there is none, ``update`` where there is one, ``upsert`` in either case, ``delete``, ``hash``
    (SHA-256 in hexadecimal digits), ``extract`` the named groups of `pattern`, or ``convert`` the type."""

    key: str = ""
    """Name of the attribute."""

    value: str | int | float | bool | list[Any] | dict[str, Any] | None = None
    """What to insert, update or upsert."""

    from_attribute: str = ""
    """The attribute to take it from; without that one nothing happens."""

    default_value: str | int | float | bool | list[Any] | dict[str, Any] | None = None
    """What is taken where there is neither `value` nor the attribute of `from_attribute`."""

    pattern: str = ""
    """Of ``extract``, an RE2 pattern with named groups, each of which makes an attribute; of ``delete`` and ``hash``,
    one that is found in the names of the attributes they are about."""

    converted_type: ConvertedType | None = None
    """Of ``convert``: ``int``, ``double`` or ``string``. A value that cannot be converted stays."""

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, options: Any) -> Any:
        return refuse(options, _NO_CONTEXT)

    @model_validator(mode="after")
    def _check(self) -> Self:
        sets = self.action in _SETTERS
        if not self.key and not (self.pattern and self.action in {ActionType.DELETE, ActionType.HASH}):
            raise ValueError("key is needed")
        if sets and self.value is not None and self.from_attribute:
            raise ValueError(f"{self.action} takes value or from_attribute, not both")
        if sets and self.value is None and not self.from_attribute and self.default_value is None:
            raise ValueError(f"{self.action} needs value, from_attribute or default_value")
        self._check_others(sets=sets)
        if self.pattern:
            self._check_pattern()
        return self

    def _check_others(self, *, sets: bool) -> None:
        unused = {
            "value": self.value is not None and not sets,
            "default_value": self.default_value is not None and not sets,
            "from_attribute": bool(self.from_attribute) and not sets,
            "pattern": bool(self.pattern) and (sets or self.action is ActionType.CONVERT),
            "converted_type": self.converted_type is not None and self.action is not ActionType.CONVERT,
        }
        wrong = [name for name, is_wrong in unused.items() if is_wrong]
        if wrong:
            raise ValueError(f"{self.action} does not take {', '.join(wrong)}")
        if self.action is ActionType.CONVERT and self.converted_type is None:
            raise ValueError("convert needs converted_type")
        if self.action is ActionType.EXTRACT and not self.pattern:
            raise ValueError("extract needs pattern")

    def _check_pattern(self) -> None:
        try:
            found = unanchored(self.pattern)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        if self.action is ActionType.EXTRACT and (not found.groups or len(found.groupindex) != found.groups):
            raise ValueError("extract needs a pattern whose groups all have names")


_SETTERS = frozenset({ActionType.INSERT, ActionType.UPDATE, ActionType.UPSERT})


def compile_actions(actions: Sequence[Action]) -> Callable[[Attributes], None]:
    """Return a function that applies `actions`, in order, to attributes that it may change."""
    edits = [_compiled(action) for action in actions]

    def apply(attributes: Attributes) -> None:
        for edit in edits:
            edit(attributes)

    return apply


def _compiled(action: Action) -> Callable[[Attributes], None]:
    if action.action in _SETTERS:
        return _setter(action)
    if action.action is ActionType.EXTRACT:
        return _extractor(action)
    if action.action is ActionType.CONVERT:
        return _converter(action)
    return _deleter(action) if action.action is ActionType.DELETE else _hasher(action)


def _setter(action: Action) -> Callable[[Attributes], None]:
    allowed = {ActionType.INSERT: (False,), ActionType.UPDATE: (True,)}.get(action.action, (False, True))

    def edit(attributes: Attributes) -> None:
        value = attributes.get(action.from_attribute) if action.from_attribute else action.value
        value = action.default_value if value is None else value
        if value is not None and (action.key in attributes) in allowed:
            attributes[action.key] = value

    return edit


def _named(action: Action) -> Callable[[Attributes], list[str]]:
    """Return a function that lists the attributes an action is about."""
    pattern = unanchored(action.pattern) if action.pattern else None

    def names(attributes: Attributes) -> list[str]:
        return [
            name
            for name in attributes
            if name == action.key or (pattern is not None and pattern.search(name) is not None)
        ]

    return names


def _deleter(action: Action) -> Callable[[Attributes], None]:
    names = _named(action)

    def edit(attributes: Attributes) -> None:
        for name in names(attributes):
            del attributes[name]

    return edit


def _hasher(action: Action) -> Callable[[Attributes], None]:
    names = _named(action)

    def edit(attributes: Attributes) -> None:
        for name in names(attributes):
            attributes[name] = hashlib.sha256(text_of(attributes[name]).encode("utf-8", "surrogatepass")).hexdigest()

    return edit


def _extractor(action: Action) -> Callable[[Attributes], None]:
    pattern = unanchored(action.pattern)

    def edit(attributes: Attributes) -> None:
        value = attributes.get(action.key)
        match = pattern.search(value) if isinstance(value, str) else None
        if match is not None:
            attributes.update({name: match.group(name) or "" for name in pattern.groupindex})

    return edit


def _converter(action: Action) -> Callable[[Attributes], None]:
    names = {ConvertedType.INT: "Int", ConvertedType.DOUBLE: "Double", ConvertedType.STRING: "String"}
    convert = CONVERTERS[names[action.converted_type or ConvertedType.STRING]].run

    def edit(attributes: Attributes) -> None:
        value = convert(attributes.get(action.key))
        if value is not None:
            attributes[action.key] = value

    return edit
