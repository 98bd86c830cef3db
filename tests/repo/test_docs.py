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
