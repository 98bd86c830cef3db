"""Errors of the HTTP API: Prometheus' types and their statuses."""

from __future__ import annotations

from headrace.pipeline.errors import HeadraceError

STATUS = {
    "bad_data": 400,
    "execution": 422,
    "canceled": 499,
    "timeout": 503,
    "internal": 500,
    "unavailable": 500,
    "not_found": 404,
    "not_acceptable": 406,
}
"""HTTP status of each error type."""


class ApiError(HeadraceError):
    """A request that is answered with an error.

    Args:
        kind: One of the keys of STATUS.
        message: Text for the client.
        status: HTTP status, where it is not that of the type.
    """

    def __init__(self, kind: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status or STATUS[kind]


def invalid_parameter(name: str, why: str) -> ApiError:
    """Return the error for a parameter that cannot be used."""
    return ApiError("bad_data", f'invalid parameter "{name}": {why}')
