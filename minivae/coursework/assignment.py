"""An assignment: which functions students write, what they are handed, and how it is tested.

chapters/assignments/a1/
    assignment.toml      name, title, the files that are handed out, the tasks
    handout.md           the maths to derive, what to hand in, points
    visible.py           tests that students get
    hints.py             what gradients are made of, so that mistakes can be named
    hidden.py            tests that they do not
    mutants.toml         planted mistakes, and what must be said about each
    make.py              optional: files that are made of others, see `testing.made`
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minivae.coursework.testing import Hints, Solution, Test, collect, hints_of

SOLUTIONS = "solutions"                                # the folder in chapters/ that is never handed out


class AssignmentError(ValueError):
    """The assignment's files do not fit together."""


@dataclass(frozen=True)
class Task:
    """What a student writes: one or more functions."""

    id: str
    title: str
    write: tuple[str, ...]
    """their qualified names: "minivae/ops/dense.py:linear.pullback"; or a whole file, "answers.py" """

    @property
    def files(self) -> set[str]:
        return {target.partition(":")[0] for target in self.write}


def tasks_in(folder: Path) -> tuple[Task, ...]:
    """What an assignment.toml asks for, in a starter tree too, which lacks the hidden tests."""
    return _tasks(tomllib.loads((folder / "assignment.toml").read_text(encoding="utf-8")))


def _tasks(table: dict[str, Any]) -> tuple[Task, ...]:
    return tuple(Task(t["id"], t["title"], tuple(t["write"])) for t in table["task"])


@dataclass(frozen=True)
class Written:
    """What a student proves or derives on paper, and a person reads."""

    id: str
    title: str
    points: float


@dataclass(frozen=True)
class Assignment:
    """What assignment.toml says."""

    folder: Path
    name: str
    title: str
    files: tuple[str, ...]
    """what is handed out, from the root of the repository: a file, or "file:function,function", these alone"""
    left_out: tuple[str, ...]
    """modules that the files handed out can do without: "minivae.ops.kernels" """
    also_blank: tuple[str, ...]
    """functions that would tell an answer, and that no task needs"""
    tasks: tuple[Task, ...]
    written: tuple[Written, ...] = ()
    seed: int = 0
    """secret: what make.py draws by it"""

    @classmethod
    def read(cls, folder: Path, seed: int = 0) -> Assignment:
        """Raises AssignmentError, naming the file and what is wrong in it."""
        path = folder / "assignment.toml"
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            tasks = _tasks(table)
            written = tuple(Written(w["id"], w["title"], float(w["points"])) for w in table.get("written", ()))
            found = cls(folder, table["name"], table["title"], tuple(table["files"]), tuple(table.get("left_out", ())),
                        tuple(table.get("also_blank", ())), tasks, written, seed)
        except OSError as error:
            raise AssignmentError(f"{path}: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise AssignmentError(f"{path}: {type(error).__name__} {error}") from error
        found._check(path)
        return found

    def _check(self, path: Path) -> None:
        ids = [task.id for task in self.tasks]
        if len({*ids, *(task.id for task in self.written)}) < len(ids) + len(self.written):
            raise AssignmentError(f"{path}: two tasks have the same id")
        strange = {test.task for test in self.tests} - set(ids)
        if strange:
            raise AssignmentError(f"{path}: there are tests of tasks {sorted(strange)}, which it does not name")
        untested = set(ids) - {test.task for test in self.tests}
        if untested:
            raise AssignmentError(f"{self.folder}: no test is about task {', '.join(sorted(untested))}")
        handed_out = {entry.partition(":")[0] for entry in self.files}
        if solved := [file for file in sorted(handed_out) if SOLUTIONS in Path(file).parts]:
            raise AssignmentError(f"{path}: {solved} is handed out, and solves the chapters' exercises")
        if not self.submitted <= handed_out:
            raise AssignmentError(f"{path}: {sorted(self.submitted - handed_out)} is written but not handed out")

    @cached_property
    def visible(self) -> list[Test]:
        return collect(self.folder / "visible.py", self.seed)

    @cached_property
    def hidden(self) -> list[Test]:
        path = self.folder / "hidden.py"
        return collect(path, self.seed) if path.exists() else []

    @cached_property
    def hints(self) -> Hints:
        return hints_of(self.folder / "hints.py")

    @property
    def tests(self) -> list[Test]:
        """All, by task: what a later task builds on is seen first."""
        order = [task.id for task in self.tasks]
        return sorted([*self.visible, *self.hidden],
                      key=lambda test: order.index(test.task) if test.task in order else len(order))

    def wanted(self, test: Test, seed: int) -> dict[str, Any]:
        """What the solution makes of a test: asked for once, whoever is judged by it."""
        found = self._wanted.setdefault(seed, {})
        if test.name not in found:
            found[test.name] = test.run(Solution(), seed, self.hints)
        return found[test.name]

    @cached_property
    def _wanted(self) -> dict[int, dict[str, dict[str, Any]]]:
        return {}

    @property
    def points(self) -> float:
        return sum(test.points for test in self.tests)

    @property
    def asked(self) -> tuple[Task | Written, ...]:
        """All that there are points for: tasks, and what is done on paper."""
        return (*self.tasks, *self.written)

    @property
    def most(self) -> float:
        """All points, those that a person gives too."""
        return self.points + sum(task.points for task in self.written)

    @property
    def submitted(self) -> set[str]:
        """The files that students hand in: all that a task writes into."""
        return {file for task in self.tasks for file in task.files}

    def blanks(self) -> dict[str, list[tuple[str, str]]]:
        """file -> (function, what stands in its place)"""
        found: dict[str, list[tuple[str, str]]] = {}
        titles: dict[str, list[str]] = {}
        for task in self.tasks:
            for target in task.write:
                titles.setdefault(target, []).append(f"{task.id}: {task.title}")
        named = [(target, f"Task {'; '.join(of_tasks)}") for target, of_tasks in titles.items()]
        named += [(target, "left out of this assignment") for target in self.also_blank]
        for target, says in named:
            file, _, name = target.partition(":")
            if name:                                   # "answers.py": a whole file, as it is handed out
                found.setdefault(file, []).append((name, says))
        return found
