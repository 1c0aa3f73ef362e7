"""A lab lives exactly as long as who wanted it, and whatever happens, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import life
import pytest
from lab_access import LabAccess

from kubereach_lab import Lab, LabConfig, LabError, launch

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
LAB = [sys.executable, "-m", "kubereach", "lab", "--nodes", "1"]
#: a program that keeps a lab until its standard input ends, and says when it is up
PARENT = """
import sys
from kubereach_lab import Lab
with Lab():
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test here leaves the machine as it was."""
    before, before_children = life.Machine.now(), set(life.children(os.getpid()))
    files = life.open_files()
    yield
    life.wait_until_gone([pid for pid in life.children(os.getpid()) if pid not in before_children])
    assert life.Machine.now() == before
    assert life.open_files() <= files


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False, **options
    )  # type: ignore[call-overload]
    return done


def started(nodes: int = 1) -> Lab:
    lab = Lab(LabConfig(nodes=nodes))
    lab.start()
    return lab


def init_of(lab: Lab) -> int:
    return int(lab.root.parent.name)


def keeper_of(lab: Lab) -> int:
    return int(Path(f"/proc/{init_of(lab)}/stat").read_text().rsplit(")", 1)[1].split()[1])


def server_of(lab: Lab) -> int:
    return life.children(init_of(lab))[0]


def test_three_nodes_come_up_in_about_a_second() -> None:
    """Measured against what this machine needs to load the lab's modules, which is about half of it when it is idle."""
    clock = time.perf_counter
    took = []
    for _ in range(2):
        begin = clock()
        lab = started(3)
        up = clock()
        lab.stop()
        loading = clock()
        assert run([sys.executable, "-c", "import kubereach_lab.server"], cwd=REPOSITORY).returncode == 0
        took.append((up - begin) / (clock() - loading))
    assert min(took) < 3, took


@pytest.mark.parametrize("victim", [keeper_of, init_of, server_of])
def test_all_goes_when_one_of_its_own_processes_is_killed(victim: Callable[[Lab], int]) -> None:
    lab = started()
    all_of_it = [keeper_of(lab), *life.descendants(keeper_of(lab))]
    assert len(all_of_it) >= 5  # keeper, first process, server, two DNS pods
    os.kill(victim(lab), signal.SIGKILL)
    life.wait_until_gone(all_of_it)
    lab.stop()
    assert not lab.alive


def test_all_goes_with_its_parent() -> None:
    mark = f"KUBEREACH_TEST={uuid.uuid4()}"
    parent = parent_with(mark)
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"up\n"
        assert len(life.marked(mark)) >= 6
        parent.kill()
    life.wait_until_unmarked(mark)


def test_all_goes_with_a_parent_that_is_killed_while_the_lab_starts() -> None:
    """At moments from the very first to after its start; several at a time, since a lab starts on one core."""
    mark = f"KUBEREACH_TEST={uuid.uuid4()}"
    delays = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]
    for batch in (delays[::2], delays[1::2]):
        parents = [parent_with(mark) for _ in batch]
        begin = time.monotonic()
        for parent, delay in zip(parents, batch, strict=True):
            time.sleep(max(0.0, begin + 2 * delay - time.monotonic()))  # twice: they share two cores
            with parent:
                parent.kill()
    life.wait_until_unmarked(mark)


@pytest.mark.parametrize("moment", [0.02, 0.1, 0.2, 0.3])
def test_a_part_that_is_killed_while_the_lab_starts_is_an_error(moment: float) -> None:
    """The keeper, the first process and the server, in turn, as far as they are there at that moment."""
    for depth in range(3):
        mark = f"KUBEREACH_TEST={uuid.uuid4()}"
        with parent_with(mark, stderr=subprocess.PIPE) as parent:
            line = [parent.pid]
            deadline = time.monotonic() + life.PATIENCE
            while len(line) < depth + 2 and time.monotonic() < deadline and parent.poll() is None:
                line = [parent.pid]
                while children := life.children(line[-1]):
                    line.append(children[0])
            time.sleep(moment / 4)
            victim = line[min(depth + 1, len(line) - 1)]
            if victim != parent.pid:
                os.kill(victim, signal.SIGKILL)
            assert parent.stdin is not None
            parent.stdin.close()
            parent.wait(life.PATIENCE)
        life.wait_until_unmarked(mark)


