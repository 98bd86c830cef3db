"""The endpoints about scrape targets."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml

from headrace.pipeline.errors import HeadraceError
from headrace.pipeline.targets import Targets
from headrace.store.api import params, status
from headrace.store.api.envelope import encode
from headrace.store.api.errors import ApiError, invalid_parameter
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.pipeline.targets import ActiveTarget, PoolFacts, TargetsSource
    from headrace.store.api.backend import SelectorParser
    from headrace.store.matchers import Matcher


class TargetApi:
    """Handlers.

    Args:
        source: Who scrapes; None for nobody.
        parse_selector: Parses ``match_target``.
    """

    def __init__(self, source: TargetsSource | None, parse_selector: SelectorParser) -> None:
        self._source = source
        self._parse_selector = parse_selector

    async def targets(self, request: Request) -> Reply:
        """Return the targets, those that relabelling dropped among them."""
        form = await request.form()
        return Reply(encode(status.targets(self._source, form.get("state"), form.get("scrapePool"))))

    async def pools(self, request: Request) -> Reply:
        """Return the names of the scrape jobs."""
        del request
        found = self._found()
        names = {*found.pools, *found.dropped_counts, *(target.scrape_pool for target in found.active)}
        return Reply(encode({"scrapePools": sorted(names)}))

    async def pool_config(self, request: Request) -> Reply:
        """Return the settings of one scrape job, without secrets."""
        pool = self._pool(await request.form())
        return Reply(encode({"yaml": yaml.safe_dump(dict(pool.config()), sort_keys=False)}))

    async def relabel_steps(self, request: Request) -> Reply:
        """Return what each relabelling rule of a job makes of a label set."""
        form = await request.form()
        if not form.get("scrapePool"):
            raise ApiError("bad_data", "no scrapePool parameter provided")
        if not form.get("labels"):
            raise ApiError("bad_data", "no labels parameter provided")
        labels = _label_set(form.get("labels"))
        return Reply(encode({"steps": [asdict(step) for step in self._pool(form).relabel(labels)]}))

    async def metadata(self, request: Request) -> Reply:
        """Return what targets say about their metrics."""
        form = await request.form()
        limit = params.number_parameter(form, "limit", -1)
        matchers = self._matchers(form)
        metric = form.get("metric")
        rows: list[dict[str, Any]] = []
        for target in self._found().active:
            if 0 <= limit <= len(rows):
                break
            if all(matcher.matches(target.labels.get(matcher.name, "")) for matcher in matchers):
                rows += _rows(target, metric)
        return Reply(encode(rows))

    def _found(self) -> Targets:
        return self._source.targets() if self._source else Targets()

    def _matchers(self, form: Form) -> Sequence[Matcher]:
        text = params.go_text(form.get("match_target"))
        if not text:
            return ()
        try:
            return self._parse_selector(text)
        except HeadraceError as error:
            raise invalid_parameter("match_target", str(error)) from None

    def _pool(self, form: Form) -> PoolFacts:
        name = form.get("scrapePool")
        if not name:
            raise ApiError("bad_data", "no scrapePool parameter provided")
        found = self._found().pools.get(name)
        if found is None:
            why = f"scrape pool {go_quote(name)} not found"
            raise ApiError("bad_data", f"error retrieving scrape config: {why}")
        return found


def _rows(target: ActiveTarget, metric: str) -> Iterator[dict[str, Any]]:
    """Yield the metadata of one target: of all its families, or without the name of the one that is asked for."""
    families = sorted(target.metadata) if not metric else [metric] if metric in target.metadata else []
    for family in families:
        one = target.metadata[family]
        row = {"target": dict(target.labels)} | ({} if metric else {"metric": family})
        yield row | {"type": one.type.text, "help": one.help, "unit": one.unit}


def _label_set(text: str) -> Mapping[str, str]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ApiError("bad_data", f"error parsing labels: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ApiError("bad_data", "error parsing labels: an object of strings is expected")
    return {name: value for name, value in found.items() if value}
