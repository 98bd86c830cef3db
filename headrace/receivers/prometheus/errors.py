"""Why a scrape failed."""

from __future__ import annotations

from headrace.pipeline.errors import HeadraceError


class ScrapeFailed(HeadraceError):  # noqa: N818 -- named for the condition
    """A scrape brought no samples: ``up`` is 0, and what the last one brought is stale.

    Args:
        reason: For the counter: ``timeout``, ``connection``, ``http_status``, ``content_type``, ``encoding``,
            ``body_size_limit``, ``parse``, ``invalid_series``, ``sample_limit``, ``label_limit``, ``target_limit``.
        why: In words.
    """

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason
        self.scraped = 0
        """Samples of the page, where it could be read."""
        self.kept = 0
        """Samples after metric relabelling, where it came to that."""
        self.size_bytes = 0
        """Bytes of the page; -1 where they were too many."""
