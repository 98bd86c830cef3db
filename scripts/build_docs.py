"""Build the documentation as plain HTML, offline.

Every page under docs becomes a page of the site, and one reference page a kind of component is written
from the configuration models: the field docstrings are the user documentation. The JSON Schema of configurations stands
beside them as ``headrace.schema.json``. Broken links fail the build.

Usage: ``python scripts/build_docs.py --output build/docs``
"""

from __future__ import annotations

import argparse
import html
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import sys
import typing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

import check_links
from headrace.cli.registry import ComponentRegistry
from headrace.cli.schema import schema
from headrace.pipeline.config import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

DOCS = check_links.ROOT / "docs"
KINDS = ("receivers", "processors", "exporters", "connectors", "extensions")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title} · Headrace</title>
<style>
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.5 sans-serif }}
nav {{ border-bottom: 1px solid #ccc; padding-bottom: .5rem }}
pre, code {{ font-size: 14px; background: #f4f4f4 }}
pre {{ padding: .7rem; overflow-x: auto }}
table {{ border-collapse: collapse }}
td, th {{ border: 1px solid #ccc; padding: .2rem .6rem; text-align: left; vertical-align: top }}
</style>
<nav><a href="{home}">Headrace documentation</a></nav>
{body}
</html>
"""


def main() -> int:
    """Build the site; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to write, replaced where it exists")
    output = parser.parse_args().output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    pages = 0
    for source in sorted(DOCS.rglob("*.md")):
        write_page(output, source.relative_to(DOCS), source.read_text())
        pages += 1
    for kind in KINDS:
        write_page(output, Path("reference", f"{kind}.md"), reference(kind))
        pages += 1
    shutil.copytree(DOCS / "images", output / "images")
    (output / "headrace.schema.json").write_text(json.dumps(schema(ComponentRegistry()), indent=2) + "\n")
    lines = check_links.broken()
    print(*lines, sep="\n", end="\n" if lines else "", file=sys.stderr)
    print(f"docs: {pages} pages in {output}, {len(lines)} broken links")
    return 1 if lines else 0


def write_page(output: Path, name: Path, text: str) -> None:
    """Write the page of the Markdown `text` that stands, or would stand, at ``docs/name``."""
    path = output / page_name(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokens = check_links.MARKDOWN.parse(text)
    title = str(name)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            heading = check_links.plain_text(inline)
            opening.attrSet("id", check_links.slug(heading))
            title = heading if opening.tag == "h1" else title
        for child in inline.children or []:
            relink(child, DOCS / name, path)
    renderer = check_links.MARKDOWN.renderer
    body = renderer.render(tokens, check_links.MARKDOWN.options, {})
    home = os.path.relpath(output / "index.html", path.parent)
    path.write_text(PAGE.format(title=html.escape(title), home=home, body=body))


def page_name(name: Path) -> Path:
    """Return where the page of a document goes: a README is its folder's index."""
    return name.with_name("index.html") if name.name == "README.md" else name.with_suffix(".html")


def relink(token: Token, source: Path, page: Path) -> None:
    """Point a link at the page of its target, or at the target in the checkout where that has none."""
    link = token.attrGet("href")
    if not isinstance(link, str) or re.match(r"[a-z][a-z+.-]*:|#", link):
        return
    name, mark, fragment = link.partition("#")
    target = (source.parent / name).resolve()
    if target.suffix == ".md" and target.is_relative_to(DOCS):
        token.attrSet("href", str(page_name(Path(name))) + mark + fragment)
    else:
        token.attrSet("href", os.path.relpath(target, page.parent) + mark + fragment)


def reference(kind: str) -> str:
    """Return the Markdown page of all built-in components of one kind."""
    parts = [f"# Built-in {kind}\n"]
    package = importlib.import_module(f"headrace.{kind}")
    for module in pkgutil.iter_modules(package.__path__, f"headrace.{kind}."):
        factory = getattr(importlib.import_module(module.name), "FACTORY", None)
        if factory is not None:
            parts.append(component_section(module.name, factory))
    return "\n".join(parts)


def component_section(module: str, factory: Any) -> str:
    """Return the section of one component: what its module says of itself, and its settings."""
    text = inspect.cleandoc(sys.modules[module].__doc__ or "").replace("``", "`")
    lines = [f"## {factory.name}\n", text, ""]
    rows = list(settings(factory.config))
    if rows:
        lines += ["| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    return "\n".join(lines)


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield a table row for each setting of `model`, those of models inside it after their own row."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        default = "required" if field.is_required() else f"`{shown_default(field)}`"
        meaning = " ".join((field.description or "").replace("``", "`").split())
        cells = (f"`{key}`", f"`{shown_type(field.annotation)}`", default, meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        for inner in inner_models(field.annotation):
            if inner is not model:
                yield from settings(inner, f"{key}.")


def shown_default(field: Any) -> str:
    """Return a default as a person would write it in YAML."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, timedelta):
        return format_duration(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value) or '""'


def shown_type(annotation: object) -> str:
    """Return a type without the modules it comes from."""
    text = annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text).replace("timedelta", "duration")


def inner_models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a setting's type contains."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in typing.get_args(annotation):
        yield from inner_models(part)


if __name__ == "__main__":
    sys.exit(main())
