"""Hostile submissions: none gets a point that it did not earn, none hangs the judge, and none leaves anything behind.

They are in hostile.py: submissions of assignment 1, of which two tests are left, one visible and one hidden, and
crafted folders and zips.  MINIVAE_WITHOUT names walls that are left out; `test_with_fewer_walls` runs this file again
without some of them, and as one who is not root (with the hidden test alone: half the processes, and the same walls).
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, running
from hostile import ATTACKS, HANDED_IN, RIGHT_BUT, TOOLS

from minivae.coursework import nursery
from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.grade import Patience, free_user, grade
from minivae.coursework.report import PROMISES, WALLS, gradescope, table
from minivae.coursework.student import Limits, Student
from minivae.coursework.verify import solution
from minivae.coursework.working_tree import laid_out

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="submissions are judged on Linux and macOS")
BECOME = Path(__file__).with_name("become.py")         # a program: a fork of this process might be one of JAX's threads
WITHOUT = tuple(filter(None, os.environ.get("MINIVAE_WITHOUT", "").split(",")))
NESTED = "MINIVAE_NESTED" in os.environ
SHORT = Patience(request=1.5, hangs=1, short=0.5, test=4.0, submission=30.0)
HASTY = replace(SHORT, request=0.5, short=0.2)         # for what never answers: to wait longer proves no more
MOST = SHORT.submission + 60.0         # seconds for one of them on a busy machine, where starting takes longest


class Court:
    """The judge, its folders, and the server that nobody may call."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.token = folder, f"hostile-{os.getpid()}-{time.time_ns()}"
        self.assignment = Assignment.read(ROOT / "chapters" / "assignments" / "a1")
        keep = {"linear_dx_of_any_size"} if NESTED else {"linear_dx", "linear_dx_of_any_size"}
        self.assignment.__dict__["visible"] = [test for test in self.assignment.visible if test.name in keep]
        self.assignment.__dict__["hidden"] = [test for test in self.assignment.hidden if test.name in keep]
        starter(self.assignment, folder / "starter")
        solution(self.assignment, folder / "right")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.0)
        self.limits = Limits(seconds=20, megabytes=1000, processes=32, user=free_user(), without=WITHOUT)
        self.honest = self.judge(folder / "right", Patience())

    def judge(self, submission: Path, patience: Patience = SHORT):
        report = grade(submission, self.assignment, self.folder / "starter", seed=3, limits=self.limits,
                       patience=patience)
        return replace(report, seconds=0.0)

    def submit(self, where: str, code: str) -> Path:
        """The right solution, with one thing in minivae/ops/dense.py that is not."""
        names = {"TOKEN": self.token, "ASSIGNMENT": repr(str(self.assignment.folder)), "JUDGE": str(os.getpid()),
                 "SOLUTION": repr(str(ROOT / "minivae/ops/dense.py")), "PORT": str(self.server.getsockname()[1])}
        code = re.sub("|".join(names), lambda found: names[found[0]], code)
        body = f"def linear(x, W, b, **options):\n        {code.strip()}\n" if where == "linear" else \
            "\n".join(line[8:] if line.startswith("        ") else line for line in code.strip("\n").splitlines())
        evil, ops = self.folder / "evil", Path("minivae") / "ops" / "dense.py"
        shutil.copytree(self.folder / "right", evil, dirs_exist_ok=True)
        (evil / ops).write_text((evil / ops).read_text(encoding="utf-8") + TOOLS + body, encoding="utf-8")
        return evil

    def left_behind(self) -> list[str]:
        """Processes and files that are still there, and calls that came through."""
        found = list(map(str, (self.folder / "tmp").iterdir()))
        for folder in ("/tmp", "/var/tmp", "/dev/shm", ".", Path.home()):
            found += map(str, Path(folder).glob(f"*{self.token}*"))
        found += processes(str(self.folder))
        try:
            self.server.accept()
            found.append("a call")
        except OSError:
            pass
        return found


