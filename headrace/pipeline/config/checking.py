"""Check settings against the model of a component, and put what is wrong into words, each mistake at its place."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from headrace.pipeline.config.elsewhere import why_no_setting
from headrace.pipeline.config.faults import hint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

    from headrace.pipeline.config.faults import Path
    from headrace.pipeline.config.source import Document

UNKNOWN = "unknown setting"
"""How what is told of a setting begins that no model has."""

_OF_TEXT = {"string_type", "secret_type", "literal_error", "enum"}
"""Errors of settings that are text, when they get something else."""

_WORDS = {
    **dict.fromkeys(("dict_type", "model_type", "mapping_type"), "must be a mapping"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "must be a list"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    "string_type": "must be a string",
}
"""Our words for pydantic's."""


def checked(
    model: type[BaseModel], body: dict[str, Any], path: Path, document: Document, tell: Callable[[Path, str], None]
) -> Any:
    """Return the settings as an instance of `model`; None where something is wrong.

    Args:
        model: What they have to be.
        body: What was written.
        path: Where they stand in the configuration.
        document: The configuration.
        tell: Called with place and reason of each mistake.
    """
    refused: list[Path] = []
    while True:
        try:
            found = model.model_validate(body)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        else:
            return None if refused else found
        reasons = {(*one["loc"], name): why for one in errors for name, why in _refused(one).items()}
        for place, why in reasons.items():
            tell((*path, *_known_part(document, path, place)), f"not supported: {why}")
        refused += reasons
        # A model that refuses a setting looks at none of the others: they are checked without it.
        left = _without(body, [*reasons, *(one["loc"] for one in errors if _says_nothing(path, one))])
        left = _with_texts(left, [one["loc"] for one in errors if one["type"] in _OF_TEXT], path, document)
        if left == body:
            break
        body = left
    for one in errors:
        if not _refused(one) and not _follows(one, errors, refused):
            tell(*_worded(one, model, path, document))
    return None


def _refused(error: ErrorDetails) -> dict[str, str]:
    """Return the settings that `refuse` found, each with the reason; they stand beside each other."""
    found: dict[str, str] = (error.get("ctx") or {}).get("settings", {}) if error["type"] == "unsupported" else {}
    return found


def _why_none(path: Path, error: ErrorDetails) -> str:
    """Return why there is no such setting, where that is known."""
    section, name = (*path, "", "")[:2]
    return why_no_setting(str(section), str(name).partition("/")[0], error["loc"])


def _says_nothing(path: Path, error: ErrorDetails) -> bool:
    """Tell whether a setting that others have is set to what it is by default."""
    return error["type"] == "extra_forbidden" and not error["input"] and bool(_why_none(path, error))


def _without(body: Any, paths: Sequence[Path]) -> Any:
    """Return `body` without the values at `paths`; parts of these that are no keys are passed over."""
    if not isinstance(body, dict | list) or not paths:
        return body
    below = list(_below(body, paths))
    items = list(body.items() if isinstance(body, dict) else enumerate(body))
    kept = [
        (key, _without(value, [rest for name, rest in below if name == key]))
        for key, value in items
        if (key, ()) not in below
    ]
    return dict(kept) if isinstance(body, dict) else [value for _, value in kept]


def _with_texts(body: Any, paths: Iterable[Path], path: Path, document: Document) -> Any:
    """Return `body` with what was written at `paths` instead of the number or the like that was read there."""
    for loc in paths:
        known = _known_part(document, path, loc)
        text = document.texts.get((*path, *known))
        if text is not None:
            body = _put(body, known, text)
    return body


def _put(body: Any, path: Path, value: str) -> Any:
    """Return `body` with `value` at `path`; as it is where there is nothing."""
    if not path:
        return value
    key, *rest = path
    if isinstance(body, dict) and key in body:
        return {**body, key: _put(body[key], tuple(rest), value)}
    if isinstance(body, list) and isinstance(key, int) and key < len(body):
        return [_put(one, tuple(rest), value) if i == key else one for i, one in enumerate(body)]
    return body


def _below(body: dict[str, Any] | list[Any], paths: Sequence[Path]) -> Iterator[tuple[str | int, Path]]:
    """Yield the first key of each path that `body` has, and what follows it."""
    keys = set(body) if isinstance(body, dict) else set(range(len(body)))
    for path in paths:
        at = next((i for i, part in enumerate(path) if part in keys), None)
        if at is not None:
            yield path[at], path[at + 1 :]


def _follows(error: ErrorDetails, errors: Sequence[ErrorDetails], refused: Sequence[Path]) -> bool:
    """Tell whether a mistake is one only because of another: a list too short, settings that need one refused."""
    loc, kind = error["loc"], error["type"]
    if kind == "too_short":
        return any(len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in errors)
    block = loc[:-1] if kind == "missing" else loc
    return kind in {"missing", "value_error"} and any(one[:-1] == block for one in refused)


def _worded(error: ErrorDetails, model: type[BaseModel], path: Path, document: Document) -> tuple[Path, str]:
    """Put one of pydantic's errors into our words, with its place."""
    where = (*path, *_known_part(document, path, error["loc"]))
    kind = error["type"]
    context = error.get("ctx") or {}
    if kind == "extra_forbidden":
        why = _why_none(path, error)
        return (*path, *error["loc"]), f"not supported: {why}" if why else f"{UNKNOWN}{_meant(error, model)}"
    if kind == "missing":
        return (*path, *error["loc"]), "is required"
    if kind == "value_error":
        return where, str(context.get("error", error["msg"]))
    if kind in {"duration", "size", "secret_type", "unsupported"}:
        return where, error["msg"]
    if kind == "too_short":
        return where, f"must have at least {context['min_length']}, got {_short(error['input'])}"
    given = "" if _secret(error) else f", got {_short(error['input'])}"
    text = _WORDS.get(kind) or error["msg"].replace("Input should be", "must be").replace("String should", "must")
    return where, text + given


def _meant(error: ErrorDetails, model: type[BaseModel]) -> str:
    """Return what an unknown setting may have been meant to be, or what there is."""
    fields = _fields(model, error["loc"][:-1])
    return hint(str(error["loc"][-1]), fields) or (f" (there: {', '.join(sorted(fields))})" if fields else "")


def _secret(error: ErrorDetails) -> bool:
    return any(re.search(r"secret|password|token|credential|authorization", str(part)) for part in error["loc"])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _known_part(document: Document, path: Path, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Leave out the names of union members that pydantic puts between keys."""
    kept: tuple[str | int, ...] = ()
    for part in loc:
        if (*path, *kept, part) in document.places:
            kept = (*kept, part)
    return kept


def _fields(model: Any, loc: tuple[str | int, ...]) -> set[str]:
    """Return the settings of the model at `loc`, as far as it can be followed."""
    for part in loc:
        if not isinstance(part, str):
            continue
        found = _field(model, part)
        inner = _model_in(found.annotation) if found is not None else None
        if inner is not None:
            model = inner
    fields = getattr(model, "model_fields", {})
    return {one.alias or name for name, one in fields.items()}


def _field(model: Any, name: str) -> Any:
    fields = getattr(model, "model_fields", {})
    return fields.get(name) or next((one for one in fields.values() if one.alias == name), None)


def _model_in(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    for one in getattr(annotation, "__args__", ()):
        found = _model_in(one)
        if found is not None:
            return found
    return None
