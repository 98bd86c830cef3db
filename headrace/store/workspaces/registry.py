"""The durable record of workspaces: one SQLite database, mirrored in memory.

Each operation is one transaction, synced before it is answered (``synchronous=FULL``), so that what was acknowledged
outlives ``kill -9``. The data plane asks about its workspace on every request; it is answered from memory, from
values that never change: a change puts a new value in place of the old one, after its transaction is on disk.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from headrace.pipeline.errors import Locked, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMA_VERSION = 1
"""Raised with each change of the tables; a database of a later version is refused."""

_SCHEMA = (
    "CREATE TABLE schema_version (version INTEGER NOT NULL)",
    """CREATE TABLE workspaces (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        alias TEXT,
        status TEXT NOT NULL,
        created_at_ns INTEGER NOT NULL
    )""",
    """CREATE TABLE configurations (
        workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
        status TEXT NOT NULL,
        retention_days INTEGER NOT NULL,
        out_of_order_s INTEGER NOT NULL
    )""",
    """CREATE TABLE tags (
        workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (workspace_id, key)
    )""",
    """CREATE TABLE policies (
        workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE,
        document TEXT NOT NULL,
        revision_id TEXT NOT NULL
    )""",
    """CREATE TABLE tokens (
        caller TEXT NOT NULL,
        operation TEXT NOT NULL,
        token TEXT NOT NULL,
        digest BLOB NOT NULL,
        answer TEXT NOT NULL,
        at_ns INTEGER NOT NULL,
        PRIMARY KEY (caller, operation, token)
    )""",
    "CREATE INDEX tokens_by_age ON tokens (at_ns)",
)


class Status(StrEnum):
    """Where a workspace is in its life."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    DELETING = "DELETING"
    CREATION_FAILED = "CREATION_FAILED"


class ConfigurationStatus(StrEnum):
    """Whether the configuration is in force."""

    ACTIVE = "ACTIVE"
    UPDATING = "UPDATING"
    UPDATE_FAILED = "UPDATE_FAILED"


@dataclass(frozen=True)
class Policy:
    """The resource policy of a workspace."""

    document: str
    """As it was put: JSON text."""
    revision_id: str


@dataclass(frozen=True)
class Workspace:
    """One workspace, as it was at one moment."""

    sequence: int
    """Its place in the order of creation."""
    id: str
    alias: str | None
    status: Status
    created_at_ns: int
    """Nanoseconds since the epoch."""
    tags: Mapping[str, str]
    """Read only."""
    configuration_status: ConfigurationStatus
    retention_days: int
    out_of_order_s: int
    policy: Policy | None
    revision: int
    """`Registry.revision` as of the last change: what is derived from this value holds as long as it is the same."""


@dataclass(frozen=True)
class StoredAnswer:
    """What a request with an idempotency token was answered."""

    digest: bytes
    """Of the arguments."""
    answer: str
    """JSON text."""


