"""A task is judged on right parts of the tasks before it, and nothing of them can be read where it runs."""

import ast
import shutil

import numpy as np
import pytest

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.cut import find
from minivae.coursework.grade import check, grade
from minivae.coursework.student import Student, StudentError
from minivae.coursework.under import ENTRIES, Parts, functions_under, laid_under, outer
from minivae.coursework.verify import solution
from minivae.coursework.wire import Handle, Name
from minivae.ops import linear, tanh

READ = {name: Assignment.read(ASSIGNMENTS / name) for name in ("a1", "a2", "a3", "a5")}
TASKS = [(name, task) for name, assignment in READ.items() for task in assignment.tasks]
QUICK = {("a1", "3.5"), ("a1", "4.3"), ("a2", "4.3"), ("a3", "2.3"), ("a5", "3.2")}


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The starter and the solution of every assignment."""
    folder = tmp_path_factory.mktemp("under")
    for name, assignment in READ.items():
        starter(assignment, folder / name / "starter")
        solution(assignment, folder / name / "solution")
    return folder


def with_function_of(source, name, right):
    """The source with that function as it is in `right`."""
    theirs, ours = find(ast.parse(source), name), find(ast.parse(right), name)
    a, b = source.splitlines(keepends=True), right.splitlines(keepends=True)
    return "".join([*a[:theirs.lineno - 1], *b[ours.lineno - 1:ours.end_lineno], *a[theirs.end_lineno:]])


@pytest.mark.parametrize(("name", "task"), [
    pytest.param(name, task, id=f"{name}-{task.id}", marks=() if (name, task.id) in QUICK else pytest.mark.slow)
    for name, task in TASKS])
def test_a_task_alone_gets_its_points_when_nothing_else_is_written(name, task, trees, tmp_path):
    for file in READ[name].submitted:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(trees / name / "starter" / file, tmp_path / file)
    for target in task.write:
        file, _, function = target.partition(":")
        text, right = ((folder / file).read_text(encoding="utf-8") for folder in (tmp_path, trees / name / "solution"))
        (tmp_path / file).write_text(with_function_of(text, function, right), encoding="utf-8")
    report = grade(tmp_path, READ[name], trees / name / "starter", seed=5, tasks=[task.id])
    joined = {test.name for test in READ[name].tests if test.joined}
    lost = {result.name: result.says for result in report.results if not result.passed}
    assert set(lost) <= joined
    assert all(says.startswith("on your own parts (") for says in lost.values())
    assert len(report.results) > len(lost)


MISTAKES = [
    ("a2", "minivae/distributions/gaussian.py", "0.5 * (var - 1.0) * dkl", "(var - 1.0) * dkl", "2.2", 6.0),
    ("a1", "minivae/ops/dense.py", "product(dy, W.T) if", "-product(dy, W.T) if", "2.1", 4.0)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file", "old", "new", "task", "costs"), MISTAKES)
def test_one_mistake_is_charged_once(name, file, old, new, task, costs, trees, tmp_path):
    """(a missing ½ cost 19 points, a sign 13)"""
    shutil.copytree(trees / name / "solution", tmp_path / "work")
    text = (tmp_path / "work" / file).read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "work" / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    report = grade(tmp_path / "work", READ[name], trees / name / "starter", seed=3)
    assert report.most - report.points == costs
    joined = {test.name for test in READ[name].tests if test.joined}
    assert all(result.task == task or result.name in joined for result in report.results if not result.passed)


def test_little_is_joined_and_something_is():
    for assignment in READ.values():
        assert sum(test.points for test in assignment.tests if test.joined) == 1


# ── what is laid out ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", READ)
def test_what_is_laid_under_is_a_line_that_asks_and_no_line_moves(name, trees):
    tasks = READ[name].tasks
    folder = trees / name / "solution"
    for task in tasks:
        under = functions_under(tasks, task.id)
        assert not {outer(target) for target in task.write} & under
        laid = laid_under(under, lambda file: (folder / file).read_text(encoding="utf-8"))
        for file, content in laid.items():
            before, text = (folder / file).read_text(encoding="utf-8"), content.decode()
            assert text.count("\n") == before.count("\n")
            for function in under:
                if function.startswith(f"{file}:"):
                    node = find(ast.parse(text), function.partition(":")[2])
                    assert ast.unparse(node).splitlines()[1:] == ["    import judges_parts",
                                                                  f"    return judges_parts.ask({function!r}, a, k)"]
            for target in task.write:                  # and what is tested is the student's own, in its place
                if target.startswith(f"{file}:"):
                    mine = [find(ast.parse(source), target.partition(":")[2]) for source in (before, text)]
                    assert ast.dump(mine[0], include_attributes=True) == ast.dump(mine[1], include_attributes=True)


def test_a_file_that_cannot_be_read_is_left_as_it_is():
    assert laid_under({"minivae/a.py:f"}, lambda file: "def f(:\n") == {}
    assert laid_under({"minivae/a.py:f"}, lambda file: "def g(x):\n    return x\n") == {}


def test_no_later_task_is_offered():
    tasks = READ["a1"].tasks
    assert functions_under(tasks, "2.2") == set()      # linear itself is what is tested
    assert "minivae/ops/dense.py:linear" in functions_under(tasks, "2.4")
    assert "minivae/nn/layers.py:Linear.__call__" not in functions_under(tasks, "2.4")


# ── what can be asked ─────────────────────────────────────────────────────────────────────────

OFFERED = {"minivae/ops/dense.py:linear", "minivae/ops/dense.py:tanh"}
SOURCE = """
import judges_parts

