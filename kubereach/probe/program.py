"""The peer's program as it is shipped: a folder of plain files, or all of them in one where no folder can be had."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from kubereach.probe import peer

#: what Python runs here, as ``python3 /kubereach`` does in a pod
FOLDER = Path(peer.__file__).parent

# Its modules are those of the package `peer`, as peer/__main__.py has it.
_BUNDLE = '''"""The program of kubereach's peer: what python3 runs of the folder whose files these are."""
import sys
from importlib.machinery import ModuleSpec

FILES = {files!r}


class Bundle:
    """Imports modules of the package `peer` from `FILES`."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        package, _, module = name.partition(".")
        known = package == "peer" and module + ".py" in FILES
        return ModuleSpec(name, cls, origin=module + ".py") if known else None

    @staticmethod
    def create_module(spec):
        return None

    @staticmethod
    def exec_module(module):
        file = module.__spec__.origin
        exec(compile(FILES[file], "peer/" + file, "exec"), module.__dict__)


sys.modules["peer"] = type(sys)("peer")
sys.modules["peer"].__path__ = []
sys.meta_path.append(Bundle)

from peer.main import main

main(sys.argv[1:])
'''


@cache
def files() -> dict[str, str]:
    """The text of each file, by its name: the data of a ConfigMap that is mounted as the folder."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("*.py"))}


@cache
def bundle() -> bytes:
    """One Python program of all the files, for a Python that has no file of them: it reads, and writes, none."""
    return _BUNDLE.format(files=files()).encode()