def processes(mark: str) -> list[str]:
    """The processes that have this in their command line or their environment: the nursery's children have its own."""
    found, nurseries = [], {str(nursery.nursery().process.pid)}        # it stays for the next one
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + b"\n" + (folder / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in text and folder.name not in nurseries and int(folder.name) != os.getpid():
            found.append(f"process {folder.name}: {text[:200]!r}")
    return found


@pytest.fixture(scope="module")
def court():
    with tempfile.TemporaryDirectory(prefix="minivae-court-") as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "tmp").mkdir()
        before, tempfile.tempdir = tempfile.tempdir, str(Path(folder) / "tmp")
        nursery.close()                                # the next one's children are known by this folder's name
        court = Court(Path(folder))
        yield court
        assert court.judge(court.folder / "right", Patience()) == court.honest, "an attack has changed the judge"
        tempfile.tempdir = before
        nursery.close()
        court.server.close()


def test_an_honest_submission_gets_all_points(court):
    assert court.honest.points == court.honest.most == (1.0 if NESTED else 3.0)
    assert set(court.honest.walls) >= {"limits"}
    assert not set(court.honest.walls) & set(WITHOUT)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(court, name):
    breaks, where, code, says = ATTACKS[name]
    if breaks is not None and not PROMISES[breaks] & set(court.honest.walls):
        pytest.skip(f"not promised with these walls alone ({', '.join(court.honest.walls)}): {breaks}")
    begun = time.monotonic()
    report = court.judge(court.submit(where, code), HASTY if says == "stopped after" else SHORT)
    assert time.monotonic() - begun < MOST
    assert report.points == 0.0, table([report])
    for result in report.results:
        assert re.search(says, result.says), result.says
    for text in (table([report]), gradescope(report)):
        text.encode()
        assert "\x1b" not in text
    assert court.left_behind() == []


@pytest.mark.parametrize("name", RIGHT_BUT)
def test_what_is_right_gets_its_points_and_still_leaves_nothing(court, name):
    begun = time.monotonic()
    report = court.judge(court.submit("module", RIGHT_BUT[name]))
    assert report.points == court.honest.most, table([report])
    assert time.monotonic() - begun < MOST
    assert court.left_behind() == []


def test_a_process_that_does_not_read_cannot_stop_the_judge(court):
    """A request larger than a pipe is written in pieces, and not waited for for ever."""
    evil = court.submit("module", "for n in (1, 2): say(sys.modules['wire'].pack((n, True, None)))\ntime.sleep(1e6)")
    source = (evil / "minivae" / "ops" / "dense.py").read_bytes()
    with laid_out(court.folder / "starter", {"minivae/ops/dense.py": source}, court.limits.user) as work, \
            Student(work, court.limits, timeout=1.0) as student:
        for _ in range(2):                             # answered while it sleeps: the second stays in the pipe
            assert student.call("minivae.ops:tanh", np.zeros(3)) is None
        begun = time.monotonic()
        with pytest.raises(AssertionError, match="stopped after 1 s"):
            student.call("minivae.ops:tanh", np.zeros(1_000_000))
        assert time.monotonic() - begun < MOST
    assert court.left_behind() == []


def test_without_any_wall_the_watchman_still_ends_what_was_started(court):
    """Not promised, because it can be killed where nothing forbids it; but what is only left running does not stay."""
    evil = court.submit("linear", """
        def fork():                 # who is not root has 64 processes, and the fork bomb of another test may hold them
            while True:
                try: return os.fork()
                except OSError: time.sleep(0.01)
        for _ in range(3):
            if fork() == 0:
                os.setsid()
                if fork() == 0: time.sleep(1e6)
                os._exit(0)
        return x, lambda dy: (dy, dy, dy)""")
    source, limits = (evil / "minivae" / "ops" / "dense.py").read_bytes(), replace(court.limits, without=WALLS)
    if os.getuid() == 0:
        limits = replace(limits, user=None)            # the code is ours
    with laid_out(court.folder / "starter", {"minivae/ops/dense.py": source}) as work, Student(work, limits) as student:
        assert student.walls == ["limits"]
        student.call("minivae.ops:linear", *np.zeros((3, 2, 2)))
        wait_until(lambda: len(processes(str(court.folder))) >= 5)
    assert court.left_behind() == []


def test_hanging_everywhere_takes_no_longer_than_it_may(court):
    report = grade(court.submit("module", "time.sleep(1e6)"), replace_tests(court, 10), court.folder / "starter",
                   seed=3, limits=court.limits,
                   patience=Patience(request=0.8, hangs=2, short=0.3, test=2.0, submission=3.0))
    assert report.seconds < MOST
    assert "2 tests were stopped: from here on an answer is waited for 0.3 s" in " ".join(report.remarks)
    assert report.results[-1].says.startswith("not run: the tests before it took 3 s")
    assert len(report.results) == 10
    assert report.points == 0.0