class Transaction:
    """Changes that happen together or not at all; made by `Registry.transaction`."""

    def __init__(self, database: sqlite3.Connection, workspaces: Mapping[str, Workspace], revision: int) -> None:
        self._database = database
        self._workspaces = workspaces
        self._revision = revision
        self.changed: dict[str, Workspace | None] = {}
        """The workspaces after the transaction; None where it is gone."""

    def get(self, workspace_id: str) -> Workspace | None:
        """Return a workspace as this transaction left it; None if there is none."""
        if workspace_id in self.changed:
            return self.changed[workspace_id]
        return self._workspaces.get(workspace_id)

    def require(self, workspace_id: str) -> Workspace:
        """Return a workspace that is there."""
        workspace = self.get(workspace_id)
        assert workspace is not None, f"bug: {workspace_id} is gone"
        return workspace

    def create(
        self,
        workspace_id: str,
        alias: str | None,
        tags: Mapping[str, str],
        created_at_ns: int,
        retention_days: int,
        out_of_order_s: int,
    ) -> Workspace:
        """Add a workspace in the state CREATING."""
        cursor = self._database.execute(
            "INSERT INTO workspaces (id, alias, status, created_at_ns) VALUES (?, ?, ?, ?)",
            (workspace_id, alias, Status.CREATING.value, created_at_ns),
        )
        assert cursor.lastrowid is not None, "bug: an inserted row has an id"
        self._database.execute(
            "INSERT INTO configurations VALUES (?, ?, ?, ?)",
            (workspace_id, ConfigurationStatus.ACTIVE.value, retention_days, out_of_order_s),
        )
        workspace = Workspace(
            sequence=cursor.lastrowid,
            id=workspace_id,
            alias=alias,
            status=Status.CREATING,
            created_at_ns=created_at_ns,
            tags=MappingProxyType({}),
            configuration_status=ConfigurationStatus.ACTIVE,
            retention_days=retention_days,
            out_of_order_s=out_of_order_s,
            policy=None,
            revision=self._revision,
        )
        self.changed[workspace_id] = workspace
        return self.set_tags(workspace, tags) if tags else workspace

    def set_status(self, workspace: Workspace, status: Status) -> Workspace:
        """Move a workspace on in its life."""
        self._database.execute("UPDATE workspaces SET status = ? WHERE id = ?", (status.value, workspace.id))
        return self._put(replace(workspace, status=status))

    def set_alias(self, workspace: Workspace, alias: str | None) -> Workspace:
        """Give a workspace another alias, or none."""
        self._database.execute("UPDATE workspaces SET alias = ? WHERE id = ?", (alias, workspace.id))
        return self._put(replace(workspace, alias=alias))

    def set_tags(self, workspace: Workspace, tags: Mapping[str, str]) -> Workspace:
        """Replace all tags."""
        self._database.execute("DELETE FROM tags WHERE workspace_id = ?", (workspace.id,))
        self._database.executemany(
            "INSERT INTO tags VALUES (?, ?, ?)", [(workspace.id, key, value) for key, value in tags.items()]
        )
        return self._put(replace(workspace, tags=MappingProxyType(dict(sorted(tags.items())))))

    def set_configuration(
        self, workspace: Workspace, status: ConfigurationStatus, retention_days: int, out_of_order_s: int
    ) -> Workspace:
        """Replace the configuration and its status."""
        self._database.execute(
            "UPDATE configurations SET status = ?, retention_days = ?, out_of_order_s = ? WHERE workspace_id = ?",
            (status.value, retention_days, out_of_order_s, workspace.id),
        )
        changed = replace(
            workspace, configuration_status=status, retention_days=retention_days, out_of_order_s=out_of_order_s
        )
        return self._put(changed)

    def set_policy(self, workspace: Workspace, policy: Policy | None) -> Workspace:
        """Replace the resource policy, or take it away."""
        self._database.execute("DELETE FROM policies WHERE workspace_id = ?", (workspace.id,))
        if policy is not None:
            row = (workspace.id, policy.document, policy.revision_id)
            self._database.execute("INSERT INTO policies VALUES (?, ?, ?)", row)
        return self._put(replace(workspace, policy=policy))

    def remove(self, workspace_id: str) -> None:
        """Forget a workspace and all that belongs to it; its tokens stay, for repeats of the deletion."""
        self._database.execute("DELETE FROM workspaces WHERE id = ?", (workspace_id,))
        self.changed[workspace_id] = None

    def answer_to(self, caller: str, operation: str, token: str) -> StoredAnswer | None:
        """Return what a token was answered; None if it is new."""
        row = self._database.execute(
            "SELECT digest, answer FROM tokens WHERE caller = ? AND operation = ? AND token = ?",
            (caller, operation, token),
        ).fetchone()
        return None if row is None else StoredAnswer(*row)

    def forget_answers_before(self, at_ns: int) -> int:
        """Drop the answers given before a moment, and return how many are left."""
        self._database.execute("DELETE FROM tokens WHERE at_ns < ?", (at_ns,))
        count: int = self._database.execute("SELECT count(*) FROM tokens").fetchone()[0]
        return count

    def keep_answer(self, caller: str, operation: str, token: str, stored: StoredAnswer, at_ns: int) -> None:
        """Keep the answer to a new token."""
        row = (caller, operation, token, stored.digest, stored.answer, at_ns)
        self._database.execute("INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?)", row)

    def _put(self, workspace: Workspace) -> Workspace:
        changed = replace(workspace, revision=self._revision)
        self.changed[workspace.id] = changed
        return changed


