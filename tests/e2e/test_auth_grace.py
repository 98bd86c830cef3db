"""``auth_grace``: 503 for what was allowed a moment ago and ran out; 403 for what was never, or is forbidden."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.sigv4.sign import Credentials
from lab_daemon import LabDaemon, allow, arn, policy, query_request, write_request

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.slow


def test_what_grace_covers(tmp_path: Path, programs: Programs) -> None:
    lab = LabDaemon(programs, tmp_path, ("extensions.access.auth_grace=6s",)).start()
    workspace = lab.create_workspace("grace")
    grant = policy(allow("aps:RemoteWrite", arn(workspace)))
    lasting = lab.user("writer", grant)
    short = lab.user("writer", duration_s=4)
    lab.settle()
    request = write_request(workspace)
    assert lab.ask(request, short).status == 204
    assert lab.ask(request, lasting).status == 204
    assert lab.ask(query_request(workspace), lasting).status == 403, "was never allowed"
    time.sleep(3)
    over = lab.ask(request, short)
    assert (over.status, over.headers["x-amzn-errortype"]) == (503, "ExpiredTokenException")
    assert int(over.headers["retry-after"]) > 0
    assert lab.ask(write_request("ws-other"), short).status == 403, "was allowed elsewhere"
    wrong = Credentials(short.access_key, "x" * 40, short.session_token)
    assert lab.ask(request, wrong).status == 403, "a bad signature"

    assert lab.ask(request, lasting).status == 204
    lab.keyring.detach("writer", "writer-policy")
    lab.settle()
    lost = lab.ask(request, lasting)
    assert (lost.status, lost.headers["x-amzn-errortype"]) == (503, "AccessDeniedException")
    lab.keyring.put_policy("no", policy({**allow("aps:*", "*"), "Effect": "Deny"}))
    lab.keyring.attach("writer", "no")
    lab.settle()
    assert lab.ask(request, lasting).status == 403, "an explicit denial"
    lab.keyring.detach("writer", "no")
    lab.settle()
    time.sleep(3)
    assert lab.ask(request, lasting).status == 403, "the grace is over: denials do not prolong it"
    lab.keyring.attach("writer", "writer-policy")
    lab.settle()
    assert lab.ask(request, lasting).status == 204
    lab.keyring.delete_key(lasting.access_key)
    lab.settle()
    assert lab.ask(request, lasting).status == 403, "an unknown key"
