"""Users, keys and policies are durable, shared between processes, and of no use to who steals the database."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from headrace.pipeline.errors import InvalidInput, StoreError
from headrace.store.access.keyring import Keyring, NoSuchEntity
from headrace.store.access.sealing import MasterKey, Unsealable

if TYPE_CHECKING:
    from pathlib import Path

MASTER = bytes(range(32))
NOW = 1_800_000_000_000_000_000


def opened(path: Path, master: bytes = MASTER) -> Keyring:
    keyring = Keyring(path / "access.db", MasterKey(master), lambda: NOW)
    keyring.open()
    return keyring


@pytest.fixture
def keyring(tmp_path: Path) -> Keyring:
    return opened(tmp_path)


def test_what_was_made_is_found_again(keyring: Keyring, tmp_path: Path) -> None:
    keyring.create_user("writer", {"team": "lake"})
    keyring.put_policy("write", '{"Statement": []}')
    keyring.attach("writer", "write")
    keyring.attach("writer", "write")
    key = keyring.create_key("writer")
    keyring.close()

    again = opened(tmp_path)
    assert again.users["writer"].policies == ("write",)
    assert again.users["writer"].tags == {"team": "lake"}
    assert again.users["writer"].arn("123456789012") == "arn:aws:iam::123456789012:user/writer"
    assert again.keys == {key.id: key}
    assert again.policies == {"write": '{"Statement": []}'}
    assert (tmp_path / "access.db").stat().st_mode & 0o777 == 0o600


def test_keys_look_like_aws_keys(keyring: Keyring) -> None:
    keyring.create_user("u")
    key, temporary = keyring.create_key("u"), keyring.create_key("u", 3600)
    assert (key.id[:4], len(key.id), len(key.secret)) == ("AKIA", 20, 40)
    assert (temporary.id[:4], temporary.expires_ns) == ("ASIA", NOW + 3_600_000_000_000)
    assert len(temporary.session_token) == 128
    assert key.secret not in repr(key)
    assert temporary.session_token not in repr(temporary)


def test_faults(keyring: Keyring) -> None:
    keyring.create_user("u")
    keyring.put_policy("p", "{}")
    keyring.attach("u", "p")
    keyring.create_key("u")
    keyring.create_key("u")
    for call, text in (
        (lambda: keyring.create_user("u"), "user 'u' exists already"),
        (lambda: keyring.create_user("no blanks"), "user name 'no blanks' must be"),
        (lambda: keyring.put_policy("", "{}"), "policy name '' must be"),
        (lambda: keyring.create_key("u"), "user 'u' has 2 access keys: delete one first"),
        (lambda: keyring.delete_policy("p"), "policy 'p' is attached to u: detach it first"),
        (lambda: keyring.set_active("x", active=False), "access key id 'x' must be"),
    ):
        with pytest.raises(InvalidInput, match=text):
            call()
    for call, text in (
        (lambda: keyring.delete_user("v"), "user 'v' does not exist"),
        (lambda: keyring.attach("v", "p"), "user 'v' does not exist"),
        (lambda: keyring.attach("u", "q"), "policy 'q' does not exist"),
        (lambda: keyring.detach("u", "q"), "policy 'q' is not attached to user 'u'"),
        (lambda: keyring.create_key("v"), "user 'v' does not exist"),
        (lambda: keyring.delete_key("v"), "access key 'v' does not exist"),
        (lambda: keyring.set_active("A" * 20, active=False), "does not exist"),
    ):
        with pytest.raises(NoSuchEntity, match=text):
            call()


def test_taking_away(keyring: Keyring) -> None:
    keyring.create_user("u")
    keyring.put_policy("p", "{}")
    keyring.attach("u", "p")
    one, other = keyring.create_key("u"), keyring.create_key("u")
    keyring.set_active(one.id, active=False)
    assert [keyring.keys[key.id].active for key in (one, other)] == [False, True]
    keyring.delete_key(one.id)
    keyring.detach("u", "p")
    keyring.delete_policy("p")
    assert (list(keyring.keys), keyring.policies, keyring.users["u"].policies) == ([other.id], {}, ())
    keyring.delete_user("u")
    assert (keyring.keys, keyring.users) == ({}, {})


def test_another_process_is_noticed(keyring: Keyring, tmp_path: Path) -> None:
    other = opened(tmp_path)
    assert not keyring.refresh()
    before = keyring.revision
    other.create_user("u")
    assert keyring.refresh()
    assert not keyring.refresh()
    assert "u" in keyring.users
    assert keyring.revision == before + 1


def test_a_stolen_database_holds_no_usable_secret(keyring: Keyring, tmp_path: Path) -> None:
    keyring.create_user("u")
    key, temporary = keyring.create_key("u"), keyring.create_key("u", 60)
    secrets = [key.secret, temporary.secret, temporary.session_token]
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in data], path
    keyring.close()
    with pytest.raises(Unsealable, match="another master key"):
        opened(tmp_path, bytes(32))


def test_a_secret_does_not_open_for_another_key(keyring: Keyring, tmp_path: Path) -> None:
    """Who can write the database but has no master key cannot give a user the secret of another."""
    keyring.create_user("u")
    keyring.create_user("admin")
    known, wanted = keyring.create_key("u"), keyring.create_key("admin")
    keyring.close()
    with sqlite3.connect(tmp_path / "access.db") as database:
        change = "UPDATE keys SET secret = (SELECT secret FROM keys WHERE id = ?) WHERE id = ?"
        database.execute(change, (known.id, wanted.id))
    with pytest.raises(Unsealable, match="of admin does not open"):
        opened(tmp_path)


def test_other_files_and_later_releases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "access.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match=r"access\.db: file is not a database"):
        opened(tmp_path)
    path.unlink()
    opened(tmp_path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match=r"made by a later release \(version 9, known 1\)"):
        opened(tmp_path)


WRITER = """
import sys
from pathlib import Path
from headrace.store.access.keyring import Keyring
from headrace.store.access.sealing import MasterKey
keyring = Keyring(Path(sys.argv[1]), MasterKey(bytes(range(32))))
keyring.open()
n = 0
while True:
    keyring.create_user(f"u{n}")
    print(f"u{n}", keyring.create_key(f"u{n}").id, flush=True)
    n += 1
"""


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "access.db")], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline().split() for _ in range(20)]
        os.kill(child.pid, signal.SIGKILL)
        lines += [line.split() for line in child.stdout if line.endswith(b"\n")]
    keyring = opened(tmp_path)
    missing = [(user, key) for user, key in lines if keyring.keys[key.decode()].user != user.decode()]
    assert not missing
    assert len(lines) >= 20
