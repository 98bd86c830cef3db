"""Secrets at rest: sealed with AES-256-GCM under a master key that lies outside the data.

Source:
    NIST SP 800-38D for the mode; RFC 5116 section 5.2 for AES-256-GCM.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.pipeline.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
_NONCE_BYTES = 12
_VERSION = b"\x01"


class Unsealable(StoreError):  # noqa: N818 -- named for the condition
    """A sealed secret does not open: it was altered, moved to another owner, or sealed under another master key."""


class MasterKey:
    """Seals and opens secrets.

    Args:
        key: 32 random bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise AssertionError(f"bug: a master key of {len(key)} bytes")
        self._cipher = AESGCM(key)

    def seal(self, secret: str, owner: str) -> bytes:
        """Return `secret` sealed for `owner`: version, nonce, ciphertext with tag.

        Args:
            secret: Any text.
            owner: Whose it is; a secret does not open for another owner, so that records cannot be exchanged.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), owner.encode())

    def open(self, sealed: bytes, owner: str) -> str:
        """Return the secret.

        Raises:
            Unsealable: It does not open.
        """
        if sealed[:1] != _VERSION:
            raise Unsealable(f"the secret of {owner} is sealed in a form that this release does not know")
        nonce, text = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, text, owner.encode()).decode()
        except (InvalidTag, ValueError):
            why = f"the secret of {owner} does not open: it was altered, or sealed under another master key"
            raise Unsealable(why) from None


def load_master_key(path: Path, setting: str, data: Path) -> MasterKey:
    """Read the master key from a file; make the file where there is none.

    Args:
        path: File of 32 bytes in base64 that only its owner can read.
        setting: Setting that names it, for errors.
        data: Data directory, which must not hold it: who copies the data must not get the key with it.

    Raises:
        ConfigError: The file is in the data directory, others can read it, or it holds something else.
    """
    if path.resolve().is_relative_to(data.resolve()):
        raise ConfigError(setting, f"{path} lies in the data directory {data}: keep the key apart from what it seals")
    try:
        if not path.exists():
            _create(path)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise ConfigError(setting, f"{path} can be read by others (mode {mode:04o}): chmod 600 {path}")
        return parse_master_key(path.read_text("ascii"), setting)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(setting, f"cannot read {path}: {error}") from None


def parse_master_key(text: str, setting: str) -> MasterKey:
    """Return the master key that base64 `text` holds.

    Raises:
        ConfigError: It is not 32 bytes in base64; the text is not quoted.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(setting, f"must be {KEY_BYTES} bytes in base64, as `head -c 32 /dev/urandom | base64` prints")
    return MasterKey(key)


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
