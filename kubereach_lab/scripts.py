"""Python scripts of containers, run in a fork of this process: they and the modules beside them are compiled once."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from types import CodeType

#: the code of a file, by its path in the container and what it contains
Compiled = dict[tuple[str, bytes], CodeType]
_PYTHON_FLAGS = frozenset({"-u", "-B", "-E", "-s"})


class Scripts:
    """Those that were run before, so that they need not be compiled again."""

    def __init__(self) -> None:
        self._compiled: Compiled = {}

    def read(self, script: dict[str, str] | None) -> Script | None:
        """The script ``{"path", "source"}``, in the container and here, if it is one that we can run in a fork."""
        if script is None:
            return None
        path, source = Path(script["path"]), Path(script["source"])
        try:
            main = source.read_bytes()
            for file in source.parent.glob("*.py"):
                self._compile(str(path.parent / file.name), file.read_bytes())
        except (OSError, SyntaxError, ValueError):
            return None  # the real interpreter will say what is wrong with it
        return Script(str(path), self._compile(str(path), main), self._compiled)

    def _compile(self, path: str, source: bytes) -> CodeType:
        if (path, source) not in self._compiled:
            self._compiled[path, source] = compile(source, path, "exec", dont_inherit=True)
        return self._compiled[path, source]


@dataclass(frozen=True)
class Script:
    """A script that is ready to run."""

    path: str
    code: CodeType
    #: what it may import from its own folder, among others
    compiled: Compiled

    def run(self, argv: list[str]) -> int:
        """Run it as ``python3 script arguments`` would, in this process, and give its exit code."""
        arguments = argv[1:]
        while arguments and arguments[0] in _PYTHON_FLAGS:
            arguments.pop(0)
        sys.argv = arguments
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        if "-u" in argv:
            sys.stdout.reconfigure(write_through=True)
        self._put_on_path()
        module = type(sys)("__main__")
        module.__dict__.update(__file__=self.path, __builtins__=__builtins__)
        sys.modules["__main__"] = module
        try:
            exec(self.code, module.__dict__)
        except SystemExit as end:
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:
            return 130
        except BaseException:
            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return 0

    def _put_on_path(self) -> None:
        """Its folder comes first where modules are looked for, and those that are compiled already are not again."""
        compiled = self.compiled

        class Loader(SourceFileLoader):
            def get_code(self, fullname: str) -> CodeType | None:
                path = self.get_filename(fullname)
                return compiled.get((path, self.get_data(path))) or super().get_code(fullname)

        folder = str(Path(self.path).parent)
        sys.path.insert(0, folder)
        sys.path_importer_cache[folder] = FileFinder(
            folder,
            (ExtensionFileLoader, EXTENSION_SUFFIXES),
            (Loader, SOURCE_SUFFIXES),
            (SourcelessFileLoader, BYTECODE_SUFFIXES),
        )
