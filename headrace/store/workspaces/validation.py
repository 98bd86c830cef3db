"""Read the arguments of an operation out of a request, and refuse those that break the service model.

All faults of a request are told at once, each with its field. JSON members and query parameters that the model does
not know are left alone, as AWS does; null counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from headrace.store.workspaces.errors import Reason, ValidationException

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.store.workspaces.operations import Operation

MAX_BODY_BYTES = 1 << 20
"""Larger bodies are refused before they are parsed; the largest member, a policy, is far smaller."""
MAX_TAGS = 50
MAX_RETENTION_DAYS = 1095
MAX_OUT_OF_ORDER_S = 600
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_TAG_PUNCTUATION = frozenset("_.:/=+-@")


class Place(StrEnum):
    """Where in a request a field stands."""

    URI = "uri"
    QUERY = "query"
    BODY = "body"


class Kind(StrEnum):
    """What a field holds."""

    TEXT = "string"
    INTEGER = "integer"
    TAGS = "map of strings"
    TAG_KEYS = "list of strings"
    UNSUPPORTED = "unsupported"
    """A field of the model that this service cannot honour yet."""


@dataclass(frozen=True)
class Field:
    """The rules for one field."""

    name: str
    kind: Kind
    place: Place = Place.BODY
    required: bool = False
    least: int | None = None
    """Smallest length of a text, smallest integer."""
    most: int | None = None
    pattern: str | None = None
    """What the whole text has to match."""
    trimmed: bool = False
    """Whether white space around the text does not count."""
    refusal: str = ""
    """Why a field of the kind `Kind.UNSUPPORTED` is refused."""


class Arguments:
    """The arguments of one call, valid by themselves."""

    def __init__(self, operation: str, values: Mapping[str, object]) -> None:
        self._operation = operation
        self._values = dict(values)

    def text(self, name: str) -> str:
        """Return a required text."""
        value = self._values[name]
        assert isinstance(value, str), f"bug: {name} is no text"
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None if it is absent."""
        return self.text(name) if name in self._values else None

    def optional_integer(self, name: str) -> int | None:
        """Return an integer, or None if it is absent."""
        value = self._values.get(name)
        assert value is None or isinstance(value, int), f"bug: {name} is no integer"
        return value

    def tags(self) -> dict[str, str]:
        """Return the member ``tags``; empty if it is absent."""
        value = self._values.get("tags", {})
        assert isinstance(value, dict), "bug: tags are no map"
        return dict(value)

    def tag_keys(self) -> list[str]:
        """Return the query parameters ``tagKeys``."""
        value = self._values["tagKeys"]
        assert isinstance(value, list), "bug: tagKeys are no list"
        return list(value)

    def digest(self) -> bytes:
        """Return a hash of the operation and all arguments but the idempotency token."""
        values = {name: value for name, value in self._values.items() if name != "clientToken"}
        text = json.dumps([self._operation, values], sort_keys=True)
        return hashlib.sha256(text.encode()).digest()


_WORKSPACE_ID = Field(
    "workspaceId", Kind.TEXT, Place.URI, required=True, least=1, most=64, pattern=r".*[0-9A-Za-z][-.0-9A-Z_a-z]*.*"
)
_ARN = Field("resourceArn", Kind.TEXT, Place.URI, required=True)
_TOKEN = Field("clientToken", Kind.TEXT, least=1, most=64, pattern=r"[!-~]+")
_QUERY_TOKEN = Field("clientToken", Kind.TEXT, Place.QUERY, least=1, most=64, pattern=r"[!-~]+")
_ALIAS = Field("alias", Kind.TEXT, least=1, most=100, trimmed=True)