def parent_with(mark: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    name, _, value = mark.partition("=")
    return subprocess.Popen(
        [sys.executable, "-c", PARENT],
        env={**ENVIRONMENT, name: value},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


def test_two_labs_do_not_meet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with started() as first, started() as second:
        labs = [LabAccess(first, tmp_path / "a"), LabAccess(second, tmp_path / "b")]
        try:
            labs[0].create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}})
            names = [{n["metadata"]["name"] for n in lab.get("/api/v1/namespaces")["items"]} for lab in labs]
            assert names[0] - names[1] == {"only-here"}
            assert labs[0].config.node_addresses == labs[1].config.node_addresses
        finally:
            for lab in labs:
                lab.close()


def test_many_in_a_row_leak_nothing() -> None:
    """They run with too few namespaces of each kind for two labs, so one that stays would be missed.

    KUBEREACH_LAB_STARTS says how many, 10 unless it is set.
    """
    code = """
import os
from pathlib import Path
from kubereach_lab import Lab, LabConfig, syscalls
syscalls.unshare(syscalls.CLONE_NEWUSER)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text("0 {uid} 1")
Path("/proc/self/gid_map").write_text("0 {gid} 1")
for kind, most in dict(user=2, pid=2, net=7, mnt=5, uts=5, ipc=5).items():
    Path(f"/proc/sys/user/max_{{kind}}_namespaces").write_text(str(most))
files = len(os.listdir("/proc/self/fd"))
for number in range({starts}):
    with Lab(LabConfig(nodes=1)):
        pass
    assert len(os.listdir("/proc/self/fd")) == files
"""
    mark = f"KUBEREACH_TEST={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    before = life.Machine.now()
    starts = os.environ.get("KUBEREACH_LAB_STARTS", "10")
    code = code.format(uid=os.geteuid(), gid=os.getegid(), starts=starts)
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**ENVIRONMENT, name: value}, check=False
    )
    assert done.returncode == 0, done.stderr
    life.wait_until_unmarked(mark)
    assert life.Machine.now() == before


def test_an_ordinary_user_can_have_one() -> None:
    """Somebody who is not root and has no capability."""
    done = run([sys.executable, "-c", ORDINARY.format(limit="")])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["kubereach-control-plane", "kubereach-worker"]


def test_forbidden_user_namespaces_are_an_error_with_a_remedy() -> None:
    forbid = 'Path("/proc/sys/user/max_user_namespaces").write_text("0")'
    done = run([sys.executable, "-c", ORDINARY.format(limit=forbid)])
    assert done.returncode == 3
    assert "does not allow user and network namespaces" in done.stderr
    assert "sysctl -w user.max_user_namespaces" in done.stderr
    assert "Traceback" not in done.stderr


#: becomes user 1000; capabilities go with the exec, since that user is not the namespace's root
ORDINARY = """
import os, sys
from pathlib import Path
from kubereach_lab import syscalls
uid, gid = os.geteuid(), os.getegid()
syscalls.unshare(syscalls.CLONE_NEWUSER)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"1000 {{uid}} 1")
Path("/proc/self/gid_map").write_text(f"1000 {{gid}} 1")
{limit}
show = "from pathlib import Path; print(*sorted(p.name for p in Path('/run/netns').glob('kubereach*')))"
lab = [sys.executable, "-m", "kubereach", "lab", "--nodes", "2", "run", "--", sys.executable, "-c", show]
os.execv(sys.executable, lab)
"""


def test_a_container_that_forbids_namespaces_is_an_error_with_a_remedy() -> None:
    """Docker's default profile: a seccomp filter that answers unshare(2) with EPERM."""
    done = run([sys.executable, "-c", FILTERED])
    assert done.returncode == 3
    assert "does not allow user and network namespaces" in done.stderr
    assert "--security-opt seccomp=unconfined" in done.stderr
    assert "Traceback" not in done.stderr