def replace_tests(court: Court, count: int) -> Assignment:
    """The assignment with the same tests again and again."""
    assignment = replace(court.assignment)
    assignment.__dict__["visible"] = [replace(court.assignment.visible[0], name=f"test {i}") for i in range(count)]
    assignment.__dict__["hidden"] = []
    return assignment


def test_a_grader_that_is_killed_leaves_a_report_and_no_process(court):
    submission, out = court.submit("linear", "while True: pass"), court.folder / "results" / "results.json"
    temporary = court.folder / "tmp of the grader"
    temporary.mkdir()
    command = ("-m", "minivae", "course", "gradescope", submission, "--assignment", "a1", "--starter",
               court.folder / "starter", "--seed", "3", "--out", out)
    environment = os.environ | {"TMPDIR": str(temporary)}
    with running(*command, stdout=None, stderr=subprocess.DEVNULL, env=environment) as grader:
        wait_until(lambda: out.exists() and processes(str(temporary)))
        time.sleep(0.5)
        grader.kill()
    tests = json.loads(out.read_text(encoding="utf-8"))["tests"]
    assert sum(test["max_score"] for test in tests) == Assignment.read(court.assignment.folder).points
    done = [test for test in tests if "grader was stopped" not in test["output"]]
    assert done[0]["score"] == 2.0
    assert 1 <= len(done) < len(tests)
    wait_until(lambda: not processes(str(temporary)))


def wait_until(happened, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ── what is handed in ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", HANDED_IN)
def test_what_is_handed_in_cannot_harm(court, name):
    make, says = HANDED_IN[name]
    path = court.folder / "handed in"
    remove(path)
    begun = time.monotonic()
    report = court.judge(make(path))
    assert time.monotonic() - begun < MOST
    assert report.points == 0.0
    assert re.search(says, table([report])), table([report])
    assert "\x1b" not in table([report]) + gradescope(report)
    assert court.left_behind() == []
    remove(path)


def remove(path: Path) -> None:
    """rm -r, which does not mind how deep it is."""
    subprocess.run(["rm", "-rf", str(path)], check=True)


# ── with fewer walls ──────────────────────────────────────────────────────────────────────────

SITUATIONS = {                         # (not root, walls that are left out)
    "root in a container, old kernel": (False, "own world,own root,Landlock,seccomp"),
    "nobody special, no Landlock": (True, "own world,own root,Landlock"),
    "nobody special, no seccomp": (True, "seccomp,Landlock"),
}
MORE_WALLS = {                         # than in one of these
    "root in a container": (False, "own world,own root"),
    "nobody special": (True, ""),
    "nobody special in a container": (True, "own world,own root"),
}
TRIED_AGAIN = "honest or fork or sessions or signals or limits or writes or reads or calls or counts or killed or deaf"


def closed_to_others() -> bool:
    """Whether nobody else could even start this Python, or read these tests: they lie in a private folder."""
    return any(not folder.stat().st_mode & 1 for start in (Path(sys.prefix) / "bin", Path(__file__))
               for folder in start.parents)


@pytest.mark.skipif(NESTED or closed_to_others(), reason="such a run already, or only we can reach these files")
@pytest.mark.parametrize("name", [*SITUATIONS, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_WALLS)])
def test_with_fewer_walls(name):
    nobody, without = (SITUATIONS | MORE_WALLS)[name]
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root can become somebody else, and only Linux has these walls")
    with tempfile.TemporaryDirectory() as home:
        os.chmod(home, 0o777)
        run = subprocess.run(
            [sys.executable, BECOME, "12345" if nobody else "0", sys.executable, "-m", "pytest", "-q", "-n", "0", "-p",
             "no:cacheprovider", "-k", TRIED_AGAIN, __file__],
            cwd=ROOT, capture_output=True, timeout=800, check=False, env=os.environ | {
                "MINIVAE_WITHOUT": without, "MINIVAE_NESTED": "1", "HOME": home, "TMPDIR": home, "MPLCONFIGDIR": home,
                "PYTHONDONTWRITEBYTECODE": "1"}, encoding="utf-8")
    print(run.stdout[-3000:])
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
