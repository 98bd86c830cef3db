"""Flags of vmagent are checked as vmagent does, and so are the files that they name."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner

from headrace.cli.convert.vmagent_arguments import parse, split
from headrace.cli.convert.vmagent_flags import FLAGS
from headrace.cli.main import main
from headrace.cli.registry import ComponentRegistry
from headrace.pipeline.config.load import load_files

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

RUNS = int(os.environ.get("HEADRACE_FUZZ_RUNS", "300"))
URL = "-remoteWrite.url=http://localhost:1/api/v1/write"


def convert(*flags: str) -> Result:
    return CliRunner().invoke(main, ["convert", "vmagent", "--", *flags])


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["-remoteWrite.ulr=x"], "-remoteWrite.ulr: unknown flag, did you mean 'remoteWrite.url'?"),
        (["-remoteWrite.bearerTokn", "hunter2"], "-remoteWrite.bearerTokn: unknown flag"),
        (["-remoteWrite.sendTimeout=soon"], "-remoteWrite.sendTimeout: must be a duration"),
        (["-remoteWrite.sendTimeout=1s,2"], "-remoteWrite.sendTimeout: must be a duration"),
        (["-remoteWrite.tlsInsecureSkipVerify=maybe"], "tlsInsecureSkipVerify: must be true or false, got 'maybe'"),
        (["-remoteWrite.queues=many"], "-remoteWrite.queues: must be a whole number, got 'many'"),
        (["-remoteWrite.maxBlockSize=8Mo"], "-remoteWrite.maxBlockSize: must be a size"),
        (["-remoteWrite.vmProtoCompressLevel"], "-remoteWrite.vmProtoCompressLevel: needs a value"),
        (["-remoteWrite.label=a"], "-remoteWrite.label: must be name=value, got 'a'"),
        (["-remoteWrite.headers=hunter2"], "-remoteWrite.headers: header 1 must be NAME:VALUE"),
        (["-remoteWrite.url=,http://b"], "-remoteWrite.url: is required"),
        (["-remoteWrite.basicAuth.username=a", "-remoteWrite.bearerToken=b"], "more than one kind of credentials"),
        (["-promscrape.config=/none.yml"], "/none.yml: cannot be read: No such file or directory"),
        (["-remoteWrite.relabelConfig=/none.yml"], "/none.yml: cannot be read: No such file or directory"),
        (["-remoteWrite.urlRelabelConfig=/none.yml"], "/none.yml: cannot be read: No such file or directory"),
        (["-remoteWrite.showURL", "true"], "true: is no flag"),
        (["-"], "-: is no flag"),
    ],
)
def test_mistakes(flags: list[str], why: str) -> None:
    """The flag and its value are told, unless it may be a secret; there is no configuration."""
    result = convert(URL, *flags)
    assert isinstance(result.exception, SystemExit)
    assert (result.exit_code, result.stdout) == (2, "")
    assert why in result.stderr
    assert "hunter2" not in result.stderr


def test_all_mistakes_at_once_and_the_list() -> None:
    """What could not be carried over is told, too."""
    result = convert("-remoteWrite.queues=x", "-nope", "-remoteWrite.tmpDataPath=/var", "-remoteWrite.showURL=false")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "-nope: unknown flag",
        "-remoteWrite.queues: must be a whole number, got 'x'",
        "-remoteWrite.url: is required: vmagent sends on what it takes",
        "not carried over: -remoteWrite.tmpDataPath: name a file_storage extension in sending_queue.storage",
    ]


def test_files_are_checked(tmp_path: Path) -> None:
    """With file, line and path of each mistake; what vmagent alone has is known, and named."""
    (tmp_path / "scrape.yml").write_text(
        "global: {scrape_interval: 1x}\n"
        "scrape_configs:\n"
        "  - {job_name: a, stream_parse: true, series_limit: 5, static_configs: [{targets: ['a:1']}]}\n"
        "  - {job_name: b, stream_pars: true}\n"
        "remote_write: []\n"
    )
    (tmp_path / "all.yml").write_text("- {action: labeldrop, regex: a}\n- {action: drop, if: '{a=\"b\"}'}\n- 3\n")
    (tmp_path / "one.yml").write_text("{}\n")
    result = convert(
        URL,
        f"-promscrape.config={tmp_path}/scrape.yml",
        f"-remoteWrite.relabelConfig={tmp_path}/all.yml",
        f"-remoteWrite.urlRelabelConfig={tmp_path}/one.yml",
    )
    assert result.exit_code == 2
    found = [line.removeprefix(f"{tmp_path}/") for line in result.stderr.splitlines()]
    assert [line.partition(", ")[0] for line in found] == [
        "all.yml:2:18: [1].if: not supported: rules have no conditions: match with source_labels and regex",
        "all.yml:3:3: [2]: must be a mapping",
        "one.yml:1:1: must be a list",
        "scrape.yml:1:10: global.scrape_interval: must be a duration such as 15s or 1m30s",
        "scrape.yml:4:19: scrape_configs[1].stream_pars: unknown option",
        "scrape.yml:5:1: remote_write: is no section of a prometheus.yml",
        "not carried over: job a.stream_parse: has no counterpart in the receiver prometheus",
        "not carried over: job a.series_limit: has no counterpart in the receiver prometheus",
    ]


def test_signatures_and_addresses() -> None:
    """Flags of AWS become an extension where they are switched on; further addresses are named."""
    aws = ("-remoteWrite.aws.region=eu-central-1", "-remoteWrite.aws.roleARN=arn:x")
    result = convert("-remoteWrite.url=https://a,https://b", "-remoteWrite.aws.useSigv4=true,false", *aws,
                     "-httpListenAddr=:1,:2")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    load_files([f"yaml:{result.stdout}"], ComponentRegistry())
    document = yaml.safe_load(result.stdout)
    assert document["extensions"] == {"sigv4_auth/1": {"region": "eu-central-1", "assume_role": {"arn": "arn:x"}}}
    assert "auth" not in document["exporters"]["prometheus_remote_write/2"]
    assert "not carried over: -httpListenAddr=:2: add receivers that listen there as well" in result.stderr


def test_arguments_as_go_reads_them() -> None:
    """Switches take no argument; the last value counts, or all of them where there may be several."""
    faults: list[object] = []
    flags = parse(
        ["-remoteWrite.showURL", "--promscrape.config", "-a", "-promscrape.config=b", "-remoteWrite.url=a,b",
         "-remoteWrite.url", "c"], faults,  # type: ignore[arg-type]  # it stays empty
    )  # fmt: skip
    assert not faults
    assert flags == {
        "remoteWrite.showURL": ["true"], "promscrape.config": ["b"], "remoteWrite.url": ["a", "b", "c"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", [""]), ("a,,b", ["a", "", "b"]), ('"a,b",c', ["a,b", "c"]), ("'a\\'b'", ["a'b"]),
        ("{a,b},(c,[d,e])", ["{a,b}", "(c,[d,e])"]), ("a}b,c", ["a}b", "c"]), ('a"b', ['a"b']),
    ],
)  # fmt: skip
def test_arrays(text: str, values: list[str]) -> None:
    """Quotes and brackets keep commas."""
    assert split(text) == values


@pytest.mark.fuzz
def test_random_flags(tmp_path: Path) -> None:
    """Each command line is converted into what loads, or refused with a reason; nothing is a traceback."""
    rng = random.Random(29)
    scrape = tmp_path / "scrape.yml"
    names = [*FLAGS, *[name for name in FLAGS if name.startswith("remoteWrite.")] * 3]
    values = [
        "",
        "a",
        "1",
        "true",
        "5s",
        "1MB",
        "a,b",
        '"',
        "[",
        "\0",
        "a=b",
        "a:b^^c",
        "https://b",
        str(scrape),
        "/",
        "\n",
    ]
    codes = {0: 0, 2: 0}
    for _ in range(RUNS):
        scrape.write_text(
            rng.choice(["", "[]", "- {regex: a, action: labeldrop}", "scrape_configs: [{job_name: a}]", "3"])
        )
        flags = [f"-{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.randint(0, 4))]
        result = convert("-remoteWrite.url=https://localhost:1,https://c", *flags)
        assert isinstance(result.exception, SystemExit | None), (flags, result.exception)
        assert result.exit_code == 0 or result.stderr, flags
        codes[result.exit_code] += 1
        if result.exit_code == 0:
            assert load_files([f"yaml:{result.stdout}"], ComponentRegistry()).pipelines
    assert min(codes.values()) > RUNS // 20, codes
