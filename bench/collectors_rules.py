"""Entries of the harness that scrape with more rules than its five."""

from __future__ import annotations

from typing import Any

USUAL_RULES = 5
SUFFIX = "+rules"

_KINDS = (
    "  - source_labels: [__name__]\n    regex: 'legacy{i}_.*|old{i}_.*'\n    action: drop\n",
    "  - source_labels: [__name__, code]\n    regex: 'http_requests_total;9{i}.'\n    action: drop\n",
    "  - regex: 'gone{i}_.*|uid{i}'\n    action: labeldrop\n",
    "  - source_labels: [path]\n    regex: '/api/v{j}/([^/]+)/.*'\n    target_label: api{i}\n    replacement: '$1'\n",
    (
        "  - source_labels: [method, code]\n    separator: ':'\n    regex: '(.+):9{i}(.+)'\n"
        "    target_label: code{i}\n    replacement: '$1:$2'\n"
    ),
)


def with_rules(entries: dict[str, Any], count: int) -> dict[str, Any]:
    """Return those of `entries` that scrape, under other names, with `count` rules instead of five."""
    rules = more_rules(count - USUAL_RULES)
    made = {}
    for name, entry in entries.items():
        scrape = entry["scenarios"].get("scrape_100k")
        if scrape is not None:
            files = {file: _more(text, rules) for file, text in scrape["files"].items()}
            made[f"{name}{SUFFIX}{count}"] = {**entry, "scenarios": {"scrape_100k": {**scrape, "files": files}}}
    return made


def _more(text: str, rules: str) -> str:
    return text.replace("@SCRAPE_CONFIGS@\n", f"@SCRAPE_CONFIGS@\n{rules}")


def more_rules(count: int) -> str:
    """Return rules of the kinds of the usual five that change nothing, so that programs deliver the same with them."""
    return "".join(_KINDS[i % len(_KINDS)].format(i=i, j=i + 2) for i in range(count))
