"""The documentation holds together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import check_links

if TYPE_CHECKING:
    from pathlib import Path


def test_no_link_is_broken() -> None:
    """Every relative link of the Markdown files leads to a file, and every fragment to a heading."""
    assert check_links.broken() == []


def test_the_index_names_every_page() -> None:
    """Of docs; a folder is named by its own index."""
    docs = check_links.ROOT / "docs"
    index = docs / "README.md"
    named = {(docs / link.partition("#")[0]).resolve() for _, link in check_links.links(index)}
    pages = [path for path in docs.rglob("*.md") if path.parent.name != "adr" or path.name == "README.md"]
    assert [path.name for path in pages if path != index and path not in named] == []


def test_every_configuration_is_told_about() -> None:
    """Files to start from are listed where configuration is described."""
    page = check_links.ROOT / "docs" / "configuration.md"
    named = {(page.parent / link.partition("#")[0]).resolve() for _, link in check_links.links(page)}
    configs = check_links.ROOT / "configs"
    files = [*configs.glob("*.yaml"), configs / "collector", configs / "bad"]
    assert [path.name for path in files if path not in named] == []


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(check_links, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One `two`, three!\n\n## Again\n\n## Again\n\n```\n[code](nowhere)\n```\n\n[a](other.md)\n")
    return page


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("page.md", None),
        ("#one-two-three", None),
        ("page.md#again-1", None),
        ("https://example.org/nowhere", None),
        ("mailto:somebody@example.org", None),
        ("other.md", "no such file"),
        ("#again-2", "no such heading"),
        ("../outside.md", "leaves the checkout"),
    ],
)
def test_what_counts_as_broken(page: Path, link: str, why: str | None) -> None:
    """Files and headings are looked for, other sites are not."""
    assert check_links.fault(page, link) == why


def test_links_in_code_are_text(page: Path) -> None:
    """A link inside a code block is no link; one in a paragraph is found with its line."""
    assert list(check_links.links(page)) == [(11, "other.md")]
