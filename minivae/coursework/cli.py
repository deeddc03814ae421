"""minivae course build | solution | check | grade | gradescope | verify"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from minivae.console import readable
from minivae.coursework.assignment import Assignment, AssignmentError, tasks_in
from minivae.coursework.report import Result, plain, write
from minivae.coursework.wire import WireError
from minivae.coursework.working_tree import workplace

OK, WRONG, USAGE, INTERRUPTED = 0, 1, 2, 130
ASSIGNMENTS = Path(__file__).parents[2] / "chapters" / "assignments"


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    top = argparse.ArgumentParser(prog="minivae course", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    check = commands.add_parser("check", help="students: run the visible tests on the code in this folder")
    check.add_argument("task", nargs="*", help="only these tasks: 1, or 1.2; default: all")
    check.add_argument("--folder", type=Path, default=Path(), help="the starter tree (default: here)")

    build = commands.add_parser("build", help="instructors: the starter tree and the autograder of an assignment")
    build.add_argument("assignment", help="a1, or a folder with an assignment.toml")
    build.add_argument("--out", type=Path, help="default: dist/NAME")
    build.add_argument("--seed", help="secret; decides sizes and values of the hidden cases (default: drawn)")

    right = commands.add_parser("solution", help="instructors: what to hand in to get all points, to try a grader with")
    right.add_argument("assignment", help="a1, or a folder with an assignment.toml")
    right.add_argument("--out", type=Path, help="an empty folder (default: dist/NAME-solution)")
    right.add_argument("--seed", default="0", help="as for build: it matters where exercises are drawn by it (a4)")

    grade = commands.add_parser("grade", help="instructors: grade submissions (folders or zips)")
    grade.add_argument("submissions", nargs="+", type=Path)
    _add_judging(grade)
    grade.add_argument("--out", type=Path, help="folder of the results, whose reports are kept one by one "
                       "(default: grades/NAME)")
    grade.add_argument("--resume", action="store_true", help="keep what is graded there already, and grade what is "
                       "missing or has changed")
    grade.add_argument("--only", action="append", default=[], metavar="NAME", help="grade this submission again, and "
                       "no other; may be given several times")

    grade.add_argument("--manual", type=Path, metavar="CSV", help="points for proofs: a column for each (P1, P2), a "
                       "row for each student; they are kept in proofs.csv of the results")
    grade.add_argument("--jobs", type=_positive, default=os.cpu_count() or 1, metavar="N", help="submissions that are "
                       "graded at once (default: one for each core)")

    scope = commands.add_parser("gradescope", help="Gradescope's containers: one submission, and its results.json")
    scope.add_argument("submission", type=Path)
    _add_judging(scope)
    scope.add_argument("--out", type=Path, required=True, help="results.json, written after every test")

    verify = commands.add_parser("verify", help="instructors: does the assignment do what it should?")
    verify.add_argument("assignment", help="a1, or a folder with an assignment.toml")
    verify.add_argument("--seed", default="0")
    return top


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of processes, 1 or more")
    return int(text)


def _add_judging(command: argparse.ArgumentParser) -> None:
    command.add_argument("--assignment", required=True, help="a1, or a folder with an assignment.toml")
    command.add_argument("--starter", type=Path, help="a starter tree that was built before (default: built now)")
    command.add_argument("--seed", help="the secret that `build` printed, or @FILE that holds it")


def main(argv: Sequence[str] | None = None) -> int:
    """0: done; 1: something failed; 2: bad input; 130: Ctrl-C."""
    readable()
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments[1:] if arguments[:1] == ["course"] else arguments)
    try:
        with workplace():
            return COMMANDS[options.command](options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (AssignmentError, WireError, OSError) as error:
        print(f"minivae course: {error}", file=sys.stderr)
        return USAGE


def _check(options: argparse.Namespace) -> int:
    from minivae.coursework.grade import check
    from minivae.coursework.handing_in import to_hand_in

    if not (options.folder / "answers.bin").exists():
        raise AssignmentError(f"{options.folder.resolve()} is no starter tree: run this where visible.py lies, or say "
                              "--folder")

    def show(result: Result) -> None:
        mark = "ok  " if result.passed else "FAIL"
        print(f"{mark} {result.points:g}/{result.most:g}  {result.task:<5} {result.title}")
        for line in [*result.says.splitlines(), *(f"printed: {line}" for line in result.printed.splitlines()[:5])]:
            print(f"      {line}")
        sys.stdout.flush()

    report = check(options.folder, options.task, after=show)
    if not report.results:
        raise AssignmentError(f"no test is about task {' '.join(options.task)}")
    files, lost = to_hand_in(options.folder, {file for task in tasks_in(options.folder) for file in task.files})
    print(f"hand in: {', '.join(files)}", *(f"note: {plain(line)}" for line in lost), sep="\n")
    print(f"{report.points:g} of {report.most:g} points of the visible tests")
    return OK if all(result.passed for result in report.results) else WRONG


def _build(options: argparse.Namespace) -> int:
    from minivae.coursework.build import autograder, starter, write_zip

    seed = options.seed or secrets.token_hex(8)
    assignment = Assignment.read(_folder(options.assignment), number(seed))
    out = _empty(options.out or Path("dist") / assignment.name)
    starter(assignment, out / "starter")
    files = {path.relative_to(out / "starter").as_posix(): path.read_bytes()
             for path in sorted((out / "starter").rglob("*")) if path.is_file()}
    write_zip(out / "starter.zip", files)
    autograder(assignment, out / "autograder.zip", number(seed))
    write(out / "seed", f"{seed}\n")
    print(f"for students: {out / 'starter'}, {out / 'starter.zip'}\nfor Gradescope: {out / 'autograder.zip'}\n"
          f"to grade with: --seed @{out / 'seed'} (keep it secret; it is in autograder.zip too): {seed}")
    return OK


def _solution(options: argparse.Namespace) -> int:
    from minivae.coursework.verify import solution

    assignment = Assignment.read(_folder(options.assignment), number(options.seed))
    out = _empty(options.out or Path("dist") / f"{assignment.name}-solution")
    solution(assignment, out)
    print(f"hand in these (keep them secret), and all {assignment.points:g} points are given: "
          f"{', '.join(str(out / file) for file in sorted(assignment.submitted))}")
    return OK


def _empty(folder: Path) -> Path:
    """Raises AssignmentError if something is in it."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AssignmentError(f"{folder} is not an empty folder: choose another --out")
    return folder


