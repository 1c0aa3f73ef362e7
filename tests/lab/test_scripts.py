"""Python scripts of containers: run in a fork of the lab's own interpreter, and as `python3` itself would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from kubereach_lab.kubelet.command import script
from kubereach_lab.kubelet.pod import PodWorker
from kubereach_lab.scripts import Scripts

_RUN = """
import sys
from kubereach_lab.scripts import Scripts
_, path, *argv = sys.argv
sys.exit(Scripts().read({"path": path, "source": path}).run(argv))
"""
_SHOW = """
import sys
from beside import VALUE, where
print(__name__, __file__, sys.argv, sys.path[0], VALUE, where())
"""
_BESIDE = "VALUE = 5\n\ndef where():\n    return __name__, __file__, where.__code__.co_filename\n"
_LATE = """
import sys
sys.path.insert(0, "/nowhere")
def late():
    import beside
    return beside.VALUE
print(late())
sys.exit(late())
"""
FOLDERS = {
    "a module beside it": {"__main__.py": _SHOW, "beside.py": _BESIDE},
    "imported late, and an exit code": {"__main__.py": _LATE, "beside.py": _BESIDE},
    "a package beside it": {"__main__.py": _SHOW, "beside/__init__.py": _BESIDE},
    "a package of its own name": {
        "__main__.py": (
            "import os, sys\npackage = type(sys)('p')\n"
            "package.__path__ = [os.path.dirname(os.path.abspath(__file__))]\n"
            "sys.modules['p'] = package\nfrom p.first import VALUE\nprint(VALUE)\n"
        ),
        "first.py": "from .beside import VALUE\n",
        "beside.py": _BESIDE,
    },
    "what is not there": {"__main__.py": "import beside\n"},
    "a module that fails": {"__main__.py": "import beside\n", "beside.py": "raise SystemExit('it fails')\n"},
}


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    for name, text in FOLDERS[request.param].items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("what", ["", "__main__.py"])
def test_a_script_finds_what_is_beside_it_as_with_python(folder: Path, what: str) -> None:
    word = str(folder / what)
    theirs = subprocess.run([sys.executable, "-u", word, "x"], capture_output=True, text=True, check=False)
    command = [sys.executable, "-c", _RUN, str(folder / "__main__.py"), "python3", "-u", word, "x"]
    ours = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ours.returncode, ours.stdout) == (theirs.returncode, theirs.stdout)
    assert ours.stderr.splitlines()[-1:] == theirs.stderr.splitlines()[-1:]


def test_what_has_not_changed_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("VALUE = 5\n")
    compiled: list[str] = []
    real = compile

    def counted(source: bytes, path: str, *rest: object, **more: object) -> object:
        compiled.append(Path(path).name)
        return real(source, path, *rest, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.compile", counted)
    scripts, words = Scripts(), {"path": "/app/main.py", "source": str(tmp_path / "main.py")}
    first = scripts.read(words)
    assert first and sorted(compiled) == ["beside.py", "main.py"]
    again = scripts.read(words)
    assert again and again.code is first.code and len(compiled) == 2
    (tmp_path / "beside.py").write_text("VALUE = 6\n")
    assert scripts.read(words)
    assert compiled[2:] == ["beside.py"]


@pytest.mark.parametrize(
    ("word", "path", "source"),
    [
        ("/app", "/app/__main__.py", "__main__.py"),
        ("/app/", "/app/__main__.py", "__main__.py"),
        ("/app/inner", "/app/inner/__main__.py", "inner/__main__.py"),
        ("/app/other.py", "/app/other.py", "other.py"),
        ("/apples/other.py", "", ""),
        ("/elsewhere", "", ""),
    ],
)
def test_a_folder_is_its_main(word: str, path: str, source: str, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    worker = cast("PodWorker", SimpleNamespace(volumes={"code": tmp_path}))
    spec = {"volumeMounts": [{"name": "code", "mountPath": "/app"}]}
    found = script(worker, spec, ["python3", "-u", word, "probe"])
    assert found == ((path, str(tmp_path / source)) if path else None)
