"""Check the links of the project's Markdown files, without a network.

A relative link has to lead to a file or folder of the checkout, and its fragment to a heading of that
file. Links to other sites are left alone: whether they answer is not a property of this checkout.

Usage: ``python scripts/check_links.py`` prints each broken link as ``file:line: link: why``; exit code 1.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
MARKDOWN = MarkdownIt("commonmark").enable("table")


def documents() -> list[Path]:
    """Return the Markdown files that people read: those at the root, and all under docs, changes and bench."""
    return sorted(
        [*ROOT.glob("*.md"), *(path for part in ("docs", "changes", "bench") for path in (ROOT / part).rglob("*.md"))]
    )


def slug(heading: str) -> str:
    """Return the fragment that code forges give a heading: lower case, punctuation dropped, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def plain_text(inline: Token) -> str:
    """Return the text of a heading without its markup."""
    return "".join(child.content for child in inline.children or [] if child.type in {"text", "code_inline"})


@cache
def fragments(path: Path) -> frozenset[str]:
    """Return the fragments that lead into `path`; a repeated heading gets ``-1``, the next ``-2``."""
    tokens = MARKDOWN.parse(path.read_text())
    found: list[str] = []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            base = slug(plain_text(inline))
            repeats = sum(one == base or re.fullmatch(rf"{re.escape(base)}-\d+", one) is not None for one in found)
            found.append(f"{base}-{repeats}" if repeats else base)
    return frozenset(found)


def links(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, target) of each link and image in `path`, code left out."""
    for block in MARKDOWN.parse(path.read_text()):
        for child in block.children or []:
            target = child.attrGet("href") or child.attrGet("src")
            if isinstance(target, str):
                yield (block.map or [0])[0] + 1, target


def fault(source: Path, link: str) -> str | None:
    """Return why `link` in `source` leads nowhere, or None where it does not."""
    if re.match(r"[a-z][a-z+.-]*:", link):
        return None
    name, _, fragment = unquote(link).partition("#")
    target = (source.parent / name).resolve() if name else source
    if not target.is_relative_to(ROOT):
        return "leaves the checkout"
    if not target.exists():
        return "no such file"
    if fragment and target.suffix == ".md" and fragment not in fragments(target):
        return "no such heading"
    return None


def broken() -> list[str]:
    """Return all broken links, as lines to print."""
    return [
        f"{path.relative_to(ROOT)}:{line}: {link}: {why}"
        for path in documents()
        for line, link in links(path)
        if (why := fault(path, link))
    ]


if __name__ == "__main__":
    lines = broken()
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(bool(lines))