def _grade(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from minivae.coursework import report as r
    from minivae.coursework.classroom import grade_class, to_grade
    from minivae.coursework.gradebook import Gradebook
    from minivae.coursework.on_paper import Person
    from minivae.coursework.roster import submissions_of

    seed = _secret(options.seed)
    assignment = Assignment.read(_folder(options.assignment), seed)
    submissions, book = submissions_of(options.submissions), Gradebook(options.out or Path("grades") / assignment.name)
    people = [Person(one.name, one.student, one.id) for one in submissions]
    with _starter(options.starter, assignment) as tree:
        left = to_grade(submissions, book, assignment, tree, seed, resume=options.resume, only=options.only)
        book.take_in(people, assignment, options.manual)
        with tqdm(total=len(left), unit="submission", disable=None) as bar:
            def after(report: r.Report) -> None:
                bar.update(1)
                tqdm.write(f"{r.outcome(report)}: {report.submission}")

            try:
                grade_class(left, book, assignment, tree, seed, jobs=options.jobs, after=after)
            finally:
                reports = book.write_tables(assignment)
    if len(reports) == 1:
        print(r.table(reports))
    failed = [report for report in reports if report.error]
    print(f"{len(reports) - len(failed)} of {len(reports)} graded: {book.folder}/gradebook.csv; for each student "
          "feedback/, for the next lecture summary.md")
    if failed:
        print(f"{len(failed)} could not be: --resume tries again")
    return WRONG if failed else OK


def _gradescope(options: argparse.Namespace) -> int:
    from minivae.coursework import report as r
    from minivae.coursework.grade import grade

    seed = _secret(options.seed)
    assignment = Assignment.read(_folder(options.assignment), seed)
    if not options.submission.exists():
        raise AssignmentError(f"{options.submission}: no such file or folder")
    with _starter(options.starter, assignment) as tree:
        report = grade(options.submission, assignment, tree, seed=seed,
                       after=lambda report: r.write(options.out, r.gradescope(report)))
        r.write(options.out, r.gradescope(report))
    print(r.outcome(report))
    return OK


@contextmanager
def _starter(given: Path | None, assignment: Assignment) -> Iterator[Path]:
    """The starter tree that was given, or one that is built now and gone afterwards."""
    from minivae.coursework.build import starter

    if given is not None:
        yield given
        return
    with TemporaryDirectory(prefix="minivae-starter-") as folder:
        starter(assignment, Path(folder) / "starter")
        yield Path(folder) / "starter"


def _verify(options: argparse.Namespace) -> int:
    from minivae.coursework.verify import verify

    seed = number(options.seed)
    return OK if verify(Assignment.read(_folder(options.assignment), seed), seed) else WRONG


COMMANDS = {"check": _check, "build": _build, "solution": _solution, "grade": _grade, "gradescope": _gradescope,
            "verify": _verify}


def _secret(seed: str | None) -> int:
    """The seed as a number.  Raises AssignmentError if there is none: everybody would know the hidden cases."""
    if not seed:
        raise AssignmentError("--seed SECRET is missing: the hidden cases are drawn by it. `course build` drew one "
                              "and wrote it down: --seed @dist/NAME/seed")
    return number(seed)


def number(seed: str) -> int:
    """A seed that is no number is one all the same: its letters.  "@file": what it says, and no list of processes."""
    seed = Path(seed[1:]).read_text(encoding="utf-8").strip() if seed.startswith("@") else seed
    return int(seed) if seed.isdigit() else int.from_bytes(seed.encode(), "big")


def _folder(name: str) -> Path:
    folder = Path(name) if (Path(name) / "assignment.toml").exists() else ASSIGNMENTS / name
    if not (folder / "assignment.toml").exists():
        there = sorted(path.parent.name for path in ASSIGNMENTS.glob("*/assignment.toml"))
        raise AssignmentError(f"no assignment {name!r}: {', '.join(there) or 'none'} are there, or name a folder that "
                              "holds an assignment.toml")
    return folder

