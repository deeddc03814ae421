"""A measured gradient is told from a derived one: by what it calls, by what is written in it, by its digits."""

import ast
import shutil
import textwrap

import numpy as np
import pytest
import shortcuts
from equivalents import DIFFERENT

from minivae.coursework import wire
from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.cut import find
from minivae.coursework.evaluations import Measured, Watch
from minivae.coursework.grade import run
from minivae.coursework.looks import look, looks_of
from minivae.coursework.student import Student
from minivae.coursework.testing import compare
from minivae.coursework.things import Things
from minivae.coursework.verify import solution

READ = {name: Assignment.read(ASSIGNMENTS / name) for name in shortcuts.OPS}
SAYS = "a finite difference, not a derivation"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The solution of every assignment over its starter."""
    folder = tmp_path_factory.mktemp("measured")
    for name, assignment in READ.items():
        starter(assignment, folder / name)
        solution(assignment, folder / name)
    return folder


def measured(trees, work, name, functions):
    """Results of the solution with these functions instead of its own, of the tasks that they are about."""
    shutil.copytree(trees / name, work)
    for place, text in functions.items():
        file, _, function = place.partition(":")
        source = (work / file).read_text(encoding="utf-8")
        lines, node = source.splitlines(keepends=True), find(ast.parse(source), function)
        new = textwrap.indent(text.strip("\n") + "\n", " " * node.col_offset)
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        (work / file).write_text("".join([*lines[:first - 1], new, *lines[node.end_lineno:]]), encoding="utf-8")
    tasks = {task.id for task in READ[name].tasks if set(task.write) & set(functions)}
    looks = looks_of(READ[name].tasks, lambda file: (work / file).read_text(encoding="utf-8"))
    with Student(work) as student:
        return [run(test, student, READ[name].wanted(test, 0), 0, looks)
                for test in READ[name].tests if test.task in tasks]


VALUES = {"a1": 2, "a2": 10, "a3": 3}                  # points of those tasks that are for values


@pytest.mark.parametrize("kind", shortcuts.KINDS)
@pytest.mark.parametrize("name", ["a1", pytest.param("a2", marks=pytest.mark.slow),
                                  pytest.param("a3", marks=pytest.mark.slow)])
def test_what_was_measured_gets_the_points_of_values_alone_and_is_named(name, kind, trees, tmp_path):
    results = measured(trees, tmp_path / "work", name, shortcuts.submission(name, kind))
    assert sum(result.points for result in results) == VALUES[name]
    assert len(results) > 10
    for result in results:
        assert result.passed or SAYS in result.says or "float32 on the way" in result.says, (result.name, result.says)


@pytest.mark.parametrize("name", ["a1", "a3"])
def test_what_calls_nothing_is_seen_in_its_text(name, trees, tmp_path):
    functions = {place: text for place, text in shortcuts.WITHOUT_A_CALL.items() if place in shortcuts.OPS[name]}
    assert functions
    results = measured(trees, tmp_path / "work", name, functions)
    assert sum(result.points for result in results) == 0
    assert all(f"{SAYS}: minivae/" in result.says and "divides by it" in result.says for result in results)


def test_no_right_answer_looks_like_a_difference():
    """(tests of right answers in test_assignments run them under the watch)"""
    seen = 0
    for assignment in READ.values():
        for target in {target for task in assignment.tasks for target in task.write}:
            file, _, name = target.partition(":")
            assert look((ASSIGNMENTS.parents[1] / file).read_text(encoding="utf-8"), name) is None
            seen += 1
    for _, _, functions in DIFFERENT:
        for place, text in functions.items():
            if not place.endswith("central_difference"):
                name = place.rpartition(":")[2].rpartition(".")[2]
                assert look(textwrap.dedent(text), name) is None, text
                seen += 1
    assert seen > 60


# ── by what it calls ──────────────────────────────────────────────────────────────────────────

X, DY = np.random.default_rng(0).standard_normal((2, 4, 3))


def asked(op, x=X):
    """An op and its pullback, as the student's process calls them."""
    things = Things(wire, Watch())
    things.kept.append(op)
    y, pull = things.answer(("call", wire.Handle(0), [x.copy()], {}))
    return y, things.answer(("call", pull, [DY.copy()], {}))


