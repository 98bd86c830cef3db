"""What a ``prometheus.yml`` may say about other servers: ``remote_write``, ``remote_read``, ``sigv4``.

Source:
    Prometheus 3.5, "Configuration", ``<remote_write>``, ``<remote_read>``; ``prometheus/sigv4``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS, HttpConfig
from headrace.pipeline.prometheus_http.config import check_header
from headrace.pipeline.prometheus_http.texts import SecretText
from headrace.pipeline.prometheus_values import Duration
from headrace.pipeline.relabel import RelabelConfig

Positive = Annotated[int, Field(gt=0)]


class Section(ComponentConfig):
    """Base of what stands in a prometheus.yml."""

    model_config = NUMBERS_ARE_TEXTS


class Sigv4(Section):
    """Credentials of AWS."""

    region: str = ""
    """Region; where there is none it is that of the machine."""

    access_key: str = ""
    """Key."""

    secret_key: SecretText = Secret("")
    """Its secret."""

    profile: str = ""
    """Profile of the shared files."""

    role_arn: str = ""
    """Role to assume."""

    external_id: str = ""
    """Given when it is assumed."""

    use_fips_sts_endpoint: bool = False
    """Which STS is asked."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("must provide an access key and secret key if credentials are specified")
        return self


class QueueConfig(Section):
    """How samples wait and are sent."""

    capacity: Positive = 10_000
    """Samples of a shard."""

    max_shards: Positive = 50
    """Most shards."""

    min_shards: Positive = 1
    """Fewest."""

    max_samples_per_send: Positive = 2000
    """Samples of a request."""

    batch_send_deadline: Duration | None = None
    """How long samples wait for others."""

    min_backoff: Duration | None = None
    """First pause after a failure."""

    max_backoff: Duration | None = None
    """Longest."""

    retry_on_http_429: bool = False
    """Whether such an answer is a failure that passes."""

    sample_age_limit: Duration | None = None
    """Older samples are dropped."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_shards > self.max_shards:
            raise ValueError("min_shards must not be greater than max_shards")
        if self.min_backoff and self.max_backoff and self.min_backoff > self.max_backoff:
            raise ValueError("min_backoff must not be greater than max_backoff")
        return self


class MetadataConfig(Section):
    """How metadata is sent."""

    send: bool = True
    """Whether."""

    send_interval: Duration | None = None
    """How often."""

    max_samples_per_send: Positive = 2000
    """Entries of a request."""


class Remote(HttpConfig):
    """A server, and how it is asked."""

    url: Annotated[str, Field(min_length=1)]
    """Where it is."""

    name: str = ""
    """Name, of which there is no other."""

    remote_timeout: Duration | None = None
    """Time for a request."""

    headers: dict[str, str] = Field(default_factory=dict)
    """More headers."""

    @field_validator("headers")
    @classmethod
    def _check_more_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name in headers:
            check_header(name)
        return headers


class RemoteWrite(Remote):
    """Where samples are sent."""

    protobuf_message: Literal["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] | None = None
    """Version of the protocol."""

    write_relabel_configs: tuple[RelabelConfig, ...] = ()
    """Rules for what is sent."""

    send_exemplars: bool = False
    """Whether."""

    send_native_histograms: bool = False
    """Whether."""

    round_robin_dns: bool = False
    """Whether addresses of a name take turns."""

    queue_config: QueueConfig = QueueConfig()
    """The queue."""

    metadata_config: MetadataConfig = MetadataConfig()
    """Metadata."""

    sigv4: Sigv4 | None = None
    """Sign for AWS."""

    azuread: dict[str, Any] | None = None
    """Credentials of Azure."""

    google_iam: dict[str, Any] | None = None
    """Credentials of Google."""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        more = [self.sigv4, self.azuread, self.google_iam]
        own = [self.basic_auth, self.authorization, self.oauth2, self.bearer_token or self.bearer_token_file or None]
        if sum(one is not None for one in (*more, *own)) > 1:
            raise ValueError("has more than one kind of credentials")
        return self


class RemoteRead(Remote):
    """What queries read beside the own store."""

    required_matchers: dict[str, str] = Field(default_factory=dict)
    """Queries that go there."""

    read_recent: bool = False
    """Whether also for what the own store has."""

    filter_external_labels: bool = True
    """Whether to ask for them."""
