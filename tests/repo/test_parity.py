"""docs/parity.md says what the daemon says about the options of other collectors."""

from __future__ import annotations

import pytest

import parity
import parity_files
from headrace.cli.registry import ComponentRegistry


@pytest.fixture(scope="module")
def found() -> list[parity.Component]:
    return list(parity.components())


def test_the_page_is_up_to_date(found: list[parity.Component]) -> None:
    """Whoever adds an option runs `make parity`."""
    assert parity.PAGE.read_text() == parity.page(found), "run: make parity"


def test_every_component_is_asked_with_settings_that_load(found: list[parity.Component]) -> None:
    """A mistake in the list itself would make all options of a component look refused."""
    there = ComponentRegistry()
    wrong = [one for one in found if there.find(one.section, one.type) and one.whole.verdict != "supported"]
    assert not wrong, [(one.section, one.type, one.whole.message) for one in wrong]


def test_rows_have_names_of_their_own(found: list[parity.Component]) -> None:
    """No option is counted twice."""
    for one in found:
        names = [answer.option for answer in one.options]
        assert len(names) == len(set(names)), f"{one.section}/{one.type}: {sorted(names)}"


@pytest.mark.parametrize(
    ("settings", "verdict"),
    [
        ({"timeout": "1s"}, "supported"),
        ({"metadata_keys": ["tenant"]}, "supported"),
        ({"middlewares": ["a"]}, "refused"),
        ({"middlewares": []}, "supported"),
        ({"timeout": "never"}, "refused"),
        ({"made_up": 1}, "unknown"),
    ],
)
def test_the_verdict_is_the_daemon_s(settings: dict[str, object], verdict: str) -> None:
    """What loads is supported; what is refused without a reason is unknown."""
    answer = parity.ask(ComponentRegistry(), "processors", "batch", parity.Option("it", settings), {})
    assert answer.verdict == verdict, answer


def test_settings_are_laid_over_those_that_are_needed() -> None:
    """At their path, into the first entry of lists, a null taking one away."""
    base = {"jobs": [{"name": "a", "at": {"host": "b"}}], "kept": 1}
    assert parity.placed(base, "jobs[].at", {"port": 2}) == {
        "jobs": [{"name": "a", "at": {"host": "b", "port": 2}}],
        "kept": 1,
    }
    assert parity.placed(base, "", {"kept": None, "more": 3}) == {"jobs": base["jobs"], "more": 3}
    assert base == {"jobs": [{"name": "a", "at": {"host": "b"}}], "kept": 1}


def test_files_are_enough() -> None:
    """There are ten files of the Collector at least, and each is told about by its first line."""
    files = list(parity_files.FILES.glob("*.yaml"))
    assert len(files) >= 10
    assert all(path.read_text().startswith("# ") for path in files)


def test_published_files_load_or_are_refused_with_the_reason() -> None:
    """No setting that Prometheus takes is called unknown; a receiver without anything to scrape is a mistake."""
    files = parity_files.good_files()
    if not files:
        pytest.skip(f"{parity_files.PROMETHEUS} is not there")
    found = {path.name: parity_files.prometheus_faults(path) for path in files}
    assert sum(not faults for faults in found.values()) >= 20
    whys = [fault.why for faults in found.values() for fault in faults]
    reasons = ("not supported", "config.scrape_configs: at least one job is needed")
    assert [why for why in whys if not any(reason in why for reason in reasons)] == []


def test_published_mistakes_are_refused() -> None:
    """What Prometheus does not take is not taken here either."""
    if not parity_files.PROMETHEUS.is_dir():
        pytest.skip(f"{parity_files.PROMETHEUS} is not there")
    files = parity_files.bad_files()
    assert len(files) >= 100
    assert [path.name for path in files if not parity_files.prometheus_faults(path)] == []


def test_the_list_of_files_has_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """`make foreign-files` prints each file with what becomes of it, and how many load."""
    assert parity_files.main() == 0
    shown = capsys.readouterr().out
    files = sorted(parity_files.FILES.glob("*.yaml"))
    loading = [path.name for path in files if f"{path.name}: loads\n" in shown]
    refused = [path.name for path in files if f"{path.name}: refused\n    {path.name}:" in shown]
    assert sorted(loading + refused) == [path.name for path in files]
    counts = f"{len(files)}, {len(loading)} load, {len(refused)} refused with the reason"
    assert f"files of the Collector: {counts}" in shown


def test_the_page_keeps_what_it_says_of_files_that_are_not_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be written anywhere."""
    monkeypatch.setattr(parity_files, "PROMETHEUS", parity_files.ROOT / "nowhere")
    page = parity.PAGE.read_text()
    assert page.endswith("\n".join(parity_files.prometheus_files(page)) + "\n")
    assert "## Files of Prometheus' own tests" in page
