"""The errors that the control plane of Amazon Managed Service for Prometheus answers.

* AmpError
  - ValidationException            400  a field, the body or the operation is not acceptable
  - ServiceQuotaExceededException  402  there are as many workspaces as the account may have
  - AccessDeniedException          403  the caller may not do this
  - ResourceNotFoundException      404  there is no such workspace, or it has no such part
  - ConflictException              409  the resource is in another state than the request needs
  - ThrottlingException            429  try later; clients do so by themselves
  - InternalServerException        500  our fault; clients try again by themselves

The names are those of the service model (botocore ``amp/2020-08-01``); clients choose their own error class by them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from headrace.pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SERVICE_CODE = "aps"


class Reason(StrEnum):
    """Why a request is not valid, as the member ``reason`` tells it."""

    UNKNOWN_OPERATION = "UNKNOWN_OPERATION"
    CANNOT_PARSE = "CANNOT_PARSE"
    FIELD_VALIDATION_FAILED = "FIELD_VALIDATION_FAILED"
    OTHER = "OTHER"


class AmpError(HeadraceError):
    """An answer other than success.

    Args:
        name: The error's name in the service model, for the header ``x-amzn-ErrorType``.
        status: The HTTP status.
        message: What is wrong, for the caller.
        fields: The further members of the body.
    """

    def __init__(self, name: str, status: int, message: str, fields: Mapping[str, object]) -> None:
        super().__init__(message)
        self.name = name
        self.status = status
        self.message = message
        self.fields = dict(fields)

    def body(self) -> dict[str, object]:
        """Return the JSON body of the answer."""
        return {"message": self.message, **self.fields}


class ValidationException(AmpError):  # noqa: N818 -- the service model's name
    """The request breaks a rule of the model or of this service.

    Args:
        message: What is wrong.
        reason: The kind of fault.
        faults: Pairs of a field's name and what is wrong with it.
    """

    def __init__(self, message: str, reason: Reason, faults: Iterable[tuple[str, str]] = ()) -> None:
        fields: dict[str, object] = {"reason": reason.value}
        listed = [{"name": name, "message": text} for name, text in faults]
        if listed:
            fields["fieldList"] = listed
        super().__init__("ValidationException", 400, message, fields)


class ServiceQuotaExceededException(AmpError):  # noqa: N818 -- the service model's name
    """A quota of the account is used up.

    Args:
        message: Which one.
        resource_id: Name of what was asked for; empty where it has none yet.
        resource_type: Its kind.
        quota_code: The code of Service Quotas (``L-...``), left out of the body where it is not known.
    """

    def __init__(self, message: str, resource_id: str, resource_type: str, quota_code: str | None = None) -> None:
        fields: dict[str, object] = {
            "resourceId": resource_id,
            "resourceType": resource_type,
            "serviceCode": SERVICE_CODE,
        }
        if quota_code is not None:
            fields["quotaCode"] = quota_code
        super().__init__("ServiceQuotaExceededException", 402, message, fields)


class AccessDeniedException(AmpError):  # noqa: N818 -- the service model's name
    """The caller is known and may not do this."""

    def __init__(self, message: str) -> None:
        super().__init__("AccessDeniedException", 403, message, {})


class ResourceNotFoundException(AmpError):  # noqa: N818 -- the service model's name
    """What the request names does not exist."""

    def __init__(self, message: str, resource_id: str, resource_type: str) -> None:
        fields = {"resourceId": resource_id, "resourceType": resource_type}
        super().__init__("ResourceNotFoundException", 404, message, fields)


class ConflictException(AmpError):  # noqa: N818 -- the service model's name
    """What the request names is not in the state that the request needs."""

    def __init__(self, message: str, resource_id: str, resource_type: str) -> None:
        fields = {"resourceId": resource_id, "resourceType": resource_type}
        super().__init__("ConflictException", 409, message, fields)


class ThrottlingException(AmpError):  # noqa: N818 -- the service model's name
    """Too much at once.

    Args:
        message: What there is too much of.
        retry_after_s: For the header ``Retry-After``, seconds.
        quota_code: The code of Service Quotas, where known.
    """

    def __init__(
        self, message: str = "Rate exceeded", *, retry_after_s: int = 1, quota_code: str | None = None
    ) -> None:
        fields: dict[str, object] = {"serviceCode": SERVICE_CODE}
        if quota_code is not None:
            fields["quotaCode"] = quota_code
        super().__init__("ThrottlingException", 429, message, fields)
        self.retry_after_s = retry_after_s


class InternalServerException(AmpError):  # noqa: N818 -- the service model's name
    """The service failed; the same request may succeed later.

    Args:
        message: What failed, without anything a caller must not know.
        retry_after_s: For the header ``Retry-After``, seconds.
    """

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__("InternalServerException", 500, message, {})
        self.retry_after_s = retry_after_s
