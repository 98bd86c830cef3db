"""Discoveries in a ``prometheus.yml``: registries and orchestrators, and the options that all kinds stand in.

Source:
    Prometheus 3.14, "Configuration", the sections of each ``<kind>_sd_config``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from headrace.cli.convert.prometheus_yml import clouds
from headrace.cli.convert.prometheus_yml.clients import HttpClient, Name, at_most_one, check_server
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.prometheus_http import NUMBERS_ARE_TEXTS, check_url
from headrace.pipeline.prometheus_http.texts import SecretText
from headrace.pipeline.prometheus_values import Duration


class _Server(HttpClient):
    refresh_interval: Duration | None = None


class ConsulSd(_Server):
    """Services of Consul."""

    server: str = "localhost:8500"
    path_prefix: str = ""
    token: SecretText = Secret("")
    datacenter: str = ""
    namespace: str = ""
    partition: str = ""
    tag_separator: str = ","
    scheme: str = "http"
    username: str = ""
    password: SecretText = Secret("")
    allow_stale: bool = True
    services: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    node_meta: dict[str, str] = Field(default_factory=dict)
    filter: str = ""
    health_filter: str = ""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if not self.server.strip():
            raise ValueError("server must not be empty")
        if (self.username or self.password) and self.basic_auth is not None:
            raise ValueError("at most one of username and password, and basic_auth, may be set")
        at_most_one(self, "token", "authorization", "oauth2")
        return self


class _Docker(_Server):
    host: Name
    port: int = 80
    filters: tuple[clouds.Filter, ...] = ()


class DockerSd(_Docker):
    """Containers of Docker."""

    host_networking_host: str = "localhost"
    match_first_network: bool = True


class DockerSwarmSd(_Docker):
    """Parts of a Docker swarm."""

    role: Literal["services", "nodes", "tasks"]


class EurekaSd(_Server):
    """Applications of Eureka."""

    server: Name

    @field_validator("server")
    @classmethod
    def _check_url_of_server(cls, url: str) -> str:
        return check_server(url)


class KumaSd(EurekaSd):
    """Proxies of Kuma."""

    client_id: str = ""
    fetch_timeout: Duration | None = None


class MarathonSd(_Server):
    """Applications of Marathon."""

    servers: Annotated[tuple[str, ...], Field(min_length=1)]
    auth_token: SecretText = Secret("")
    auth_token_file: str = ""

    @model_validator(mode="after")
    def _check_token(self) -> Self:
        others = ("basic_auth", "authorization", "bearer_token", "bearer_token_file")
        at_most_one(self, "auth_token", "auth_token_file")
        for token in ("auth_token", "auth_token_file"):
            at_most_one(self, token, *others)
        return self


class NomadSd(_Server):
    """Services of Nomad."""

    allow_stale: bool = True
    namespace: str = "default"
    region: str = "global"
    server: Name = "http://localhost:4646"
    tag_separator: str = ","


class PuppetDbSd(_Server):
    """Resources of PuppetDB."""

    url: Name
    query: Name
    include_parameters: bool = False
    port: int = 80

    @field_validator("url")
    @classmethod
    def _check_url_of_server(cls, url: str) -> str:
        return check_url(url)


class UyuniSd(_Server):
    """Systems of Uyuni."""

    server: Name
    username: Name
    password: SecretText
    entitlement: Name = "monitoring_entitled"
    separator: str = ","


class ZookeeperSd(ComponentConfig):
    """Serversets, or services of Nerve, in Zookeeper."""

    model_config = NUMBERS_ARE_TEXTS

    servers: Annotated[tuple[str, ...], Field(min_length=1)]
    paths: Annotated[tuple[Annotated[str, Field(pattern=r"^/")], ...], Field(min_length=1)]
    timeout: Duration | None = None


class OtherDiscoveries(ComponentConfig):
    """Kinds of discovery that the receiver does not have."""

    aws_sd_configs: tuple[clouds.AwsSd, ...] = ()
    azure_sd_configs: tuple[clouds.AzureSd, ...] = ()
    consul_sd_configs: tuple[ConsulSd, ...] = ()
    digitalocean_sd_configs: tuple[clouds.DigitalOceanSd, ...] = ()
    docker_sd_configs: tuple[DockerSd, ...] = ()
    dockerswarm_sd_configs: tuple[DockerSwarmSd, ...] = ()
    ec2_sd_configs: tuple[clouds.Ec2Sd, ...] = ()
    eureka_sd_configs: tuple[EurekaSd, ...] = ()
    gce_sd_configs: tuple[clouds.GceSd, ...] = ()
    hetzner_sd_configs: tuple[clouds.HetznerSd, ...] = ()
    ionos_sd_configs: tuple[clouds.IonosSd, ...] = ()
    kuma_sd_configs: tuple[KumaSd, ...] = ()
    lightsail_sd_configs: tuple[clouds.LightsailSd, ...] = ()
    linode_sd_configs: tuple[clouds.LinodeSd, ...] = ()
    marathon_sd_configs: tuple[MarathonSd, ...] = ()
    nerve_sd_configs: tuple[ZookeeperSd, ...] = ()
    nomad_sd_configs: tuple[NomadSd, ...] = ()
    oci_sd_configs: tuple[clouds.OciSd, ...] = ()
    openstack_sd_configs: tuple[clouds.OpenStackSd, ...] = ()
    outscale_sd_configs: tuple[clouds.OutscaleSd, ...] = ()
    ovhcloud_sd_configs: tuple[clouds.OvhCloudSd, ...] = ()
    puppetdb_sd_configs: tuple[PuppetDbSd, ...] = ()
    scaleway_sd_configs: tuple[clouds.ScalewaySd, ...] = ()
    serverset_sd_configs: tuple[ZookeeperSd, ...] = ()
    stackit_sd_configs: tuple[clouds.StackitSd, ...] = ()
    triton_sd_configs: tuple[clouds.TritonSd, ...] = ()
    uyuni_sd_configs: tuple[UyuniSd, ...] = ()
    vultr_sd_configs: tuple[clouds.VultrSd, ...] = ()
