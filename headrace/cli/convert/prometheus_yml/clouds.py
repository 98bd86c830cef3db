"""Discoveries of cloud providers in a ``prometheus.yml``; none of them is there for the receiver.

Source:
    Prometheus 3.14, "Configuration", the sections of each ``<kind>_sd_config``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from headrace.cli.convert.prometheus_yml.clients import HttpClient, Name, Tls, at_most_one
from headrace.pipeline.config import ComponentConfig, Secret
from headrace.pipeline.prometheus_http.texts import NUMBERS_ARE_TEXTS, SecretText
from headrace.pipeline.prometheus_values import Duration, PositiveDuration


class _Cloud(HttpClient):
    """What providers have in common."""

    refresh_interval: Duration | None = None
    port: int = 80


class Filter(ComponentConfig):
    """Chooses what is asked for."""

    model_config = NUMBERS_ARE_TEXTS

    name: str = ""
    values: tuple[str, ...] = ()


class FilterWithValues(Filter):
    """A filter of EC2, whose values must not be left out."""

    values: Annotated[tuple[str, ...], Field(min_length=1)]


class _Aws(_Cloud):
    region: str = ""
    endpoint: str = ""
    access_key: str = ""
    secret_key: SecretText = Secret("")
    profile: str = ""
    role_arn: str = ""
    external_id: str = ""


class AwsSd(_Aws):
    """Any service of AWS, by role."""

    role: Literal["ec2", "ecs", "elasticache", "lightsail", "msk", "rds"]
    filters: tuple[Filter, ...] = ()
    clusters: tuple[str, ...] = ()


class Ec2Sd(_Aws):
    """Virtual machines of AWS."""

    filters: tuple[FilterWithValues, ...] = ()


class LightsailSd(_Aws):
    """Small virtual machines of AWS."""


class AzureSd(_Cloud):
    """Virtual machines of Azure."""

    environment: str = "AzurePublicCloud"
    subscription_id: Name
    tenant_id: str = ""
    client_id: str = ""
    client_secret: SecretText = Secret("")
    authentication_method: Literal["OAuth", "ManagedIdentity", "SDK", "WorkloadIdentity"] = "OAuth"
    resource_group: str = ""

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        for name in ("tenant_id", "client_id", "client_secret"):
            if self.authentication_method == "OAuth" and not getattr(self, name):
                raise ValueError(f"{name} is required for the authentication method OAuth")
        return self


class DigitalOceanSd(_Cloud):
    """Droplets or databases of DigitalOcean."""

    role: Literal["droplets", "databases"] = "droplets"


class GceSd(ComponentConfig):
    """Virtual machines of Google."""

    model_config = NUMBERS_ARE_TEXTS

    project: Name
    zone: Name
    filter: str = ""
    refresh_interval: Duration | None = None
    port: int = 80
    tag_separator: str = ","


class HetznerSd(_Cloud):
    """Servers of Hetzner."""

    role: Literal["robot", "hcloud"]
    label_selector: str = ""


class IonosSd(_Cloud):
    """Servers of IONOS."""

    datacenter_id: Name


class LinodeSd(_Cloud):
    """Instances of Linode."""

    tag_separator: str = ","
    region: str = ""


class OciSd(_Cloud):
    """Instances of Oracle's cloud."""

    auth: Literal["api_key", "instance_principal"] = "api_key"
    tenancy: str = ""
    user: str = ""
    fingerprint: str = ""
    key_file: str = ""
    key_passphrase: SecretText = Secret("")
    key_passphrase_file: str = ""
    region: Name
    compartments: tuple[Name, ...] = ()
    refresh_interval: PositiveDuration | None = None

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        needed = ("tenancy", "user", "fingerprint", "key_file")
        by_key = self.auth == "api_key"
        at_most_one(self, "key_passphrase", "key_passphrase_file")
        for name in needed if by_key else (*needed, "key_passphrase", "key_passphrase_file"):
            if bool(getattr(self, name)) != by_key:
                raise ValueError(f"{name} is {'required' if by_key else 'not allowed'} for auth {self.auth}")
        return self


class OpenStackSd(ComponentConfig):
    """Parts of OpenStack."""

    model_config = NUMBERS_ARE_TEXTS

    identity_endpoint: str = ""
    username: str = ""
    userid: str = ""
    password: SecretText = Secret("")
    project_name: str = ""
    project_id: str = ""
    domain_name: str = ""
    domain_id: str = ""
    application_credential_name: str = ""
    application_credential_id: str = ""
    application_credential_secret: SecretText = Secret("")
    role: Literal["hypervisor", "instance", "loadbalancer"]
    region: Name
    refresh_interval: Duration | None = None
    port: int = 80
    all_tenants: bool = False
    tls_config: Tls = Tls()
    availability: Literal["public", "internal", "admin"] = "public"


class _WithSecretKey(_Cloud):
    access_key: Name
    secret_key: SecretText = Secret("")
    secret_key_file: str = ""

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        at_most_one(self, "secret_key", "secret_key_file")
        if not self.secret_key and not self.secret_key_file:
            raise ValueError("one of secret_key and secret_key_file must be set")
        return self


class OutscaleSd(_WithSecretKey):
    """Virtual machines of Outscale."""

    endpoint: str = ""
    region: Name = "eu-west-2"


class OvhCloudSd(ComponentConfig):
    """Servers of OVHcloud."""

    model_config = NUMBERS_ARE_TEXTS

    endpoint: Name = "ovh-eu"
    application_key: Name
    application_secret: SecretText
    consumer_key: SecretText
    refresh_interval: Duration | None = None
    service: Literal["dedicated_server", "vps"]

    @model_validator(mode="after")
    def _check_secrets(self) -> Self:
        for name in ("application_secret", "consumer_key"):
            if not getattr(self, name):
                raise ValueError(f"{name} must not be empty")
        return self


class ScalewaySd(_WithSecretKey):
    """Instances of Scaleway."""

    role: Literal["instance", "baremetal"]
    project_id: Name
    api_url: str = "https://api.scaleway.com"
    zone: str = "fr-par-1"
    name_filter: str = ""
    tags_filter: tuple[str, ...] = ()


class StackitSd(_Cloud):
    """Servers of STACKIT."""

    project: str = ""
    region: str = "eu01"
    endpoint: str = ""
    service_account_key: SecretText = Secret("")
    private_key: SecretText = Secret("")
    service_account_key_path: str = ""
    private_key_path: str = ""
    credentials_file_path: str = ""

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        if not self.endpoint and not self.region:
            raise ValueError("endpoint or region is required")
        if self.endpoint.startswith(":"):
            raise ValueError(f"endpoint: {self.endpoint!r} is no URL")
        return self


class TritonSd(ComponentConfig):
    """Containers of Triton."""

    model_config = NUMBERS_ARE_TEXTS

    account: Name
    role: Literal["container", "cn"] = "container"
    dns_suffix: Name
    endpoint: Name
    groups: tuple[str, ...] = ()
    port: int = 9163
    refresh_interval: PositiveDuration | None = None
    tls_config: Tls = Tls()
    version: int = 1


class VultrSd(_Cloud):
    """Instances of Vultr."""
