"""Editors of maps and texts: each takes what is at a path, and the other arguments, and returns what is to be there.

They return new objects: what they are given may belong to other series too.
"""

from __future__ import annotations

from typing import Any

from headrace.pipeline.errors import InvalidInput
from headrace.pipeline.ottl.arguments import Function, glob
from headrace.pipeline.ottl.values import need_int, need_list, need_map, need_text
from headrace.pipeline.regex import replace_all, unanchored

_MAX_DEPTH = 32


def _delete_key(target: Any, key: Any) -> Any:
    name = need_text(key, "delete_key")
    return {k: v for k, v in need_map(target, "delete_key").items() if k != name}


def _delete_matching(target: Any, pattern: Any) -> Any:
    matches = unanchored(need_text(pattern, "delete_matching_keys")).search
    return {k: v for k, v in need_map(target, "delete_matching_keys").items() if matches(k) is None}


def _keep_keys(target: Any, keys: Any) -> Any:
    names = {need_text(key, "keep_keys") for key in need_list(keys, "keep_keys")}
    return {k: v for k, v in need_map(target, "keep_keys").items() if k in names}


def _keep_matching(target: Any, pattern: Any) -> Any:
    matches = unanchored(need_text(pattern, "keep_matching_keys")).search
    return {k: v for k, v in need_map(target, "keep_matching_keys").items() if matches(k) is not None}


def _limit(target: Any, limit: Any, priority_keys: Any) -> Any:
    attributes, most = need_map(target, "limit"), need_int(limit, "limit")
    first = [need_text(key, "limit") for key in need_list(priority_keys, "limit")]
    if most < 0 or most < len(first):
        raise InvalidInput("limit: the limit is negative, or below the number of priority keys")
    order = [*(key for key in first if key in attributes), *(key for key in attributes if key not in first)]
    return {key: attributes[key] for key in order[:most]}


def _truncate_all(target: Any, limit: Any) -> Any:
    most = need_int(limit, "truncate_all")
    if most < 0:
        raise InvalidInput("truncate_all: the limit is negative")
    return {k: _cut(v, most) if isinstance(v, str) else v for k, v in need_map(target, "truncate_all").items()}


def _cut(text: str, size: int) -> str:
    """Cut to `size` bytes of UTF-8, not through a character."""
    return text.encode("utf-8", "surrogatepass")[:size].decode("utf-8", "ignore")


def _replace_pattern(target: Any, pattern: Any, replacement: Any) -> Any:
    if not isinstance(target, str):
        return target
    return replace_all(
        unanchored(need_text(pattern, "replace_pattern")), need_text(replacement, "replace_pattern"), target
    )


def _replace_match(target: Any, pattern: Any, replacement: Any) -> Any:
    matched = isinstance(target, str) and glob(need_text(pattern, "replace_match")).search(target) is not None
    return need_text(replacement, "replace_match") if matched else target


def _replace_all_patterns(target: Any, mode: Any, pattern: Any, replacement: Any) -> Any:
    found = unanchored(need_text(pattern, "replace_all_patterns"))
    template = need_text(replacement, "replace_all_patterns")
    attributes = need_map(target, "replace_all_patterns")
    if mode == "key":
        return {replace_all(found, template, key): value for key, value in attributes.items()}
    if mode != "value":
        raise InvalidInput(f"replace_all_patterns: the mode is key or value, not {mode!r}")
    return {k: replace_all(found, template, v) if isinstance(v, str) else v for k, v in attributes.items()}


def _replace_all_matches(target: Any, pattern: Any, replacement: Any) -> Any:
    attributes = need_map(target, "replace_all_matches")
    return {key: _replace_match(value, pattern, replacement) for key, value in attributes.items()}


def _merge_maps(target: Any, source: Any, strategy: Any) -> Any:
    into, more = need_map(target, "merge_maps"), need_map(source, "merge_maps")
    if strategy == "insert":
        return {**more, **into}
    if strategy == "update":
        return {key: more.get(key, value) for key, value in into.items()}
    if strategy == "upsert":
        return {**into, **more}
    raise InvalidInput(f"merge_maps: the strategy is insert, update or upsert, not {strategy!r}")


def _flatten(target: Any, prefix: Any, depth: Any) -> Any:
    before = "" if prefix is None else need_text(prefix, "flatten")
    deepest = _MAX_DEPTH if depth is None else need_int(depth, "flatten")
    if deepest < 0:
        raise InvalidInput("flatten: the depth is negative")
    out: dict[str, Any] = {}
    _flatten_into(out, need_map(target, "flatten"), f"{before}." if before else "", min(deepest, _MAX_DEPTH))
    return out


def _flatten_into(out: dict[str, Any], value: Any, prefix: str, depth: int) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in items:
        if isinstance(one, dict | list) and one and depth > 0:
            _flatten_into(out, one, f"{prefix}{key}.", depth - 1)
        else:
            out[f"{prefix}{key}"] = one


def _append(target: Any, value: Any, values: Any) -> Any:
    before = [] if target is None else target if isinstance(target, list) else [target]
    return [*before, *([] if value is None else [value]), *([] if values is None else need_list(values, "append"))]


EDITORS: dict[str, Function] = {
    "delete_key": Function(_delete_key, ("target", "key"), 2),
    "delete_matching_keys": Function(_delete_matching, ("target", "pattern"), 2, (1,)),
    "keep_keys": Function(_keep_keys, ("target", "keys"), 2),
    "keep_matching_keys": Function(_keep_matching, ("target", "pattern"), 2, (1,)),
    "limit": Function(_limit, ("target", "limit", "priority_keys"), 3),
    "truncate_all": Function(_truncate_all, ("target", "limit"), 2),
    "replace_pattern": Function(_replace_pattern, ("target", "regex", "replacement"), 3, (1,)),
    "replace_match": Function(_replace_match, ("target", "pattern", "replacement"), 3, globs=(1,)),
    "replace_all_patterns": Function(_replace_all_patterns, ("target", "mode", "regex", "replacement"), 4, (2,)),
    "replace_all_matches": Function(_replace_all_matches, ("target", "pattern", "replacement"), 3, globs=(1,)),
    "merge_maps": Function(_merge_maps, ("target", "source", "strategy"), 3),
    "flatten": Function(_flatten, ("target", "prefix", "depth"), 1),
    "append": Function(_append, ("target", "value", "values"), 1),
}
"""Editors that turn the value at a path (their first argument) into another; ``set`` is a matter of the compiler."""
