"""Secrets open for their owner under their key, and not otherwise."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import ConfigError
from headrace.store.access.sealing import MasterKey, Unsealable, load_master_key, parse_master_key

if TYPE_CHECKING:
    from pathlib import Path

KEY = bytes(range(32))


def test_round_trip() -> None:
    key = MasterKey(KEY)
    one, other = key.seal("söcret", "AKIA1"), key.seal("söcret", "AKIA1")
    assert one != other
    assert b"cret" not in one
    assert MasterKey(KEY).open(one, "AKIA1") == key.open(other, "AKIA1") == "söcret"


@pytest.mark.parametrize("at", [0, 1, 12, 13, -1])
def test_an_altered_byte_is_found(at: int) -> None:
    sealed = bytearray(MasterKey(KEY).seal("secret", "AKIA1"))
    sealed[at] ^= 1
    with pytest.raises(Unsealable):
        MasterKey(KEY).open(bytes(sealed), "AKIA1")


def test_other_owner_other_key_and_nothing() -> None:
    sealed = MasterKey(KEY).seal("secret", "AKIA1")
    with pytest.raises(Unsealable, match="AKIA2 does not open"):
        MasterKey(KEY).open(sealed, "AKIA2")
    with pytest.raises(Unsealable, match="another master key"):
        MasterKey(bytes(32)).open(sealed, "AKIA1")
    for cut in (b"", sealed[:5], sealed[:14]):
        with pytest.raises(Unsealable):
            MasterKey(KEY).open(cut, "AKIA1")


def test_the_file_is_made_and_found_again(tmp_path: Path) -> None:
    path, data = tmp_path / "keys" / "master.key", tmp_path / "data"
    sealed = load_master_key(path, "access.master_key_file", data).seal("secret", "x")
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_master_key(path, "access.master_key_file", data).open(sealed, "x") == "secret"


def test_a_file_that_others_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    load_master_key(path, "s", tmp_path / "data")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"s: .* can be read by others \(mode 0640\): chmod 600"):
        load_master_key(path, "s", tmp_path / "data")


def test_a_file_among_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the data directory"):
        load_master_key(tmp_path / "data" / ".." / "data" / "master.key", "s", tmp_path / "data")


@pytest.mark.parametrize("text", ["", "not base64!", base64.b64encode(b"short").decode()])
def test_a_bad_key_is_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError, match="must be 32 bytes in base64") as caught:
        parse_master_key(text, "s")
    assert not text or text not in str(caught.value)
