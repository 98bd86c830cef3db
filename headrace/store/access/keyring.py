"""Users, access keys and policies that were made with ``headrace access``; SQLite, secrets sealed.

The daemon reads all of it into memory and answers from there; `refresh` notices what another process has changed.
"""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headrace.pipeline.errors import InvalidInput, StoreError
from headrace.store.access.principals import AccessKey, User, check_key_id, check_policy_name, check_user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from headrace.store.access.sealing import MasterKey

_VERSION = 1
_SCHEMA = """
CREATE TABLE users (name TEXT PRIMARY KEY, tags TEXT NOT NULL, created_ns INTEGER NOT NULL) STRICT;
CREATE TABLE policies (name TEXT PRIMARY KEY, document TEXT NOT NULL, changed_ns INTEGER NOT NULL) STRICT;
CREATE TABLE attachments (
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    policy TEXT NOT NULL REFERENCES policies (name) ON DELETE RESTRICT,
    PRIMARY KEY (user, policy)
) STRICT;
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    secret BLOB NOT NULL,
    session_token BLOB,
    created_ns INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    active INTEGER NOT NULL
) STRICT;
"""
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MAX_KEYS = 2
_BUSY_S = 5.0


class NoSuchEntity(InvalidInput):
    """A user, key or policy does not exist."""


