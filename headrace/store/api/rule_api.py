"""The endpoints about rules and alerts: nothing evaluates rules yet, so they check their parameters and list none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.store.api import params
from headrace.store.api.answering import parsed
from headrace.store.api.envelope import encode
from headrace.store.api.errors import invalid_parameter
from headrace.store.api.quoting import go_quote
from headrace.store.api.reply import Reply

if TYPE_CHECKING:
    from headrace.pipeline.http.form import Form
    from headrace.pipeline.http.request import Request
    from headrace.store.api.answering import Answering


class RuleApi:
    """Handlers.

    Args:
        answering: Parses ``match[]``.
    """

    def __init__(self, answering: Answering) -> None:
        self._answering = answering

    async def rules(self, request: Request) -> Reply:
        """Return the groups of rules, of which there are none."""
        form = parsed(await request.form())
        self._answering.selectors(form)
        kind = form.get("type").lower()
        if kind not in {"", "alert", "record"}:
            raise invalid_parameter("type", f"not supported value {go_quote(kind)}")
        _check_exclude_alerts(form)
        _check_pages(form)
        return Reply(encode({"groups": []}))

    async def alerts(self, request: Request) -> Reply:
        """Return the alerts that are active: none."""
        del request
        return Reply(encode({"alerts": []}))

    async def alertmanagers(self, request: Request) -> Reply:
        """Return who is sent alerts: nobody."""
        del request
        return Reply(encode({"activeAlertmanagers": [], "droppedAlertmanagers": []}))


def _check_exclude_alerts(form: Form) -> None:
    try:
        params.boolean(form.get("exclude_alerts").lower())
    except ValueError as error:
        raise invalid_parameter("exclude_alerts", f"error converting exclude_alerts: {error}") from None


def _check_pages(form: Form) -> None:
    """Check the parameters that cut the list of groups into pages."""
    text, token = form.get("group_limit"), form.get("group_next_token")
    if token and not text:
        why = "group_limit needs to be present in order to paginate over the groups"
        raise invalid_parameter("group_next_token", why)
    if not text:
        return
    try:
        limit = params.integer(text, "strconv.ParseInt", 32)
    except ValueError as error:
        raise invalid_parameter("group_limit", f"group_limit needs to be a valid number: {error}") from None
    if limit <= 0:
        raise invalid_parameter("group_limit", "group_limit needs to be greater than 0")
    if token:
        why = f"invalid group_next_token '{token}'. were rule groups changed?"
        raise invalid_parameter("group_next_token", why)