#: a seccomp filter with one rule, then the lab, as somebody whose filters hold
FILTERED = """
import ctypes, os, platform, struct, sys
unshare = {"x86_64": 272, "aarch64": 97}[platform.machine()]
load, equal, give = 0x20, 0x15, 0x06
rules = [(load, 0, 0, 0), (equal, 0, 1, unshare), (give, 0, 0, 0x00050001), (give, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(rules), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, program, 0, 0) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP
os.execv(sys.executable, [sys.executable, "-m", "kubereach", "lab", "run", "--", "true"])
"""


def test_a_container_with_read_only_sysctls_is_an_error_with_a_remedy() -> None:
    """Docker's default mounts: parts of /proc are read-only, which also keeps us from mounting another one."""
    done = run([sys.executable, "-c", READ_ONLY.format(uid=os.geteuid(), gid=os.getegid())])
    assert done.returncode == 3
    assert "/proc/sys is read-only here" in done.stderr
    assert "--security-opt systempaths=unconfined" in done.stderr
    assert "Traceback" not in done.stderr


READ_ONLY = """
import os, sys
from pathlib import Path
from kubereach_lab import syscalls
syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text("0 {uid} 1")
Path("/proc/self/gid_map").write_text("0 {gid} 1")
syscalls.mount("/proc/sys", "/proc/sys", None, syscalls.MS_BIND)
syscalls.mount(None, "/proc/sys", None, syscalls.MS_BIND | 32 | syscalls.MS_RDONLY)  # MS_REMOUNT
os.execv(sys.executable, [sys.executable, "-m", "kubereach", "lab", "run", "--", "true"])
"""


def test_missing_nft_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "SYSTEM_PATH", "/nonexistent")
    with pytest.raises(LabError, match="needs the program 'nft'") as caught:
        started()
    assert "apt-get install nftables" in caught.value.remedy
    assert "--context" not in caught.value.remedy, "`kubereach lab` has no such option"


def test_missing_packages_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PACKAGES", ("json", "no_such_package"))
    with pytest.raises(LabError, match="packages that are not installed: no_such_package") as caught:
        started()
    assert "pip install '.[lab]'" in caught.value.remedy
    # an index may have something else by that name
    assert "kubereach[lab]" not in caught.value.remedy
    assert "--context" not in caught.value.remedy


#: what is built on pytest-kind, and imported for --target kind alone
ON_PYTEST_KIND = {"kubereach.targets.kind.cluster", "kubereach.targets.kind.target"}


def test_the_engine_needs_none_of_the_packages_of_the_extras() -> None:
    """Whoever tests a real cluster installs kubereach without the extras `lab` and `kind`."""
    modules = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in (REPOSITORY / "kubereach").rglob("*.py")
        if path.name != "__main__.py"
    }
    assert modules > ON_PYTEST_KIND
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({(*launch._PACKAGES, 'pytest_kind')!r}))\n"
        f"for name in {sorted(modules - ON_PYTEST_KIND)!r}: importlib.import_module(name)"
    )
    done = run([sys.executable, "-c", code], cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")


def test_run_gives_the_command_its_input_and_returns_its_exit_code() -> None:
    done = run([*LAB, "run", "--", "sh", "-c", "cat; exit 7"], input="a\nb\n")
    assert (done.returncode, done.stdout) == (7, "a\nb\n")


def test_run_says_how_a_command_failed() -> None:
    with started() as lab:
        assert lab.run(["sh", "-c", "kill -9 $$"]) == 137
        assert lab.run(["/no/such/program"]) == 127
        assert lab.run(["/etc/passwd"]) == 126
        assert lab.run(["sh", "-c", 'test -r "$KUBECONFIG" && nft list ruleset']) == 0


def test_what_a_command_left_running_ends_with_the_lab() -> None:
    mark = f"KUBEREACH_TEST={uuid.uuid4()}"
    command = f"{mark} setsid sleep 1000 >/dev/null 2>&1 </dev/null & :"
    done = run([*LAB, "run", "--", "sh", "-c", command])
    assert done.returncode == 0
    life.wait_until_unmarked(mark)
