"""Where compiled kernels are kept.

Numba's own cache notices edits in the file of a kernel, but neither edits of a helper in another file
nor the bounds-check flag: a stale kernel would answer silently. The folder is therefore named after a
hash of every kernel source and flag.
"""

from __future__ import annotations

import hashlib
import os
from importlib import metadata
from pathlib import Path


def directory() -> Path:
    """Return the folder for this version of the kernels.

    ``NUMBA_CACHE_DIR`` names the parent where it is set, else ``$XDG_CACHE_HOME/headrace``. Numba reads
    the variable too, which is why the name is theirs and not ours.
    """
    parent = os.environ.get("NUMBA_CACHE_DIR") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "headrace"
    )
    return Path(parent) / f"kernels-{fingerprint()[:16]}"


def fingerprint() -> str:
    """Hash all kernel sources, the Numba version and the flags that change the compiled code."""
    digest = hashlib.sha256()
    digest.update(metadata.version("numba").encode())
    digest.update(os.environ.get("NUMBA_BOUNDSCHECK", "").encode())
    digest.update(os.environ.get("NUMBA_OPT", "").encode())
    root = Path(__file__).parent.parent
    for path in sorted([*root.rglob("*_kernels.py"), *root.glob("kernels/*.py")]):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