FIELDS: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "CreateWorkspace": (
            _ALIAS,
            _TOKEN,
            Field("tags", Kind.TAGS),
            Field(
                "kmsKeyArn", Kind.UNSUPPORTED, refusal="encryption at rest by a key of the caller is not supported yet"
            ),
        ),
        "DescribeWorkspace": (_WORKSPACE_ID,),
        "ListWorkspaces": (
            Field("nextToken", Kind.TEXT, Place.QUERY, least=0, most=1000),
            Field("alias", Kind.TEXT, Place.QUERY, least=1, most=100, trimmed=True),
            Field("maxResults", Kind.INTEGER, Place.QUERY, least=1, most=1000),
        ),
        "UpdateWorkspaceAlias": (_WORKSPACE_ID, _ALIAS, _TOKEN),
        "DeleteWorkspace": (_WORKSPACE_ID, _QUERY_TOKEN),
        "TagResource": (_ARN, Field("tags", Kind.TAGS, required=True)),
        "UntagResource": (_ARN, Field("tagKeys", Kind.TAG_KEYS, Place.QUERY, required=True)),
        "ListTagsForResource": (_ARN,),
        "DescribeWorkspaceConfiguration": (_WORKSPACE_ID,),
        "UpdateWorkspaceConfiguration": (
            _WORKSPACE_ID,
            _TOKEN,
            Field("limitsPerLabelSet", Kind.UNSUPPORTED, refusal="limits per label set are not supported yet"),
            Field("retentionPeriodInDays", Kind.INTEGER, least=1, most=MAX_RETENTION_DAYS),
            Field("outOfOrderTimeWindowInSeconds", Kind.INTEGER, least=0, most=MAX_OUT_OF_ORDER_S),
            Field(
                "ruleQueryOffsetInSeconds", Kind.UNSUPPORTED, refusal="an offset of rule queries is not supported yet"
            ),
        ),
        "PutResourcePolicy": (
            _WORKSPACE_ID,
            Field("policyDocument", Kind.TEXT, required=True),
            _TOKEN,
            Field("revisionId", Kind.TEXT),
        ),
        "DescribeResourcePolicy": (_WORKSPACE_ID,),
        "DeleteResourcePolicy": (_WORKSPACE_ID, _QUERY_TOKEN, Field("revisionId", Kind.TEXT, Place.QUERY)),
    }
)
"""The fields of the operations that are supported."""

Faults = list[tuple[str, str]]


def read_arguments(
    operation: Operation, params: Mapping[str, str], query: Sequence[tuple[str, str]], body: bytes
) -> Arguments:
    """Return the arguments of a request.

    Args:
        operation: A supported one.
        params: The decoded parameters of the path.
        query: The decoded parameters of the query string; of a name that may stand once the first one counts.
        body: A JSON object in UTF-8; nothing is the same as an empty object.

    Raises:
        ValidationException: The body is no JSON object, or fields break their rules.
    """
    fields = FIELDS[operation.name]
    members = _parse(body) if any(field.place is Place.BODY for field in fields) else {}
    faults: Faults = []
    values: dict[str, object] = {}
    for field in fields:
        given = _given(field, params, query, members)
        if given is None:
            if field.required:
                faults.append(_fault(field.name, "Member must not be null"))
            continue
        count = len(faults)
        value = _checked(field, given, faults)
        if len(faults) == count:
            values[field.name] = value
    if faults:
        raise invalid_fields(faults)
    return Arguments(operation.name, values)


def invalid_fields(faults: Sequence[tuple[str, str]]) -> ValidationException:
    """Return the error for fields that break a rule, from pairs of name and text."""
    plural = "" if len(faults) == 1 else "s"
    texts = "; ".join(text for _, text in faults)
    message = f"{len(faults)} validation error{plural} detected: {texts}"
    return ValidationException(message, Reason.FIELD_VALIDATION_FAILED, faults)


def _parse(body: bytes) -> dict[str, object]:
    if not body:
        return {}
    if len(body) > MAX_BODY_BYTES:
        raise ValidationException(f"the body has {len(body)} bytes, limit {MAX_BODY_BYTES}", Reason.CANNOT_PARSE)
    try:
        parsed = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValidationException("the body is nested too deeply", Reason.CANNOT_PARSE) from None
    except ValueError as error:
        raise ValidationException(f"the body is no JSON: {error}", Reason.CANNOT_PARSE) from None
    if not isinstance(parsed, dict):
        raise ValidationException("the body is no JSON object", Reason.CANNOT_PARSE)
    return parsed


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _given(
    field: Field, params: Mapping[str, str], query: Sequence[tuple[str, str]], members: Mapping[str, object]
) -> object:
    if field.place is Place.URI:
        return params.get(field.name)
    if field.place is Place.BODY:
        return members.get(field.name)
    found = [value for name, value in query if name == field.name]
    if not found:
        return None
    return found if field.kind is Kind.TAG_KEYS else found[0]


