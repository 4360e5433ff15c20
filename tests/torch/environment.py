"""Makes the environment of the torch tests: what torch adds, in the user's cache, beside the ordinary environment.

torch on a package index brings CUDA libraries of some gigabytes. They are installed once per version of the lock into
the cache, without those that a CPU never loads (requirements-torch.lock names them), and ``.venv-torch`` puts them on
the path together with ``.venv``. Exit code 3: it cannot be had here, and standard error says why; nothing is half made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = ROOT / "requirements-torch.lock"
ENVIRONMENT = ROOT / ".venv-torch"
FREE_BYTES = 12 << 30
INSTALL_LIMIT_S = 1200
UNAVAILABLE = 3


def main() -> int:
    """Make it where it is not there yet."""
    packages = _cache() / f"torch-{_digest()}"
    if not packages.is_dir():
        failure = _install(packages)
        if failure:
            print(f"torch environment: {failure}", file=sys.stderr)
            return UNAVAILABLE
    _link(packages)
    return 0


def _install(packages: Path) -> str | None:
    """Install into a folder beside, and move it into place whole; what is wrong, where it cannot be done."""
    packages.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(packages.parent).free
    if free < FREE_BYTES:
        return (
            f"{packages.parent} has {free >> 30} GiB free, it takes {FREE_BYTES >> 30} GiB while installing"
        )
    print(f"installing torch into {packages} (once, some minutes, 5 GB)", flush=True)
    staging = Path(tempfile.mkdtemp(prefix=".torch-", dir=packages.parent))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--require-hashes", "--requirement", str(LOCK), "--target", str(staging)]
    try:
        subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S)
        staging.rename(packages)
    except subprocess.CalledProcessError as error:
        return f"pip ended with {error.returncode}: the packages cannot be downloaded here; its own words are above"
    except subprocess.TimeoutExpired:
        return f"pip was not done after {INSTALL_LIMIT_S} s: the network is too slow; try again, what is loaded is kept"
    except OSError as error:
        return f"{packages}: {error.strerror}"
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return None


def _link(packages: Path) -> None:
    """A virtual environment that sees these packages and those of the ordinary one."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(ENVIRONMENT)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    ordinary = Path(sys.prefix) / "lib" / version / "site-packages"
    paths = "".join(f"import site; site.addsitedir({str(path)!r})\n" for path in (ordinary, packages))
    (ENVIRONMENT / "lib" / version / "site-packages" / "torch_environment.pth").write_text(paths)


def _digest() -> str:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return hashlib.sha256(LOCK.read_bytes() + version.encode()).hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stream-infer"


if __name__ == "__main__":
    sys.exit(main())
