"""Does an assignment do what it should?  The solution gets full marks, the starter none, and every mutant is named."""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.build import ROOT, starter
from minivae.coursework.cut import only, without
from minivae.coursework.grade import grade
from minivae.coursework.report import Report
from minivae.coursework.testing import made


@dataclass(frozen=True)
class Mutant:
    """A planted mistake, and what must be said about it."""

    task: str
    file: str
    old: str = ""
    new: str = ""
    says: str = ""
    """a regular expression; empty if the cause cannot be named"""
    as_handed_out: bool = False
    """the starter's file is handed in, for exercises that are drawn: no text of theirs can be named here"""
    points: float = 0.0
    """what it keeps of the task's: a form that is wrong only where numbers are large is right elsewhere"""

    def apply(self, source: str) -> str:
        if source.count(self.old) != 1:
            raise AssignmentError(f"mutants.toml: {self.old!r} is in {self.file} {source.count(self.old)} times, "
                                  "expected once")
        return source.replace(self.old, self.new)


def mutants(assignment: Assignment) -> list[Mutant]:
    """What mutants.toml says.  Raises AssignmentError."""
    path = assignment.folder / "mutants.toml"
    try:
        return [Mutant(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise AssignmentError(f"{path}: {type(error).__name__} {error}") from error


def solution(assignment: Assignment, out: Path, root: Path = ROOT) -> None:
    """What a student would hand in who has everything right."""
    names = {entry.partition(":")[0]: entry.partition(":")[2] for entry in assignment.files}
    texts = made(assignment.folder, assignment.seed, "solution")
    for file in sorted(assignment.submitted):
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        source = texts[file] if file in texts else (root / file).read_text(encoding="utf-8")
        source = without(source, set(assignment.left_out))
        (out / file).write_text(only(source, names[file].split(",")) if names[file] else source, encoding="utf-8")


def verify(assignment: Assignment, seed: int) -> bool:
    """Print a line for everything that was tried; True if all is as it should be."""
    with TemporaryDirectory(prefix="minivae-verify-") as folder:
        tree, right = Path(folder) / "starter", Path(folder) / "solution"
        starter(assignment, tree)
        solution(assignment, right)
        full, none = (grade(path, assignment, tree, seed=seed) for path in (right, tree))
        good = [_say(full.points == full.most, f"the solution has {full.points:g} of {full.most:g} points", full),
                _say(none.points == 0.0 and len(none.results) > 0, f"the starter has {none.points:g}", none)]
        planted = {mutant.task for mutant in mutants(assignment)}
        worth = {test.task for test in assignment.tests if test.points}
        bare = [task.id for task in assignment.tasks if task.id in worth - planted]
        good.append(_say(not bare, f"no mistake is planted in {', '.join(bare)}" if bare else
                         "a mistake is planted in every task", None))
        for number, mutant in enumerate(tqdm(mutants(assignment), unit="mutant", disable=None)):
            wrong = Path(folder) / f"mutant{number}"
            shutil.copytree(right, wrong)
            file = wrong / mutant.file
            text = file.read_text(encoding="utf-8")
            handed_out = (tree / mutant.file).read_text(encoding="utf-8")
            file.write_text(handed_out if mutant.as_handed_out else mutant.apply(text), encoding="utf-8")
            good.append(_judged(mutant, grade(wrong, assignment, tree, seed=seed, tasks=[mutant.task])))
    return all(good)


def _judged(mutant: Mutant, report: Report) -> bool:
    results = [result for result in report.results if result.task == mutant.task]
    says = " | ".join(result.says for result in results)
    points = sum(result.points for result in results)
    title = f"{mutant.task}: {' '.join(mutant.new.split()) or mutant.file + ' as it was handed out'}"
    fine = points == mutant.points and (re.search(mutant.says, says) is not None if mutant.says else True)
    return _say(fine, f"{title}\n      {points:g} points: {says}", None)


def _say(fine: bool, text: str, report: Report | None) -> bool:
    print(f"{'ok  ' if fine else 'BAD '}  {text}")
    for result in report.results if report is not None and not fine else []:
        print(f"      {result.points:g}/{result.most:g} {result.name}: {result.says}")
    return fine