def linear(*a, **k):
    return judges_parts.ask("minivae/ops/dense.py:linear", a, k)

def asks(*a, **k):
    return judges_parts.ask(*a, **k)

def there_and_back(f, x):
    y, pull = judges_parts.ask("minivae/ops/dense.py:tanh", [x], {})
    return y, lambda dy: pull(dy)
"""


@pytest.fixture
def student(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE, encoding="utf-8")
    with Student(tmp_path, parts=Parts(OFFERED)) as one:
        yield one


def test_a_part_answers_as_the_solution_does(student):
    rng = np.random.default_rng(0)
    x, W, b, dy = (rng.standard_normal(shape) for shape in ((4, 3), (3, 5), 5, (4, 5)))
    y, pull = student.call("theirs:linear", x, W, b)
    want, pullback = linear(x, W, b)
    np.testing.assert_array_equal(y, want)
    for _ in range(2):
        for got, right in zip(student.call(pull, dy), pullback(dy)):
            np.testing.assert_array_equal(got, right)
    y, pull = student.call("theirs:there_and_back", None, x)
    np.testing.assert_array_equal(student.call(pull, x), tanh(x)[1](x))


REFUSED = [
    ("minivae/ops/dense.py:relu", [np.zeros((2, 2))], "this is not offered"), ("os:system", ["true"], "not offered"),
    (7, [np.zeros(2)], "not offered"), (None, [], "not offered"), (True, [], "not offered"),
    ("minivae/ops/dense.py:tanh", [np.zeros(ENTRIES + 1)], "at most 2048 numbers"),
    ("minivae/ops/dense.py:tanh", [np.zeros((10**9, 0))], "at most 2048 numbers"),
    ("minivae/ops/dense.py:tanh", ["x"], "a str: arrays and numbers"),
    ("minivae/ops/dense.py:tanh", [10**6], "a int"),
    ("minivae/ops/dense.py:tanh", [], "TypeError|IndexError"),
    ("minivae/ops/dense.py:linear", [np.zeros(3)] * 3, "linear: x has")]


@pytest.mark.parametrize("i", range(len(REFUSED)))
def test_what_is_not_offered_or_too_large_is_refused(i, student):
    part, arguments, says = REFUSED[i]
    with pytest.raises(StudentError, match=says):
        student.call("theirs:asks", part, arguments, {})
    assert student.call("numpy:sum", np.ones(3)) == 3.0                # and it goes on


def test_a_name_from_there_is_looked_up_by_nobody():
    parts = Parts(OFFERED)
    parts.student = type("Alive", (), {"alive": True})()
    said = parts.serve("minivae/ops/dense.py:tanh", [Name("os:system")], {})
    assert said[1] is False
    assert "a Name: arrays and numbers" in said[2]


def test_who_asks_for_ever_is_stopped(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "import judges_parts\n\ndef again(x):\n    try:\n        while True:\n"
        "            judges_parts.ask('minivae/ops/dense.py:tanh', [x], {})\n"
        "    except judges_parts.PartError as error:\n"
        "        return str(error)\n", encoding="utf-8")
    with Student(tmp_path, parts=Parts(OFFERED)) as student:
        assert "asked too often" in student.call("theirs:again", np.zeros(2))
        assert len(student.parts.kept) <= 2_000


def test_where_nothing_is_offered_nobody_is_asked(tmp_path):
    (tmp_path / "theirs.py").write_text(SOURCE, encoding="utf-8")
    with Student(tmp_path) as student, pytest.raises(StudentError, match="junk on the line"):
        student.call("theirs:linear", np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2))


def test_handles_from_there_are_things_to_call_and_no_more(tmp_path):
    (tmp_path / "theirs.py").write_text("def double(x):\n    return 2.0 * x\n\nclass Box:\n    size = 3\n",
                                        encoding="utf-8")
    parts = Parts(set())
    with Student(tmp_path, parts=parts) as student:
        box = parts.near(student.call("theirs:Box"))
        assert box.size == 3
        with pytest.raises(AttributeError):
            _ = box.__array__
        with pytest.raises(StudentError, match="AttributeError"):
            _ = box.other
        assert parts.out(box) == Handle(0)


# ── what students see on their own machine ────────────────────────────────────────────────────


def test_check_says_which_earlier_task_may_be_the_cause(trees, tmp_path):
    shutil.copytree(trees / "a1" / "starter", tmp_path / "work")
    shutil.copytree(trees / "a1" / "solution", tmp_path / "work", dirs_exist_ok=True)
    file = tmp_path / "work" / "minivae/ops/dense.py"
    wrong = file.read_text(encoding="utf-8").replace("product(dy, W.T) if", "-product(dy, W.T) if")
    file.write_text(wrong, encoding="utf-8")
    says = {result.task: result.says for result in check(tmp_path / "work").results if not result.passed}
    assert set(says) == {"2.1", "2.4", "3.5"}
    assert "It may rest on" not in says["2.1"]
    assert "It may rest on what fails above, 2.1: mend that first" in says["2.4"]
