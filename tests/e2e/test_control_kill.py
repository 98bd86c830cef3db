"""kill -9 while workspaces are made, changed and removed: what was answered holds, and the rest is whole."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

from lab_daemon import LabDaemon, Sent

if TYPE_CHECKING:
    from pathlib import Path

    from running import Programs

pytestmark = pytest.mark.slow

ROUNDS = int(os.environ.get("HEADRACE_KILL_ROUNDS", "5"))
JSON = {"Content-Type": "application/json"}


class Client(threading.Thread):
    """Makes, tags and removes workspaces until the daemon is gone; keeps what it was told had succeeded."""

    def __init__(self, lab: LabDaemon, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.lab = lab
        self.alive: dict[str, dict[str, str]] = {}
        self.removed: set[str] = set()
        self.unsure: set[str] = set()
        self.answered = 0

    def run(self) -> None:
        try:
            while True:
                self.step()
        except (OSError, HTTPException):
            return

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.5 or not self.alive:
            workspace = self.lab.create_workspace(f"seed-{self.random.random()}", made="yes")
            self.alive[workspace] = {"made": "yes"}
        else:
            self.change(self.random.choice(list(self.alive)), remove=choice > 0.8)
        self.answered += 1

    def change(self, workspace: str, *, remove: bool) -> None:
        self.unsure.add(workspace)
        if remove:
            assert self.lab.ask(Sent("DELETE", f"/workspaces/{workspace}")).status == 202
            del self.alive[workspace]
            self.removed.add(workspace)
        else:
            tags = {"n": str(self.random.random())}
            path = f"/tags/arn%3Aaws%3Aaps%3Aus-east-1%3A123456789012%3Aworkspace%2F{workspace}"
            reply = self.lab.ask(Sent("POST", path, "", JSON, json.dumps({"tags": tags}).encode()))
            assert reply.status == 200, reply.body
            self.alive[workspace] |= tags
        self.unsure.discard(workspace)


def listed(lab: LabDaemon) -> dict[str, Any]:
    found: dict[str, Any] = {}
    query = "maxResults=1000"
    reply = lab.ask(Sent("GET", "/workspaces", query))
    assert reply.status == 200
    found.update({one["workspaceId"]: one for one in reply.json["workspaces"]})
    assert "nextToken" not in reply.json
    return found


def test_what_was_answered_holds(tmp_path: Path, programs: Programs) -> None:
    lab = LabDaemon(programs, tmp_path, ("extensions.workspaces.max_workspaces=900",))
    alive: dict[str, dict[str, str]] = {}
    removed: set[str] = set()
    answered = 0
    for round_ in range(ROUNDS):
        lab.start()
        client = Client(lab, round_)
        client.start()
        time.sleep(random.uniform(0.3, 1.5))
        lab.kill()
        client.join()
        alive |= client.alive
        removed |= client.removed
        answered += client.answered
        lab.start()
        found = listed(lab)
        for workspace, tags in alive.items():
            if workspace not in client.unsure:
                assert found[workspace]["tags"] == tags
                assert found[workspace]["status"]["statusCode"] == "ACTIVE"
        for workspace in client.unsure:
            alive.pop(workspace, None)
        deadline = time.monotonic() + 20
        while removed & set(listed(lab)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not removed & set(listed(lab))
        assert not [one for one in removed if (lab.data / "workspaces" / one).exists()]
        lab.kill()
    print(f"{ROUNDS} kills, {answered} answered changes, {len(alive)} workspaces there, {len(removed)} gone")  # noqa: T201
