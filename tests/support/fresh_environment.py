"""Virtual environments that have nothing but what a test installs, and the packages that this one already has.

Nothing is downloaded: what a package needs is found beside the environment, in that of the tests.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PYTEST = (
    *("-m", "pytest", "-q", "-W", "error"),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:asyncio"),
)
"""Run the tests of a package as somebody has them who has pytest alone."""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that has to succeed; return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel of a project into a folder that has no other; return its path."""
    run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, cwd=source)
    (wheel,) = folder.glob("*.whl")
    return wheel


class FreshEnvironment:
    """An environment of its own.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
        self.python = self.program("python")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = folder / "lib" / version / "site-packages"
        beside = sysconfig.get_path("purelib")
        (self.packages / "beside.pth").write_text(f"import site; site.addsitedir({beside!r})\n")

    def program(self, name: str) -> Path:
        """Return a program of the environment."""
        return self._folder / "bin" / name

    def install(self, wheel: Path) -> None:
        """Install a wheel."""
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "-q")
        run(*pip, "--no-index", "--no-deps", "--ignore-installed", wheel, cwd=self._folder)
