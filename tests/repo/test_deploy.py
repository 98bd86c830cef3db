"""The files for running the daemon as a service: they hold to the usual rules, and name what there is."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from container_steps import instructions
from headrace.cli.main import main

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
STEPS = list(instructions(DEPLOY / "Containerfile"))


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their capitals
    parser.read(DEPLOY / "headrace.service")
    return parser


def of(name: str) -> list[str]:
    return [one.text for one in STEPS if one.name == name]


def test_stages_begin_with_one_release_each() -> None:
    """The same for all, so that what one makes runs in the other; never whatever is newest."""
    images = {text.partition(" AS ")[0] for text in of("FROM")}
    assert len(images) == 1
    assert all(re.search(r":\d+\.\d+-", image) for image in images)


def test_what_hadolint_asks_for() -> None:
    """No root, no ADD, no sudo, absolute folders, commands as lists, packages by hash, no cache left in the image."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", of("USER")[-1])
    assert not of("ADD")
    assert not of("MAINTAINER")
    assert all(text.startswith("/") for text in of("WORKDIR"))
    assert all(text.startswith("[") for text in [*of("ENTRYPOINT"), *of("CMD"), *of("VOLUME")])
    assert [len(of(name)) for name in ("ENTRYPOINT", "CMD", "HEALTHCHECK")] == [1, 1, 1]
    installs = [part for text in of("RUN") for part in text.split("&&") if " pip install " in part]
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)
    assert any("PIP_NO_CACHE_DIR=1" in text for text in of("ENV"))
    assert not any(re.search(r"\b(sudo|apt-get|apk|curl|wget|cd)\b", text) for text in of("RUN"))
    names = [one.name for one in STEPS]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in {"RUN", "COPY"})


def test_every_file_that_is_copied_is_there() -> None:
    """In the checkout, and none of it in a later stage from nowhere."""
    for one in STEPS:
        if one.name == "COPY" and not any(flag.startswith("--from=") for flag in one.flags):
            assert all((ROOT / source).exists() for source in one.words[:-1]), one


def test_the_wheel_of_the_image_is_whole() -> None:
    """What the package is made of is copied before it is built, the licence and its notice too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    copied = {word for one in STEPS if one.name == "COPY" for word in one.words[:-1]}
    assert {"pyproject.toml", "headrace", project["readme"], *project["license-files"]} <= copied


def test_the_build_is_locked() -> None:
    """What builds the wheel is what the tests build it with."""
    text = (DEPLOY / "requirements-build.txt").read_text().partition("\n")[2]
    locked = (ROOT / "requirements-dev.txt").read_text()
    entries = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert len(entries) >= 5
    assert [entry.splitlines()[0] for entry in entries if entry not in locked] == []


@pytest.mark.parametrize("name", ["container.yaml", "headrace.yaml"])
def test_configurations_load(name: str) -> None:
    """Without a warning."""
    result = CliRunner().invoke(main, ["validate", "--config", str(DEPLOY / name)])
    assert (result.exit_code, result.output) == (0, "configuration is valid\n")


def test_the_unit_fits_the_daemon() -> None:
    """Commands that there are, the exit code of a wrong configuration, and nothing that forbids compiling."""
    service = unit()["Service"]
    assert service["ExecStart"].split()[1:] == ["run", "--config", "/etc/headrace/config.yaml"]
    assert service["ExecReload"].split()[:2] == ["/bin/kill", "-HUP"]
    assert service["Type"] == "notify"
    assert service["RestartPreventExitStatus"] == "2"
    assert "MemoryDenyWriteExecute" not in service
    writable = {
        f"/var/{kind}/{service[name]}" for kind, name in (("lib", "StateDirectory"), ("cache", "CacheDirectory"))
    }
    assert service["Environment"].split()[0] == "NUMBA_CACHE_DIR=/var/cache/headrace"
    used = re.findall(r"/var/\w+/headrace", (DEPLOY / "headrace.yaml").read_text() + service["Environment"])
    assert set(used) == writable


def test_systemd_knows_all_of_the_unit(tmp_path: Path) -> None:
    """Nothing is misspelt; programs are where this machine has some."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    text = (DEPLOY / "headrace.service").read_text().replace("/opt/headrace/bin/headrace", "/bin/true")
    (tmp_path / "headrace.service").write_text(text)
    result = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "headrace.service"], capture_output=True, text=True, check=False
    )
    assert "headrace.service" not in result.stderr, result.stderr