class Registry:
    """All workspaces of an account, on disk and in memory.

    Reading is safe from any thread and takes no lock; changes happen one after the other.

    Args:
        path: The database file; made if it is missing, its directory exists.

    Raises:
        Locked: Another process has it open.
        StoreFailed: It cannot be read, or is of a later version.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self._revision = 0
        self._workspaces: dict[str, Workspace] = {}
        try:
            self._database = _open(path)
        except OSError as error:
            raise StoreFailed(f"cannot open {path}: {error.strerror}") from error
        try:
            _prepare(self._database, path)
            self._workspaces = {workspace.id: workspace for workspace in _load(self._database)}
        except sqlite3.OperationalError as error:
            self._database.close()
            if error.sqlite_errorcode in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                raise Locked(f"{path} is in use by another process") from error
            raise StoreFailed(f"cannot read {path}: {error}") from error
        except (sqlite3.Error, ValueError) as error:
            self._database.close()
            raise StoreFailed(f"cannot read {path}: {error}") from error
        except StoreFailed:
            self._database.close()
            raise

    @property
    def revision(self) -> int:
        """A number that grows with each change; starts anew with the process."""
        return self._revision

    def get(self, workspace_id: str) -> Workspace | None:
        """Return a workspace, from memory; None if there is none."""
        return self._workspaces.get(workspace_id)

    def workspaces(self) -> list[Workspace]:
        """Return all workspaces in the order of their creation, from memory."""
        return list(self._workspaces.values())

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Make changes together: on disk when the block ends, not at all when it raises.

        Raises:
            StoreFailed: The disk failed; nothing has changed.
        """
        with self._lock:
            transaction = Transaction(self._database, self._workspaces, self._revision + 1)
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield transaction
                self._database.execute("COMMIT")
            except BaseException as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreFailed(f"the workspace registry failed: {error}") from error
                raise
            self._mirror(transaction.changed)

    def close(self) -> None:
        """Close the database; safe to call twice."""
        with self._lock:
            self._database.close()

    def _mirror(self, changed: Mapping[str, Workspace | None]) -> None:
        if changed:
            self._revision += 1
        for workspace_id, workspace in changed.items():
            if workspace is None:
                self._workspaces.pop(workspace_id, None)
            else:
                self._workspaces[workspace_id] = workspace


def _open(path: Path) -> sqlite3.Connection:
    # The file is made here, since SQLite would make it readable for everybody; policies and tags are private.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise StoreFailed(f"cannot open {path}: {error}") from error


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    # A second process would not see what is mirrored here. Exclusive before WAL: then there is no shared memory file.
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("BEGIN IMMEDIATE")
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'").fetchone() is None:
        for statement in _SCHEMA:
            database.execute(statement)
        database.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
    version = database.execute("SELECT version FROM schema_version").fetchone()[0]
    database.execute("COMMIT")
    if version != SCHEMA_VERSION:
        raise StoreFailed(f"{path} has schema version {version}, this program knows {SCHEMA_VERSION}")


def _load(database: sqlite3.Connection) -> Iterator[Workspace]:
    tags: dict[str, dict[str, str]] = {}
    for workspace_id, key, value in database.execute("SELECT workspace_id, key, value FROM tags ORDER BY key"):
        tags.setdefault(workspace_id, {})[key] = value
    policies = {
        workspace_id: Policy(document, revision_id)
        for workspace_id, document, revision_id in database.execute(
            "SELECT workspace_id, document, revision_id FROM policies"
        )
    }
    rows = database.execute(
        """SELECT w.sequence, w.id, w.alias, w.status, w.created_at_ns, c.status, c.retention_days, c.out_of_order_s
        FROM workspaces AS w JOIN configurations AS c ON c.workspace_id = w.id ORDER BY w.sequence"""
    )
    for sequence, workspace_id, alias, status, created_at_ns, configured, retention_days, out_of_order_s in rows:
        yield Workspace(
            sequence=sequence,
            id=workspace_id,
            alias=alias,
            status=Status(status),
            created_at_ns=created_at_ns,
            tags=MappingProxyType(tags.get(workspace_id, {})),
            configuration_status=ConfigurationStatus(configured),
            retention_days=retention_days,
            out_of_order_s=out_of_order_s,
            policy=policies.get(workspace_id),
            revision=0,
        )
