"""A tree that is handed in, changed and judged, all tests in one process: `verify`, which is slow, has one for each."""

import shutil

from minivae.coursework.build import starter
from minivae.coursework.grade import run
from minivae.coursework.student import Student
from minivae.coursework.verify import solution


def starter_and_right(assignment, folder):
    """The starter, and the solution over it, as folders of these names in `folder`."""
    for name in ("starter", "right"):
        starter(assignment, folder / name)
    solution(assignment, folder / "right")
    return folder


def changed(tree, work, changes=()):
    """A copy of the tree, `work`, with (file, change of its text)."""
    shutil.copytree(tree, work)
    for file, change in changes:
        (work / file).write_text(change((work / file).read_text(encoding="utf-8")), encoding="utf-8")
    return work


def judged(assignment, tree, *, seed=0, tasks=()):
    """The results of all tests, or of those of these tasks."""
    with Student(tree) as student:
        return [run(test, student, assignment.wanted(test, seed), seed)
                for test in assignment.tests if not tasks or test.task in tasks]
