"""How the API server is reached, and which settings are refused."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from pydantic import ValidationError

from discovery_lab import DiscoveryLab
from headrace.pipeline.discovery import polling
from headrace.pipeline.discovery.kubernetes import KubernetesDiscovery, KubernetesSdConfig, access
from headrace.pipeline.discovery.kubernetes.access import reach
from headrace.pipeline.discovery.kubernetes.selectors import check_field_selector, check_label_selector
from headrace.pipeline.errors import ConfigError
from kubernetes_api import KubernetesApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

POD = {"KUBERNETES_SERVICE_HOST": "2001:db8::1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.fixture
async def lab() -> DiscoveryLab:
    return DiscoveryLab()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def api(authority: trustme.CA) -> AsyncIterator[KubernetesApi]:
    """A server over TLS that wants a token."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    made = await KubernetesApi().start(context)
    made.token = "first"
    made.put("namespaces", "x")
    made.put("services", "a", "mine", spec={"ports": [{"port": 1}]})
    made.put("services", "b", "other", spec={"ports": [{"port": 1}]})
    yield made
    await made.close()


def config(**options: Any) -> KubernetesSdConfig:
    return KubernetesSdConfig.model_validate({"role": "service", **options})


async def test_an_account_of_a_pod(
    lab: DiscoveryLab, api: KubernetesApi, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, authority and namespace lie in its folder; a token that is renewed is used at once."""
    monkeypatch.setattr(polling, "_FIRST_RETRY_S", 0.01)
    monkeypatch.setattr("headrace.pipeline.discovery.kubernetes.watching._LONGEST_PAUSE_S", 0.02)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "namespace").write_text("mine")
    host, _, port = api.url.removeprefix("https://").partition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    found = KubernetesDiscovery(lab.settings, config(namespaces={"own_namespace": True}))
    monkeypatch.setattr(access, "ACCOUNT", tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    async with lab.running(found):
        await lab.until(lambda: lab.addresses() == ["a.mine.svc:1"], "found")
        api.token = "renewed"
        api.end_watches()
        await lab.until(lambda: lab.failures("unauthorized") > 0, "refused")
        (tmp_path / "token").write_text("renewed")
        lab.clock.advance(2)
        api.put("services", "c", "mine", spec={"ports": [{"port": 1}]})
        await lab.until(lambda: len(lab.groups) == 2, "found more")


def test_where_a_pod_finds_the_server(tmp_path: Path) -> None:
    """In its environment; the authority may be missing, and then is the system's."""
    (tmp_path / "token").write_text("t")
    found = reach(config(), "key", POD, tmp_path)
    assert found.url == "https://[2001:db8::1]:443"
    assert found.client.tls_config.ca_file == ""
    (tmp_path / "ca.crt").write_text("x")
    assert reach(config(), "key", POD, tmp_path).client.tls_config.ca_file == str(tmp_path / "ca.crt")


@pytest.mark.parametrize("environment", [{}, {"KUBERNETES_SERVICE_HOST": "a"}])
def test_outside_of_a_cluster(environment: dict[str, str], tmp_path: Path) -> None:
    """It is said what is missing."""
    with pytest.raises(ConfigError, match="this is no pod"):
        reach(config(), "key", environment, tmp_path)


def test_an_own_namespace_that_is_not_known(tmp_path: Path) -> None:
    """Nothing is found rather than everything."""
    with pytest.raises(ConfigError, match="own_namespace is set"):
        reach(config(namespaces={"own_namespace": True}), "key", POD, tmp_path)


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    path = folder / "config"
    content = {
        "current-context": "here",
        "contexts": [{"name": "there"}, {"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.test:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_kubeconfig_file(lab: DiscoveryLab, api: KubernetesApi, authority: trustme.CA, tmp_path: Path) -> None:
    """Server, authority and token of its current context."""
    ca = base64.b64encode(authority.cert_pem.bytes()).decode()
    path = kubeconfig(tmp_path, {"token": "first"}, **{"server": api.url, "certificate-authority-data": ca})
    async with lab.running(KubernetesDiscovery(lab.settings, config(kubeconfig_file=str(path)))):
        await lab.until(lambda: len(lab.groups) == 2, "found")


def test_what_a_kubeconfig_file_may_say(tmp_path: Path) -> None:
    """Files beside it, data within it, a name to expect, a proxy, a name with a password."""
    options = {
        "certificate-authority": "ca.pem", "tls-server-name": "k8s.test", "proxy-url": "http://proxy.test",
        "insecure-skip-tls-verify": True,
    }  # fmt: skip
    user = {
        "client-certificate-data": base64.b64encode(b"CERT").decode(),
        "client-key-data": base64.b64encode(b"KEY").decode(), "username": "me", "password": "secret",
    }  # fmt: skip
    found = reach(config(kubeconfig_file=str(kubeconfig(tmp_path, user, **options))), "key")
    tls, basic = found.client.tls_config, found.client.basic_auth
    assert found.url == "https://api.test:6443"
    assert (tls.ca_file, tls.cert, tls.key.reveal()) == (str(tmp_path / "ca.pem"), "CERT", "KEY")
    assert (tls.server_name, tls.insecure_skip_verify) == ("k8s.test", True)
    assert found.client.proxy_url == "http://proxy.test"
    assert basic is not None
    assert (basic.username, basic.password.reveal()) == ("me", "secret")
    token = reach(config(kubeconfig_file=str(kubeconfig(tmp_path, {"tokenFile": "t", "token": "x"}))), "key")
    assert token.client.authorization is not None
    assert token.client.authorization.credentials_file == str(tmp_path / "t")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda c: c["users"][0]["user"].update({"exec": {"command": "aws"}}), "exec of user 'u' is not supported"),
        (lambda c: c.update({"current-context": "gone"}), "no context 'gone'"),
        (lambda c: c["clusters"].clear(), "no cluster 'c'"),
        (lambda c: c["users"].clear(), "no user 'u'"),
        (lambda c: c["clusters"][0]["cluster"].pop("server"), "has no server"),
        (lambda c: c["users"][0]["user"].update({"client-key-data": "??"}), "client-key-data is not base64"),
        (lambda c: c["users"][0]["user"].update({"client-key": "k"}), "set together"),
    ],
)
def test_kubeconfig_files_that_are_refused(tmp_path: Path, change: Any, why: str) -> None:
    """It is said what is wrong."""
    path = kubeconfig(tmp_path, {"token": "t"})
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=why):
        reach(config(kubeconfig_file=str(path)), "key")


