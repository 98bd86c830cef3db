"""``remote_write`` and ``remote_read`` of a ``prometheus.yml``.

Source:
    Prometheus 3.14, "Configuration", sections remote_write and remote_read.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from headrace.cli.convert.prometheus_yml.clients import HttpClient, Name, check_headers
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.discovery import check_labels
from headrace.pipeline.prometheus_http.texts import NUMBERS_ARE_TEXTS, SecretText
from headrace.pipeline.prometheus_values import Duration
from headrace.pipeline.relabel import RelabelConfig

Positive = Annotated[int, Field(ge=1)]


class Sigv4(ComponentConfig):
    """Signatures of AWS."""

    model_config = NUMBERS_ARE_TEXTS

    region: str = ""
    access_key: str = ""
    secret_key: SecretText = Secret("")
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""
    service: str = ""
    use_fips_sts_endpoint: bool = False

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key are set together")
        if self.external_id and not self.role_arn:
            raise ValueError("external_id needs role_arn")
        return self


class ManagedIdentity(ComponentConfig):
    """A managed identity of Azure."""

    client_id: UUID | Literal[""] = ""


class WorkloadIdentity(ComponentConfig):
    """A workload identity of Azure."""

    client_id: UUID
    tenant_id: UUID
    token_file_path: str = ""


class AzureOAuth(ComponentConfig):
    """A client of Azure's authorization server."""

    model_config = NUMBERS_ARE_TEXTS

    client_id: UUID
    client_secret: SecretText
    tenant_id: Name


class AzureSdk(ComponentConfig):
    """Whatever Azure's SDK finds."""

    tenant_id: str = ""


class AzureCertificate(ComponentConfig):
    """A certificate that Azure knows."""

    model_config = NUMBERS_ARE_TEXTS

    client_id: UUID
    tenant_id: Name
    certificate_path: Name
    certificate_key_path: str = ""
    certificate_password: SecretText = Secret("")
    send_certificate_chain: bool = False


class AzureAd(ComponentConfig):
    """Credentials of Azure."""

    managed_identity: ManagedIdentity | None = None
    workload_identity: WorkloadIdentity | None = None
    oauth: AzureOAuth | None = None
    sdk: AzureSdk | None = None
    certificate: AzureCertificate | None = None
    cloud: Literal["", "AzureChina", "AzureGovernment", "AzurePublic"] = ""
    scope: Annotated[str, Field(pattern=r"^[\w\s:/.\-]*$")] = ""

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        kinds = ("managed_identity", "workload_identity", "oauth", "sdk", "certificate")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(kinds)} must be set")
        return self


class GoogleIam(ComponentConfig):
    """Credentials of Google."""

    credentials_file: str = ""


class Queue(ComponentConfig):
    """What waits to be sent; the defaults take part in the checks."""

    capacity: Positive = 10_000
    max_shards: Positive = 50
    min_shards: Positive = 1
    max_samples_per_send: Positive = 2000
    batch_send_deadline: Duration = timedelta(seconds=5)
    min_backoff: Duration = timedelta(milliseconds=30)
    max_backoff: Duration = timedelta(seconds=5)
    retry_on_http_429: bool = False
    sample_age_limit: Duration = timedelta()

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_shards > self.max_shards:
            raise ValueError(f"min_shards {self.min_shards} is more than max_shards {self.max_shards}")
        if self.min_backoff > self.max_backoff:
            raise ValueError(f"min_backoff {self.min_backoff} is more than max_backoff {self.max_backoff}")
        return self


class Metadata(ComponentConfig):
    """When types and descriptions are sent."""

    send: bool = True
    send_interval: Duration | None = None
    max_samples_per_send: int = 2000


class _Remote(HttpClient):
    url: Name
    name: str = ""
    remote_timeout: Duration | None = None
    headers: dict[str, SecretText] = Field(default_factory=dict)

    @field_validator("headers")
    @classmethod
    def _check_request_headers(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        return check_headers(headers)


class RemoteWrite(_Remote):
    """A server that samples are sent to."""

    write_relabel_configs: tuple[RelabelConfig, ...] = ()
    send_exemplars: bool = False
    send_native_histograms: bool = False
    round_robin_dns: bool = False
    protobuf_message: Literal["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] = "prometheus.WriteRequest"
    failed_request_logging: bool = False
    queue_config: Queue = Queue()
    metadata_config: Metadata = Metadata()
    sigv4: Sigv4 | None = None
    azuread: AzureAd | None = None
    google_iam: GoogleIam | None = None

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        kinds = ("basic_auth", "authorization", "oauth2", "sigv4", "azuread", "google_iam")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        given += [kind for kind in ("bearer_token", "bearer_token_file") if getattr(self, kind)]
        if len(given) > 1:
            raise ValueError(f"has more than one kind of credentials: {', '.join(given)}")
        return self


class RemoteRead(_Remote):
    """A server that samples are read from."""

    chunked_read_limit: Annotated[int, Field(ge=0)] | None = None
    read_recent: bool = False
    required_matchers: dict[str, str] = Field(default_factory=dict)
    filter_external_labels: bool = True

    @field_validator("required_matchers")
    @classmethod
    def _check_matchers(cls, matchers: dict[str, str]) -> dict[str, str]:
        return check_labels(matchers)
