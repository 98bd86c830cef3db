"""Converters: functions that make a value of values."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from typing import Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.arguments import Function
from headrace.pipeline.ottl.values import (
    compare,
    need_int,
    need_list,
    need_map,
    need_text,
    text_of,
    type_name,
)
from headrace.pipeline.regex import unanchored

TIMES = frozenset({
    "Now", "Time", "UnixNano", "UnixMicro", "UnixMilli", "UnixSeconds", "Unix", "Duration", "FormatTime",
    "TruncateTime",    "Year", "Month", "Day", "Hour", "Minute", "Second", "Weekday",
})  # fmt: skip
"""Converters of times, which are not supported: what is decided about a series holds for as long as it lives."""

_VERB = re.compile(r"%(%|[-+ #0]*\d*(?:\.\d+)?[a-zA-Z])")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]|\d+")
_MAX_TEXT = 1 << 20
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


def is_match(target: Any, pattern: Any) -> bool:
    """Tell whether `pattern` matches somewhere in a value as text; nil matches nothing."""
    found = unanchored(need_text(pattern, "IsMatch"))
    return target is not None and found.search(text_of(target)) is not None


def _concat(values: Any, delimiter: Any) -> str:
    texts = ["<nil>" if one is None else text_of(one) for one in need_list(values, "Concat")]
    return need_text(delimiter, "Concat").join(texts)


def _split(target: Any, delimiter: Any) -> list[str]:
    text, by = need_text(target, "Split"), need_text(delimiter, "Split")
    return text.split(by) if by else list(text)


def _substring(target: Any, start: Any, length: Any) -> str:
    text, first, count = need_text(target, "Substring"), need_int(start, "Substring"), need_int(length, "Substring")
    if first < 0 or count <= 0 or first + count > len(text):
        raise InvalidInput(f"Substring {first}, {count} is beyond a text of {len(text)}")
    return text[first : first + count]


def _int(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None
    if isinstance(value, float):
        return int(value) if abs(value) < 2**63 else None
    return int(value) if isinstance(value, bool | int) else None


def _double(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value) if isinstance(value, str) and "_" not in value else None
    except ValueError:
        return None


def _string(value: Any) -> str | None:
    return None if value is None else text_of(value)


def _bool(value: Any) -> bool | None:
    if isinstance(value, str):
        texts = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}
        return texts.get(value.lower())
    return bool(value) if isinstance(value, bool | int | float) else None


def _len(value: Any) -> int:
    if not isinstance(value, str | bytes | list | dict):
        raise InvalidInput(f"Len takes a string, list or map, not {type_name(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _trim(target: Any, characters: Any) -> str:
    return need_text(target, "Trim").strip(" " if characters is None else need_text(characters, "Trim"))


def _convert_case(target: Any, to: Any) -> str:
    text, case = need_text(target, "ConvertCase"), need_text(to, "ConvertCase")
    if case not in _CASES:
        raise InvalidInput(f"ConvertCase knows {', '.join(_CASES)}, not {case!r}")
    return _CASES[case](text)


def _snake(text: str) -> str:
    return "_".join(word.lower() for word in _WORDS.findall(text))


def _camel(text: str) -> str:
    return "".join(word[:1].upper() + word[1:].lower() for word in _WORDS.findall(text))


_CASES = {"lower": str.lower, "upper": str.upper, "snake": _snake, "camel": _camel}


def _digest(name: str, algorithm: str) -> Function:
    def run(value: Any) -> str:
        return hashlib.new(algorithm, need_text(value, name).encode(), usedforsecurity=False).hexdigest()

    return Function(run, ("target",), 1)


def _fnv(value: Any) -> int:
    number = _FNV_OFFSET
    for byte in need_text(value, "FNV").encode():
        number = ((number ^ byte) * _FNV_PRIME) % 2**64
    return number - 2**64 if number >= 2**63 else number


def _log(value: Any) -> float:
    number = _double(value)
    if number is None or number <= 0:
        raise InvalidInput("Log takes a number above 0")
    return math.log(number)


def _format(template: Any, values: Any) -> str:
    arguments = iter(need_list(values, "Format"))

    def verb(match: re.Match[str]) -> str:
        spec = match.group(1)
        return "%" if spec == "%" else _formatted(spec, next(arguments, None))

    made = _VERB.sub(verb, need_text(template, "Format"))
    if len(made) > _MAX_TEXT:
        raise InvalidInput(f"Format makes a text of more than {_MAX_TEXT} characters")
    return made


def _formatted(spec: str, value: Any) -> str:
    flags, kind = spec[:-1], spec[-1]
    if len(flags) > 8 or re.search(r"\d{4}", flags):
        raise InvalidInput(f"Format: %{spec} is too wide")
    if kind in "vs":
        return ("%" + flags + "s") % ("<nil>" if value is None else text_of(value))
    if kind == "q":
        return json.dumps(text_of(value), ensure_ascii=False)
    if kind not in "dxXofeEgG" or not isinstance(value, int | float):
        raise InvalidInput(f"Format: %{spec} does not take {type_name(value)}")
    try:
        return ("%" + spec) % value
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"Format: %{spec} does not take {value!r}") from None


def _extract_patterns(target: Any, pattern: Any) -> dict[str, str]:
    found = unanchored(need_text(pattern, "ExtractPatterns"))
    if not found.groupindex:
        raise InvalidInput("ExtractPatterns: at least one named group is needed")
    match = found.search(need_text(target, "ExtractPatterns"))
    return {} if match is None else {name: match.group(name) or "" for name in found.groupindex}


def _parse_json(target: Any) -> Any:
    try:
        return json.loads(need_text(target, "ParseJSON"))
    except (ValueError, RecursionError):
        raise InvalidInput("ParseJSON: this is no JSON") from None


def _base64(target: Any) -> str:
    try:
        return base64.b64decode(need_text(target, "Base64Decode"), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidInput("Base64Decode: this is no text in base64") from None


def _contains(target: Any, item: Any) -> bool:
    return any(compare("==", one, item) for one in need_list(target, "ContainsValue"))


def _index(target: Any, item: Any) -> int:
    if isinstance(target, str):
        return target.find(need_text(item, "Index"))
    places = [i for i, one in enumerate(need_list(target, "Index")) if compare("==", one, item)]
    return places[0] if places else -1


def _is(*types: str) -> Function:
    return Function(lambda value: type_name(value) in types, ("value",), 1)


def _text(name: str, run: Any, *more: str) -> Function:
    """Declare a function of strings alone."""

    def checked(*texts: Any) -> Any:
        return run(*(need_text(text, name) for text in texts))

    return Function(checked, ("target", *more), 1 + len(more))


CONVERTERS: dict[str, Function] = {
    "IsMatch": Function(is_match, ("target", "pattern"), 2, (1,)),
    "Concat": Function(_concat, ("values", "delimiter"), 2),
    "Split": Function(_split, ("target", "delimiter"), 2),
    "Substring": Function(_substring, ("target", "start", "length"), 3),
    "Int": Function(_int, ("value",), 1),
    "Double": Function(_double, ("value",), 1),
    "String": Function(_string, ("value",), 1),
    "Bool": Function(_bool, ("value",), 1),
    "IsString": _is("string"),
    "IsInt": _is("int"),
    "IsDouble": _is("double"),
    "IsBool": _is("bool"),
    "IsMap": _is("map"),
    "IsList": _is("list"),
    "Len": Function(_len, ("target",), 1),
    "Trim": Function(_trim, ("target", "replacement"), 1),
    "TrimPrefix": _text("TrimPrefix", str.removeprefix, "prefix"),
    "TrimSuffix": _text("TrimSuffix", str.removesuffix, "suffix"),
    "ToLowerCase": _text("ToLowerCase", str.lower),
    "ToUpperCase": _text("ToUpperCase", str.upper),
    "ToSnakeCase": _text("ToSnakeCase", _snake),
    "ToCamelCase": _text("ToCamelCase", _camel),
    "ConvertCase": Function(_convert_case, ("target", "toCase"), 2),
    "HasPrefix": _text("HasPrefix", str.startswith, "prefix"),
    "HasSuffix": _text("HasSuffix", str.endswith, "suffix"),
    "MD5": _digest("MD5", "md5"),
    "SHA1": _digest("SHA1", "sha1"),
    "SHA256": _digest("SHA256", "sha256"),
    "SHA512": _digest("SHA512", "sha512"),
    "FNV": Function(_fnv, ("target",), 1),
    "Log": Function(_log, ("target",), 1),
    "Format": Function(_format, ("formatString", "formatArguments"), 2),
    "ExtractPatterns": Function(_extract_patterns, ("target", "pattern"), 2, (1,)),
    "ParseJSON": Function(_parse_json, ("target",), 1),
    "Base64Decode": Function(_base64, ("target",), 1),
    "ContainsValue": Function(_contains, ("target", "item"), 2),
    "Index": Function(_index, ("target", "value"), 2),
    "Keys": Function(lambda target: list(need_map(target, "Keys")), ("target",), 1),
    "Values": Function(lambda target: list(need_map(target, "Values").values()), ("target",), 1),
}
"""All converters over plain values."""