@pytest.mark.parametrize("content", ["", "[]", "a: ["])
def test_files_that_are_no_kubeconfig(tmp_path: Path, content: str) -> None:
    """Neither is one that is not there."""
    (tmp_path / "config").write_text(content)
    for name in ("config", "none"):
        with pytest.raises(ConfigError, match="cannot tell how the API server is reached"):
            reach(config(kubeconfig_file=str(tmp_path / name)), "key")


async def test_a_discovery_that_cannot_be_told_says_so(lab: DiscoveryLab, tmp_path: Path) -> None:
    """It ends, to be run again later."""
    with pytest.raises(ConfigError):
        await KubernetesDiscovery(lab.settings, config(kubeconfig_file=str(tmp_path / "none"))).run(lab.publish)


@pytest.mark.parametrize(
    "selector",
    ["", "a", "!a", "a=b", "a==b", "a!=b", "a=", "a in (b)", "a notin (b, c)", "x.test/a=b,!c", "a>1", " a = b , c "],
)
def test_label_selectors(selector: str) -> None:
    """All forms of the documentation."""
    assert check_label_selector(selector) == selector


@pytest.mark.parametrize("selector", ["a b", "a=b,", "=b", "a in b", "a in (b", "a,,b", "a=b c", "-a", "a>b", "!"])
def test_what_is_no_label_selector(selector: str) -> None:
    """It would be refused by the server only once the daemon runs."""
    with pytest.raises(ValueError, match="invalid selector"):
        check_label_selector(selector)


@pytest.mark.parametrize("selector", ["", "a=b", "a==b", "a!=b", "spec.nodeName=x,status.phase!=Failed", r"a=b\,c"])
def test_field_selectors(selector: str) -> None:
    """Equal, or not."""
    assert check_field_selector(selector) == selector


@pytest.mark.parametrize("selector", ["a", "metadata.status-Running", "a=b=c", "=b", "a=b,c"])
def test_what_is_no_field_selector(selector: str) -> None:
    """Likewise."""
    with pytest.raises(ValueError, match="invalid selector"):
        check_field_selector(selector)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"role": "pods"}, "role"),
        ({"bearer_token": "x"}, "provide the 'api_server' URL explicitly"),
        ({"tls_config": {"insecure_skip_verify": True}}, "provide the 'api_server' URL explicitly"),
        ({"api_server": "http://a", "kubeconfig_file": "b"}, "simultaneously"),
        ({"api_server": "a"}, "URL scheme"),
        ({"selectors": [{"role": "pod"}]}, "service role supports only service selectors"),
        ({"selectors": [{"role": "service"}, {"role": "service"}]}, "duplicated selector role: service"),
        ({"attach_metadata": {"nodes": True}}, "attach_metadata.nodes"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], why: str) -> None:
    """The option is named."""
    with pytest.raises(ValidationError, match=why):
        config(**options)
