"""Install the engines of `make test-readers` beside the packages of the lock, which stay as they are.

The engines are 1.5 GB, and pull in packages that conflict with nothing here but are nobody's business otherwise. So
they get an environment of their own, which sees the packages of the lock and adds what they lack.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def install(folder: Path) -> None:
    """Install the extra `readers` into the environment `folder`, unless the same list is installed there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = project["optional-dependencies"]["readers"]
    mark = folder / ".installed"
    if mark.exists() and mark.read_text("utf-8").splitlines() == wanted:
        return
    print(f"Installing {', '.join(wanted)} into {folder.name} …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    ours = sysconfig.get_path("purelib")
    theirs = folder / Path(ours).relative_to(sys.prefix)
    # `addsitedir` also reads the .pth file by which the package itself is installed.
    (theirs / "the_lock.pth").write_text(f"import site; site.addsitedir({ours!r})\n", "utf-8")
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *wanted], check=True)
    mark.write_text("\n".join(wanted) + "\n", "utf-8")


if __name__ == "__main__":
    install(Path(sys.argv[1]).resolve())
