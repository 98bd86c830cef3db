"""A plain second reading of IAM's rules: works on the JSON itself, character by character, and remembers nothing.

Written to be compared with the real evaluator; it shares no code with it.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]
Context = dict[str, Any]


class UnresolvedError(Exception):
    """A variable has no value."""


def decide(identity: list[Json], resource: Json | None, request: Json) -> str:
    """Return ``allowed``, ``explicitDeny`` or ``implicitDeny``."""
    effects = [[s["Effect"] for s in listed(p["Statement"]) if applies(s, p, request)] for p in identity]
    mine = [effect for found in effects for effect in found]
    its = [s["Effect"] for s in listed(resource["Statement"]) if applies(s, resource, request)] if resource else []
    if "Deny" in mine or "Deny" in its:
        return "explicitDeny"
    same = request["account"] == request["resource_account"]
    ok = ("Allow" in mine or "Allow" in its) if same else ("Allow" in mine and "Allow" in its)
    return "allowed" if ok else "implicitDeny"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def applies(s: Json, policy: Json, request: Json) -> bool:
    context = request["context"]
    variables = policy.get("Version") == "2012-10-17"
    action = request["action"].lower()
    if "Action" in s:
        if not any(wild(plain(a.lower()), action) for a in listed(s["Action"])):
            return False
    elif any(wild(plain(a.lower()), action) for a in listed(s["NotAction"])):
        return False
    if "Principal" in s and not principal(s["Principal"], request):
        return False
    if "NotPrincipal" in s and principal(s["NotPrincipal"], request):
        return False
    try:
        # All variables of a statement count, also where nothing hangs on them.
        for text in every_text(s):
            substitute(text, context, variables)
        if "Resource" in s:
            if not any(wild(substitute(r, context, variables), request["resource"]) for r in listed(s["Resource"])):
                return False
        elif any(wild(substitute(r, context, variables), request["resource"]) for r in listed(s["NotResource"])):
            return False
        return all(
            holds(operator.lower(), key.lower(), listed(values), context, variables)
            for operator, keys in s.get("Condition", {}).items()
            for key, values in keys.items()
        )
    except UnresolvedError:
        return False


def every_text(s: Json) -> list[str]:
    texts = listed(s.get("Resource", [])) + listed(s.get("NotResource", []))
    for keys in s.get("Condition", {}).values():
        for values in keys.values():
            texts += [v for v in listed(values) if isinstance(v, str)]
    return texts


def principal(value: Any, request: Json) -> bool:
    if value == "*":
        return True
    arn, account = request["principal_arn"], request["account"]
    names = {"*", arn, account, f"arn:aws:iam::{account}:root"}
    if ":assumed-role/" in arn:
        names.add(f"arn:aws:iam::{arn.split(':')[4]}:role/{arn.split('/')[1]}")
    return any(one in names for one in listed(value["AWS"]))


def plain(text: str) -> list[tuple[str, bool]]:
    return [(c, c in "*?") for c in text]


def substitute(text: str, context: Context, variables: bool) -> list[tuple[str, bool]]:
    """Return characters, each with whether it is a wildcard."""
    out: list[tuple[str, bool]] = []
    i = 0
    while i < len(text):
        if variables and text.startswith("${", i):
            end = text.index("}", i)
            inner = text[i + 2 : end]
            i = end + 1
            if inner in ("*", "?", "$"):
                out.append((inner, False))
                continue
            name, comma, default = inner.partition(",")
            value = context.get(name.strip().lower())
            if value is None and comma:
                value = default.strip().strip("'")
            if not isinstance(value, str):
                raise UnresolvedError
            out += [(c, False) for c in value]
            continue
        out.append((text[i], text[i] in "*?"))
        i += 1
    return out


def wild(pattern: list[tuple[str, bool]], text: str) -> bool:
    """Match by filling a table, row by row."""
    row = [True] + [False] * len(text)
    for char, special in pattern:
        new = [special and char == "*" and row[0]]
        for j, c in enumerate(text):
            if special and char == "*":
                new.append(row[j + 1] or new[j])
            elif special:
                new.append(row[j])
            else:
                new.append(row[j] and char == c)
        row = new
    return row[-1]


def holds(operator: str, key: str, values: list[Any], context: Context, variables: bool) -> bool:
    texts = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    present = context.get(key) not in (None, ())
    if operator == "null":
        return any((t.lower() == "true") != present for t in texts)
    every, some = operator.startswith("forallvalues:"), operator.startswith("foranyvalue:")
    operator = operator.rsplit(":", maxsplit=1)[-1]
    optional = operator.endswith("ifexists")
    operator = operator.removesuffix("ifexists")
    negated = "not" in operator
    operator = operator.replace("not", "")
    if not present:
        return every or (not some and (optional or negated))
    has = context[key] if isinstance(context[key], tuple) else (context[key],)

    def fits(value: str) -> bool:
        return any(compare(operator, value, t, context, variables) for t in texts)

    if every:
        return all(fits(v) != negated for v in has)
    if some:
        return any(fits(v) != negated for v in has)
    return not any(fits(v) for v in has) if negated else any(fits(v) for v in has)


def compare(operator: str, value: str, wanted: str, context: Context, variables: bool) -> bool:
    if operator.startswith("string"):
        pattern = substitute(wanted, context, variables)
        literal = "".join(c for c, _ in pattern)
        if operator == "stringequals":
            return value == literal
        if operator == "stringequalsignorecase":
            return value.lower() == literal.lower()
        return wild(pattern, value)
    if operator.startswith("arn"):
        if wanted == "*":
            wanted = "arn:*:*:*:*:*"
        a, b = value.split(":"), wanted.split(":")
        a, b = [*a[:5], ":".join(a[5:])], [*b[:5], ":".join(b[5:])]
        return len(value.split(":")) >= 6 and all(
            wild(substitute(y, context, variables), x) for x, y in zip(a, b, strict=True)
        )
    if operator == "bool":
        return value.lower() == wanted.lower()
    if operator == "ipaddress":
        try:
            return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
        except ValueError:
            return False
    x, y = number(value, operator), number(wanted, operator)
    if x is None or y is None:
        return False
    return {
        "equals": x == y,
        "lessthan": x < y,
        "lessthanequals": x <= y,
        "greaterthan": x > y,
        "greaterthanequals": x >= y,
    }[operator.removeprefix("numeric").removeprefix("date")]


def number(text: str, operator: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        if operator.startswith("numeric"):
            return None
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
