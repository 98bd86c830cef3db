"""Answers of OTLP servers, whatever they hold."""

from __future__ import annotations

import json
import os
import random

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

import otlp_model as model
from headrace.pipeline.http.retry_after import retry_after_s
from headrace.pipeline.wire.otlp_answers import (
    PartialSuccess,
    read_response,
    read_response_json,
    retry_delay_s,
    status_message,
)

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{", b"null", b'{"partialSuccess": 1}', b'{"partialSuccess": {"rejectedDataPoints": Infinity}}',
     b'{"partialSuccess": {"rejectedDataPoints": -3}}', b"[" * 60_000, b'{"a":' * 10_000],
)  # fmt: skip
def test_answers_that_say_nothing(data: bytes) -> None:
    """The request was taken, so they are no reason to send it again."""
    assert read_response_json(data) == PartialSuccess()


@pytest.mark.parametrize("header", ["", "soon", "-1", "9" * 5, "9" * 400, "Fri, 31 Dec 9999 23:59:59 -2359", "\xb2"])
def test_times_to_wait_are_bounded(header: str) -> None:
    """A server asks for a day at most."""
    assert 0 <= retry_after_s(header, 0) <= 86_400


@pytest.mark.fuzz
def test_damaged_answers() -> None:
    """They are read as far as they go."""
    response = ExportMetricsServiceResponse()
    response.partial_success.rejected_data_points = 7
    response.partial_success.error_message = "no"
    good = json.dumps({"partialSuccess": {"rejectedDataPoints": "7", "errorMessage": "no"}}).encode()
    for seed in range(RUNS):
        rng = random.Random(seed)
        data = model.mutated(response.SerializeToString(), rng)
        for read in (read_response, status_message, retry_delay_s):
            read(data)
        assert read_response_json(model.mutated(good, rng)).rejected >= 0
