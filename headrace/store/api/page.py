"""The page at ``/``: what listens where, what is scraped, and a box to ask a query.

Plain HTML, made on the server; one small inline script asks the query API and fills a table by ``textContent``. The
content security policy allows that script by its hash, requests to the same origin, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from aiohttp import web

from headrace.pipeline.http.routes import Route
from headrace.store.api.status import headrace_version, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from headrace.pipeline.http.request import Request
    from headrace.pipeline.targets import ActiveTarget, TargetsSource

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .2rem .6rem .2rem 0; }
th { border-bottom: 1px solid #999; } td { border-bottom: 1px solid #ddd; vertical-align: top; }
code, input, td.text { font-family: ui-monospace, monospace; font-size: .9em; }
input { width: calc(100% - 8rem); padding: .3rem; } button { padding: .3rem 1rem; }
.down { color: #b00; } .up { color: #070; } #note { white-space: pre-wrap; }
"""

_SCRIPT = """
"use strict";
const form = document.getElementById("ask");
const rows = document.getElementById("rows");
const note = document.getElementById("note");
function name(labels) {
  const rest = Object.entries(labels).filter(([key]) => key !== "__name__")
    .map(([key, value]) => key + "=" + JSON.stringify(value));
  return (labels.__name__ || "") + "{" + rest.join(", ") + "}";
}
function row(...cells) {
  const line = rows.insertRow();
  for (const text of cells) {
    const cell = line.insertCell();
    cell.className = "text";
    cell.textContent = text;
  }
}
function show(data) {
  if (data.resultType === "scalar" || data.resultType === "string") {
    row(data.resultType, data.result[1]);
    return;
  }
  for (const series of data.result.slice(0, 1000)) {
    const values = series.values || [series.value];
    row(name(series.metric), values.slice(-20).map(([time, value]) => value + " @" + time).join("\\n"));
  }
  if (data.result.length > 1000) note.textContent = data.result.length + " series, the first 1000 are shown.";
  if (!data.result.length) note.textContent = "No series.";
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  rows.replaceChildren();
  note.textContent = "Asking ...";
  try {
    const query = new URLSearchParams({query: form.elements.query.value});
    const answer = await (await fetch("api/v1/query?" + query)).json();
    note.textContent = [...(answer.warnings || []), ...(answer.infos || [])].join("\\n");
    if (answer.status === "success") show(answer.data);
    else note.textContent = answer.errorType + ": " + answer.error;
  } catch (error) {
    note.textContent = String(error);
  }
});
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") + "'"


_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Headrace</title><style>{style}</style></head><body>
<h1>Headrace {version}</h1>
<h2>Query</h2>
<form id="ask"><input name="query" aria-label="PromQL" autocomplete="off" spellcheck="false" value="up" autofocus>
<button>Ask</button></form>
<p id="note"></p><table><tbody id="rows"></tbody></table>
<h2>Endpoints</h2>
<table><tr><th>URL</th><th>Methods</th><th>Component</th></tr>{endpoints}</table>
<h2>Targets</h2>
{targets}
<script>{script}</script></body></html>
"""


@dataclass(frozen=True, slots=True)
class ServedPath:
    """One line of the list of endpoints.

    Attributes:
        url: Address and path.
        methods: HTTP methods, or ``gRPC``.
        owner: Component that answers.
    """

    url: str
    methods: str
    owner: str


class StatusPage:
    """Serves the page.

    Args:
        endpoints: Returns what is listened on.
        targets: Who scrapes; None for nobody.
    """

    def __init__(self, endpoints: Callable[[], Sequence[ServedPath]], targets: TargetsSource | None) -> None:
        self._endpoints = endpoints
        self._targets = targets

    def route(self) -> Route:
        """Return the route to mount."""
        return Route("/", ("GET", "HEAD"), self._answer)

    async def _answer(self, request: Request) -> web.StreamResponse:
        del request
        active = self._targets.targets().active if self._targets else ()
        body = _PAGE.format(
            style=_STYLE,
            script=_SCRIPT,
            version=escape(headrace_version()),
            endpoints="".join(_row(path.url, path.methods, path.owner) for path in self._endpoints()),
            targets=_target_table(active) if active else "<p>Nothing is scraped.</p>",
        )
        return web.Response(text=body, content_type="text/html", headers=_HEADERS)


def _row(*cells: str) -> str:
    return "<tr>" + "".join(f'<td class="text">{escape(cell)}</td>' for cell in cells) + "</tr>"


def _target_table(targets: Sequence[ActiveTarget]) -> str:
    head = "<tr><th>Job</th><th>URL</th><th>Health</th><th>Last scrape</th><th>Error</th></tr>"
    return "<table>" + head + "".join(map(_target_row, targets)) + "</table>"


def _target_row(target: ActiveTarget) -> str:
    health = target.health if target.health in {"up", "down"} else "unknown"
    last = f"{rfc3339(target.last_scrape_ns)}, {target.last_scrape_s:.3f} s" if target.last_scrape_ns else "never"
    cells = (target.scrape_pool, target.scrape_url, target.health, last, target.last_error)
    return _row(*cells).replace("<tr>", f'<tr class="{health}">', 1)