def _checked(field: Field, given: object, faults: Faults) -> object:
    match field.kind:
        case Kind.TEXT:
            return _text(field, given, faults)
        case Kind.INTEGER:
            return _integer(field, given, faults)
        case Kind.TAGS:
            return _tags(field.name, given, faults)
        case Kind.TAG_KEYS:
            return _tag_keys(field.name, given, faults)
        case Kind.UNSUPPORTED:
            faults.append((field.name, f"{field.name}: {field.refusal}"))
            return None


def _text(field: Field, given: object, faults: Faults) -> str | None:
    if not isinstance(given, str) or not _is_unicode(given):
        faults.append(_fault(field.name, "Member must be a string"))
        return None
    text = given.strip() if field.trimmed else given
    length = _length_fault(text, field.least, field.most)
    if length:
        faults.append(_fault(field.name, length))
    elif field.pattern is not None and re.fullmatch(field.pattern, text, re.ASCII) is None:
        faults.append(_fault(field.name, f"Member must satisfy regular expression pattern: {field.pattern}"))
    return text


def _integer(field: Field, given: object, faults: Faults) -> int | None:
    if field.place is Place.QUERY and isinstance(given, str) and _INTEGER.fullmatch(given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool):
        faults.append(_fault(field.name, "Member must be an integer"))
        return None
    if field.least is not None and given < field.least:
        faults.append(_fault(field.name, f"Member must have value greater than or equal to {field.least}"))
    if field.most is not None and given > field.most:
        faults.append(_fault(field.name, f"Member must have value less than or equal to {field.most}"))
    return given


def _tags(name: str, given: object, faults: Faults) -> dict[str, str] | None:
    if not isinstance(given, dict):
        faults.append(_fault(name, "Member must be a map of strings"))
        return None
    if len(given) > MAX_TAGS:
        faults.append(_fault(name, f"Member must have length less than or equal to {MAX_TAGS}"))
        return None
    for key, value in given.items():
        faults.extend(_fault(name, text) for text in _tag_key_faults(key))
        if not isinstance(value, str):
            faults.append(_fault(name, "Map value must be a string"))
            continue
        length = _length_fault(value, 0, 256)
        if length:
            faults.append(_fault(name, f"Map value must satisfy constraint: {length}"))
        elif not _is_tag_text(value):
            faults.append(_fault(name, f"Map value must satisfy constraint: {_TAG_PATTERN}"))
    return given


def _tag_keys(name: str, given: object, faults: Faults) -> list[str]:
    assert isinstance(given, list), "bug: a repeated query parameter is a list"
    for key in given:
        faults.extend(_fault(name, text) for text in _tag_key_faults(key))
    return sorted(set(given))


_TAG_PATTERN = r"Member must satisfy regular expression pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)"


def _tag_key_faults(key: str) -> Iterator[str]:
    length = _length_fault(key, 1, 128)
    if length:
        yield f"Map keys must satisfy constraint: {length}"
    elif not _is_tag_text(key):
        yield f"Map keys must satisfy constraint: {_TAG_PATTERN}"
    elif key.lower().startswith("aws:"):
        yield "Map keys must not start with aws:, which is reserved"


def _is_tag_text(text: str) -> bool:
    """Tell whether all characters are letters, separators, numbers or ``_.:/=+-@``."""
    return all(char in _TAG_PUNCTUATION or unicodedata.category(char)[0] in "LZN" for char in text)


def _length_fault(text: str, least: int | None, most: int | None) -> str | None:
    if least is not None and len(text) < least:
        return f"Member must have length greater than or equal to {least}"
    if most is not None and len(text) > most:
        return f"Member must have length less than or equal to {most}"
    return None


def _is_unicode(text: str) -> bool:
    """Tell whether the text can be stored: JSON can escape halves of surrogate pairs, which no encoding takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(name: str, constraint: str) -> tuple[str, str]:
    return name, f"Value at '{name}' failed to satisfy constraint: {constraint}"
