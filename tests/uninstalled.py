"""The packages of this environment but some, for tests of what is said where an extra is not installed."""

from __future__ import annotations

import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def packages_without(name: str, folder: Path) -> str:
    """A PYTHONPATH, for ``python -S``, on which all is installed but the distribution whose files begin with `name`.

    `folder` is made, and filled with links: entry points are found there as in any other environment.
    """
    folder.mkdir()
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(packages).iterdir():
            if not entry.name.startswith(name):
                (folder / entry.name).symlink_to(entry)
    return f"{folder}:{REPOSITORY}"