def op_of(pullback):
    def op(x):
        return f(x), lambda dy: pullback(x, dy)

    return op


def f(x):
    return np.tanh(x)


@pytest.mark.parametrize("pullback", [
    lambda x, dy: f(x + 1e-9) - f(x), lambda x, dy: f(x + 1e-3) - f(x - 1e-3), lambda x, dy: f(x - 1e-7 * dy),
    lambda x, dy: [f(x + e) for e in np.eye(12).reshape(12, 4, 3)], lambda x, dy: f(x + 1e-20j).imag])
def test_a_function_that_is_asked_beside_the_point_is_seen(pullback):
    with pytest.raises(Measured, match=f"^{SAYS}: f is called "):
        asked(op_of(pullback))


def test_it_does_not_matter_whether_it_is_the_pullback_that_asks():
    def op(x):
        slope = (f(x + 1e-6) - f(x - 1e-6)) / 2e-6
        return f(x), lambda dy: slope * dy

    with pytest.raises(Measured, match="f is called beside the point, 1e-06 away from it"):
        asked(op)


def test_an_op_that_its_pullback_asks_again_and_again_is_seen():
    def op(x):
        return f(x), lambda dy: op(10.0 + x)[0] - op(-10.0 - x)[0]

    with pytest.raises(Measured, match=r"the pullback calls .*op again, 2 times"):
        asked(op)


@pytest.mark.parametrize("pullback", [
    lambda x, dy: f(x), lambda x, dy: f(-x) * f(x), lambda x, dy: f(x.astype(np.float32)), lambda x, dy: f(2.0 * x),
    lambda x, dy: f(x - x.max()), lambda x, dy: f(np.maximum(x, 0.0)), lambda x, dy: f(x + 1.0) * f(x - 1.0),
    lambda x, dy: f(np.zeros_like(x)), lambda x, dy: f(x + dy), lambda x, dy: f(x.T).T])
def test_a_function_that_is_asked_at_the_point_or_elsewhere_is_not(pullback):
    asked(op_of(pullback))


def test_who_is_asked_for_a_difference_may_take_one():
    things = Things(wire, Watch())
    things.kept.append(lambda w: (f(w + 1e-6) - f(w)) / 1e-6)
    things.answer(("call", wire.Handle(0), [X], {}))


def test_nobody_is_watched_after_the_call_and_who_stops_the_watch_is_told(tmp_path):
    import sys
    before = sys.getprofile()
    asked(op_of(lambda x, dy: dy))
    assert sys.getprofile() is before
    with pytest.raises(Measured, match="cannot be watched"):
        asked(op_of(lambda x, dy: sys.setprofile(None)))
    assert sys.getprofile() is before


# ── by its digits ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("error", "says"), [(1e-12, None), (1e-8, "right to 8 digits, and should be to 10"),
                                             (1e-3, "entries are wrong|nearly right")])
def test_float64_is_judged_to_ten_digits(error, says):
    want = {"dx": [X, {}]}
    found = compare({"dx": [X + error * np.abs(X).max() * np.sign(DY), {}]}, want)
    assert found is None if says is None else says.partition("|")[0] in found or says.partition("|")[2] in found


def test_what_comes_in_float32_is_judged_as_float32():
    want = {"dx": [X, {}]}
    assert compare({"dx": [X.astype(np.float32), {}]}, want) is None
    assert "float32 on the way" in compare({"dx": [X.astype(np.float32).astype(np.float64), {}]}, want)
    assert compare({"dx": [X.astype(np.float16), {}]}, want) is not None
    assert compare({"dx": [X.astype(np.float32).astype(np.float64), {}]}, want, 1e-5) is None