class Keyring:
    """The users, keys and policies of one data directory.

    Methods that change something are transactions: durable on return. They may be called from several processes.

    Args:
        path: The database; made where it is missing.
        master_key: Seals the secrets.
        clock_ns: Unix time.
    """

    def __init__(self, path: Path, master_key: MasterKey, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._master_key = master_key
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._data_version = -1
        self.users: dict[str, User] = {}
        self.keys: dict[str, AccessKey] = {}
        self.policies: dict[str, str] = {}
        """Documents by name."""
        self.revision = 0
        """Grows with every change that was noticed, for caches."""

    def open(self) -> None:
        """Open the database and read it.

        Raises:
            StoreError: It is no database of this kind, or of a later release.
            Unsealable: A secret does not open under the master key.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        self._path.chmod(0o600)
        try:
            for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                database.execute(f"PRAGMA {setting}")
            self._prepare(database)
        except sqlite3.DatabaseError as error:
            database.close()
            raise StoreError(f"{self._path}: {error}") from None
        except StoreError:
            database.close()
            raise
        self._database = database
        self.refresh()

    def close(self) -> None:
        """Close the database; safe before `open` and twice."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _prepare(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreError(f"{self._path}: made by a later release (version {version}, known {_VERSION})")
        if version == 0:
            database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")

    # -- reading -------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Read the database again if another process or a method of this one has changed it; return whether so."""
        with self._lock:
            database = self._opened()
            # Counts commits of other connections only; this one's own reset it to -1.
            (version,) = database.execute("PRAGMA data_version").fetchone()
            if version == self._data_version:
                return False
            self._data_version = version
            self._read(database)
            self.revision += 1
            return True

    def _read(self, database: sqlite3.Connection) -> None:
        attached: dict[str, list[str]] = {}
        database.execute("BEGIN")
        try:
            for user, policy in database.execute("SELECT user, policy FROM attachments ORDER BY user, policy"):
                attached.setdefault(user, []).append(policy)
            users = {
                name: User(name, json.loads(tags), tuple(attached.get(name, ())))
                for name, tags in database.execute("SELECT name, tags FROM users ORDER BY name")
            }
            policies = dict(database.execute("SELECT name, document FROM policies ORDER BY name"))
            rows = database.execute("SELECT id, user, secret, session_token, expires_ns, active FROM keys").fetchall()
        finally:
            database.execute("COMMIT")
        keys = {row[0]: self._unsealed(*row) for row in rows}
        self.users, self.policies, self.keys = users, policies, keys

    def _unsealed(
        self, key_id: str, user: str, secret: bytes, token: bytes | None, expires_ns: int, active: int
    ) -> AccessKey:
        plain = self._master_key.open(secret, _owner(key_id, user))
        session = self._master_key.open(token, _owner(key_id, user)) if token is not None else ""
        return AccessKey(key_id, user, plain, session, expires_ns, bool(active))

    # -- changing ------------------------------------------------------------------------------------------

    def create_user(self, name: str, tags: Mapping[str, str] | None = None) -> User:
        """Make a user without keys and policies.

        Raises:
            InvalidInput: The name is taken, or not one.
        """
        check_user_name(name)
        with self._change() as database:
            if self._has(database, "users", "name", name):
                raise InvalidInput(f"user {name!r} exists already")
            row = (name, json.dumps(dict(tags or {})), self._clock_ns())
            database.execute("INSERT INTO users VALUES (?, ?, ?)", row)
        return self.users[name]

    def delete_user(self, name: str) -> None:
        """Remove a user with its keys.

        Raises:
            NoSuchEntity: There is none.
        """
        with self._change() as database:
            self._delete(database, "users", "name", name, f"user {name!r}")

    def put_policy(self, name: str, document: str) -> None:
        """Store a policy document under a name, in place of one that is there; who calls has parsed it."""
        check_policy_name(name)
        with self._change() as database:
            database.execute(
                "INSERT INTO policies VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET document = excluded.document, changed_ns = excluded.changed_ns",
                (name, document, self._clock_ns()),
            )

    def delete_policy(self, name: str) -> None:
        """Remove a policy.

        Raises:
            NoSuchEntity: There is none.
            InvalidInput: It is attached to a user.
        """
        with self._change() as database:
            query = "SELECT user FROM attachments WHERE policy = ? ORDER BY user"
            users = [user for (user,) in database.execute(query, (name,))]
            if users:
                raise InvalidInput(f"policy {name!r} is attached to {', '.join(users[:5])}: detach it first")
            self._delete(database, "policies", "name", name, f"policy {name!r}")

    def attach(self, user: str, policy: str) -> None:
        """Attach a policy to a user; nothing happens where it is attached.

        Raises:
            NoSuchEntity: There is no such user or policy.
        """
        with self._change() as database:
            self._need(database, "users", user, "user")
            self._need(database, "policies", policy, "policy")
            database.execute("INSERT OR IGNORE INTO attachments VALUES (?, ?)", (user, policy))

    def detach(self, user: str, policy: str) -> None:
        """Take a policy from a user.

        Raises:
            NoSuchEntity: It is not attached.
        """
        with self._change() as database:
            found = database.execute("DELETE FROM attachments WHERE user = ? AND policy = ?", (user, policy))
            if not found.rowcount:
                raise NoSuchEntity(f"policy {policy!r} is not attached to user {user!r}")

    def create_key(self, user: str, duration_s: float = 0) -> AccessKey:
        """Make an access key; its secret is shown by the answer and nowhere else again.

        Args:
            user: Whose it is; at most two long-lived keys a user, as in IAM.
            duration_s: Seconds for which it is good, together with a session token; 0 for a long-lived key.

        Raises:
            NoSuchEntity: There is no such user.
            InvalidInput: The user has two keys.
        """
        prefix = "ASIA" if duration_s else "AKIA"
        key_id = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(16))
        token = base64.b64encode(secrets.token_bytes(96)).decode() if duration_s else ""
        expires_ns = self._clock_ns() + int(duration_s * 1e9) if duration_s else 0
        key = AccessKey(key_id, user, base64.b64encode(secrets.token_bytes(30)).decode(), token, expires_ns)
        with self._change() as database:
            self._need(database, "users", user, "user")
            query = "SELECT count(*) FROM keys WHERE user = ? AND expires_ns = 0"
            if not duration_s and database.execute(query, (user,)).fetchone()[0] >= _MAX_KEYS:
                raise InvalidInput(f"user {user!r} has {_MAX_KEYS} access keys: delete one first")
            # Temporary credentials that are over by a day are of no use, not even to explain a denial.
            limit = self._clock_ns() - 86_400_000_000_000
            database.execute("DELETE FROM keys WHERE expires_ns > 0 AND expires_ns < ?", (limit,))
            database.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, 1)", self._sealed(key))
        return key

    def _sealed(self, key: AccessKey) -> tuple[object, ...]:
        owner = _owner(key.id, key.user)
        token = self._master_key.seal(key.session_token, owner) if key.session_token else None
        return key.id, key.user, self._master_key.seal(key.secret, owner), token, self._clock_ns(), key.expires_ns

    def set_active(self, key_id: str, *, active: bool) -> None:
        """Put an access key out of use, or into use again.

        Raises:
            NoSuchEntity: There is none.
        """
        with self._change() as database:
            found = database.execute("UPDATE keys SET active = ? WHERE id = ?", (int(active), check_key_id(key_id)))
            if not found.rowcount:
                raise NoSuchEntity(f"access key {key_id!r} does not exist")

    def delete_key(self, key_id: str) -> None:
        """Remove an access key.

        Raises:
            NoSuchEntity: There is none.
        """
        with self._change() as database:
            self._delete(database, "keys", "id", key_id, f"access key {key_id!r}")

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            database = self._opened()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")
            self._data_version = -1
        self.refresh()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            raise AssertionError("bug: keyring used before open")
        return self._database

    @staticmethod
    def _has(database: sqlite3.Connection, table: str, column: str, value: str) -> bool:
        query = f"SELECT 1 FROM {table} WHERE {column} = ?"  # noqa: S608 -- names of ours
        return database.execute(query, (value,)).fetchone() is not None

    def _need(self, database: sqlite3.Connection, table: str, name: str, what: str) -> None:
        if not self._has(database, table, "name", name):
            raise NoSuchEntity(f"{what} {name!r} does not exist")

    @staticmethod
    def _delete(database: sqlite3.Connection, table: str, column: str, value: str, what: str) -> None:
        query = f"DELETE FROM {table} WHERE {column} = ?"  # noqa: S608 -- names of ours
        if not database.execute(query, (value,)).rowcount:
            raise NoSuchEntity(f"{what} does not exist")


def _owner(key_id: str, user: str) -> str:
    return f"{key_id} of {user}"
