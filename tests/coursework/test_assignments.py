"""Assignments 1 and 2: right answers get full marks however they are written, wrong ones none and a true word."""

import ast
import compileall
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from equivalents import DIFFERENT, with_function
from judging import changed
from judging import judged as all_results

from minivae.coursework.assignment import Assignment, AssignmentError
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS, main
from minivae.coursework.cut import find, statements
from minivae.coursework.diagnose import diagnose
from minivae.coursework.grade import grade
from minivae.coursework.student import Limits, Student
from minivae.coursework.testing import Solution
from minivae.coursework.verify import mutants, solution, verify

NAMES = ("a1", "a2")
READ = {name: Assignment.read(ASSIGNMENTS / name) for name in NAMES}
MUTANTS = [(name, i, mutant) for name in NAMES for i, mutant in enumerate(mutants(READ[name]))]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The starter and the solution of every assignment, and "right", one over the other; compiled, once for all."""
    folder = tmp_path_factory.mktemp("assignments")
    for name, assignment in READ.items():
        starter(assignment, folder / name / "starter")
        solution(assignment, folder / name / "solution")
        shutil.copytree(folder / name / "starter", folder / name / "right")
        shutil.copytree(folder / name / "solution", folder / name / "right", dirs_exist_ok=True)
        compileall.compile_dir(folder / name / "right", quiet=2)
    return folder


def judged(trees, name, folder, changes=(), *, seed=0, tasks=(), whose="right"):
    """Results by the tests' names, of the solution with (file, change of its text): all tests in one process."""
    work = changed(trees / name / whose, folder / "work", changes)
    return {result.name: result for result in all_results(READ[name], work, seed=seed, tasks=tasks)}


def failed(results):
    return {name: result.says for name, result in results.items() if not result.passed}


# ── right and wrong answers ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "says", "functions"), DIFFERENT, ids=[f"{d[0]}: {d[1]}" for d in DIFFERENT])
def test_right_answers_written_differently_get_full_marks(name, says, functions, trees, tmp_path):
    changes = [(place.partition(":")[0], with_function(place.partition(":")[2], text))
               for place, text in functions.items()]
    assert failed(judged(trees, name, tmp_path, changes)) == {}


def test_at_least_ten_are_written_differently():
    assert min(len([d for d in DIFFERENT if d[0] == name]) for name in NAMES) >= 8
    assert sum(len(functions) for _, _, functions in DIFFERENT) >= 40


@pytest.mark.parametrize(("name", "i", "mutant"), MUTANTS, ids=[f"{n}-{i}-{m.task}" for n, i, m in MUTANTS])
def test_planted_mistakes_get_no_points_and_their_cause_is_named(name, i, mutant, trees, tmp_path):
    results = judged(trees, name, tmp_path, [(mutant.file, mutant.apply)], tasks=[mutant.task])
    assert sum(result.points for result in results.values()) == mutant.points
    assert mutant.says, "every planted mistake has a cause that can be named"
    assert re.search(mutant.says, " | ".join(result.says for result in results.values()))


def test_a_mistake_that_keeps_points_keeps_only_some():
    for name, _, mutant in MUTANTS:
        assert 0 <= mutant.points < sum(test.points for test in READ[name].tests if test.task == mutant.task)


def test_there_are_enough_planted_mistakes():
    assert [len([m for m in MUTANTS if m[0] == name]) for name in NAMES] >= [17, 12]
    for name in NAMES:
        assert {mutant.task for of, _, mutant in MUTANTS if of == name} == {task.id for task in READ[name].tasks}


@pytest.mark.parametrize("name", NAMES)
def test_the_starter_gets_nothing_anywhere(name, trees, tmp_path):
    results = judged(trees, name, tmp_path, whose="starter")
    assert [result.points for result in results.values()] == [0] * len(READ[name].tests)
    assert all("not implemented yet: Task" in result.says for result in results.values())


@pytest.mark.parametrize("seed", [1, 2, 12345678901234567890])
@pytest.mark.parametrize("name", NAMES)
def test_a_right_solution_gets_full_marks_at_every_seed(name, seed, trees, tmp_path):
    assert failed(judged(trees, name, tmp_path, seed=seed)) == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_sizes_and_values_of_the_hidden_tests(name):
    def shapes_and_values(test, seed):
        values = [value for value, _ in test.run(Solution(), seed).values()]
        return [np.shape(value) for value in values], [np.array(value).tolist() for value in values]

    hidden = READ[name].hidden
    ones, others = ([shapes_and_values(test, seed) for test in hidden] for seed in (1, 2))
    assert all(one[1] != other[1] for one, other in zip(ones, others))
    assert sum(one[0] != other[0] for one, other in zip(ones, others)) >= len(hidden) // 2
    assert ones == [shapes_and_values(test, 1) for test in hidden]


def test_the_same_submission_and_seed_give_the_same_report(trees, tmp_path):
    assignment, wrong = READ["a2"], tmp_path / "wrong"
    shutil.copytree(trees / "a2" / "solution", wrong)
    mutant = mutants(assignment)[0]
    file = wrong / mutant.file
    file.write_text(mutant.apply(file.read_text(encoding="utf-8")), encoding="utf-8")
    one, two = (grade(wrong, assignment, trees / "a2" / "starter", seed=7, tasks=("1.1", "1.3")) for _ in range(2))
    assert (one.points, len(one.results)) == (2, 4)                    # 1.1 is wrong, 1.3 right; no other task is run
    assert [asdict(result) for result in one.results] == [asdict(result) for result in two.results]


def test_a_sigmoid_that_loses_its_digits_loses_the_points_for_them_alone(trees, tmp_path):
    text = "def pullback(dy):\n    return dy * y * (1.0 - y)\n"
    results = judged(trees, "a1", tmp_path, [("minivae/ops/dense.py", with_function("sigmoid.pullback", text))])
    assert failed(results) == {"sigmoid_far_out": "dx: it is right near 0, but far out the digits of 1 − y are lost"}


def test_a_central_difference_must_leave_w_as_it_was(trees, tmp_path):
    text = "def central_difference(f, w, i, h):\n    w[i] += h\n    up = f(w)\n    w[i] -= 2 * h\n" \
           "    return (up - f(w)) / (2 * h)\n"
    change = ("chapters/ch01_gradient.py", with_function("central_difference", text))
    found = failed(judged(trees, "a1", tmp_path, [change]))
    assert list(found) == ["central_difference_of_a_variance", "difference_of_a_norm"]
    assert all("central_difference writes into w, which it was given" in says for says in found.values())


def test_a_constant_that_is_added_is_not_taken_for_a_factor():
    want = 1000.0 + np.arange(4.0)
    says = "every entry is -1.1 off: a constant is missing, or there is one too many"
    assert diagnose(want - 1.1, want) == f"it is nearly right: {says}"
    assert diagnose(np.arange(4.0) - 1.1, np.arange(4.0)) == says
    assert diagnose(want * (1.0 + 1e-3 * np.arange(4.0)), want).startswith("it is nearly right: low precision")
    assert diagnose(0.97 * want, want) == "it is 0.97 times the right one: a constant factor is wrong"


@pytest.mark.parametrize("without", [(), ("own root",), ("own root", "own world")])
def test_the_judge_lets_minivae_count_its_threads(without, tmp_path):
    (tmp_path / "team.py").write_text("from threadpoolctl import ThreadpoolController\n\ndef blas():\n    return "
                                      "len(ThreadpoolController().select(user_api='blas').lib_controllers)\n",
                                      encoding="utf-8")
    with Student(tmp_path, Limits(without=without)) as student:
        assert student.call("team:blas") == 1


# ── what students are handed ──────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=NAMES)
def built(request, tmp_path_factory):
    """(assignment, folder) of `course build`."""
    out = tmp_path_factory.mktemp("built") / request.param
    assert main(["course", "build", request.param, "--out", str(out), "--seed", "secret"]) == 0
    return READ[request.param], out


def texts(folder):
    return {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".bin"}


def test_the_starter_holds_what_it_should_and_nothing_else(built):
    assignment, out = built
    files = {path.relative_to(out / "starter").as_posix() for path in (out / "starter").rglob("*") if path.is_file()}
    with zipfile.ZipFile(out / "starter.zip") as archive:
        assert set(archive.namelist()) == files
        assert all(archive.read(file) == (out / "starter" / file).read_bytes() for file in files)
    assert {"handout.md", "visible.py", "answers.bin", "assignment.toml", *assignment.submitted} <= files
    assert not [file for file in files if file.endswith(".pyc") or ".git" in file or "cache" in file]
    assert not {"hidden.py", "hints.py", "mutants.toml", "verify.py", "build.py", "kernels.py", "seed"} & {
        Path(file).name for file in files}


def test_the_solutions_of_the_chapters_exercises_are_never_handed_out(built, tmp_path):
    assignment, out = built
    assert not [file for file in texts(out / "starter") if "solutions" in Path(file).parts]
    careless = shutil.copytree(assignment.folder, tmp_path / "careless") / "assignment.toml"
    toml = careless.read_text(encoding="utf-8").replace("files = [", 'files = [\n    "chapters/solutions/ch01.py",', 1)
    careless.write_text(toml, encoding="utf-8")
    with pytest.raises(AssignmentError, match=re.escape("['chapters/solutions/ch01.py'] is handed out, and solves")):
        Assignment.read(careless.parent)


def test_no_hidden_test_is_in_the_starter(built):
    assignment, out = built
    everything = "\n".join([*texts(out / "starter").values(),
                            (out / "starter/answers.bin").read_bytes().decode("latin1")])
    assert not [test.name for test in assignment.hidden if test.name in everything]
    assert all(test.name in everything for test in assignment.visible)


def test_no_answer_is_in_the_starter(built):
    assignment, out = built
    handed_out = {file: text for file, text in texts(out / "starter").items() if file.endswith(".py")}
    there = {statement for text in handed_out.values() for statement in statements(ast.parse(text))}
    lines = {_squeezed(line) for text in handed_out.values() for line in text.splitlines()}
    comments = {line.partition("#")[2].strip() for text in handed_out.values() for line in text.splitlines()}
    for target in {target for task in assignment.tasks for target in task.write} | set(assignment.also_blank):
        file, _, name = target.partition(":")
        source = (ROOT / file).read_text(encoding="utf-8")
        node = find(ast.parse(source), name)
        body = source.splitlines()[node.lineno - 1:node.end_lineno]
        assert not set(statements(node)) & there
        assert not [line for line in body if "∂" in line and line.partition("#")[2].strip() in comments - {""}]
        if name.endswith("pullback"):
            answer = {_squeezed(line) for line in body if "return" in line and "def " not in line}
            assert not {line for line in answer if len(line) > 20} & lines, target


def _squeezed(line):
    return "".join(line.partition("#")[0].split())


def test_a1_does_not_tell_the_answers_of_a2(trees):
    """(but for the value of bernoulli_nll, which a1 gives, and whose derivative it asks for)"""
    there = {statement for file in (trees / "a1" / "starter").rglob("*.py") for statement in
             statements(ast.parse(file.read_text(encoding="utf-8")))}
    for target in {target for task in READ["a2"].tasks for target in task.write}:
        file, _, name = target.partition(":")
        if name != "bernoulli_nll":
            assert not set(statements(find(ast.parse((ROOT / file).read_text(encoding="utf-8")), name))) & there, target


@pytest.mark.parametrize("name", NAMES)
def test_the_handout_says_what_the_tests_give(name):
    assignment, text = READ[name], (ASSIGNMENTS / name / "handout.md").read_text(encoding="utf-8")
    points = {task.id: sum(test.points for test in assignment.tests if test.task == task.id)
              for task in assignment.tasks}
    assert {task: float(n) for task, n in re.findall(r"\*\*(\d\.\d)\*\* \((\d+) points\)", text)} == points
    groups = {n: sum(p for task, p in points.items() if task[0] == n) for n, _ in re.findall(
        r"## Task (\d) · .* \((\d+) points\)", text)}
    assert {n: float(p) for n, p in re.findall(r"## Task (\d) · .* \((\d+) points\)", text)} == groups
    assert f"There are {assignment.points:g} points" in text
    assert sum(groups.values()) == assignment.points
    assert all(f"`{file}`" in text for file in assignment.submitted)


def test_a2_is_as_large_as_it_should_be():
    assert 45 <= READ["a2"].points <= 60
    assert 25 <= len(READ["a2"].tests) <= 35
    assert {test.task for test in READ["a2"].visible} == {test.task for test in READ["a2"].hidden}


def test_a_hole_names_every_task_that_it_belongs_to(trees):
    text = (trees / "a1/starter/minivae/ops/dense.py").read_text(encoding="utf-8")
    assert 'NotImplementedError("Task 2.1: dx of the linear layer; 2.2: dW of' in text


def test_the_programs_of_the_handout_run(trees, tmp_path):
    shutil.copytree(trees / "a2" / "right", tmp_path / "work")
    handout = (ASSIGNMENTS / "a2" / "handout.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", handout, re.DOTALL)
    said = [_student_python(tmp_path / "work", "-c", program).stdout for program in programs]
    assert "gradient check of gaussian_kl: passed" in said[0]
    elbo = [json.loads(line.partition(" ")[2].replace("'", '"'))["elbo"] for line in said[1].splitlines()]
    assert elbo[0] < -20 < -6 < elbo[-1] < -2.08       # log p(x) is at best −log 8


def test_the_first_check_is_answered_soon(built, tmp_path):
    assignment, out = built
    work = shutil.copytree(out / "starter", tmp_path / "work")           # what a check leaves there is no starter's
    begun = cpu_of_children()
    done = _student_python(work, "-m", "minivae", "course", "check")
    seconds = cpu_of_children() - begun
    print(f"{assignment.name}: first check {seconds:.2f} s")
    assert done.stderr == ""
    assert done.stdout.count("not implemented yet: Task") == len(assignment.visible)
    assert done.stdout.splitlines()[-1].startswith("0 of ")
    assert done.returncode == 1
    assert seconds < 10, "of processor time: whatever else the machine does"


def cpu_of_children():
    import resource  # not on Windows, where the tests are collected too
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _student_python(folder, *arguments):
    """As a student runs it: in the starter's folder, where its own minivae comes first."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, timeout=600, capture_output=True,
                          check=False, encoding="utf-8")


@pytest.mark.slow
def test_a2_is_graded_soon(trees):
    report = grade(trees / "a2" / "solution", READ["a2"], trees / "a2" / "starter", seed=0)
    print(f"a2: graded in {report.seconds:.1f} s")
    assert report.points == report.most == 60
    assert report.seconds < 60                         # 30 s on two cores that have nothing else to do


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_verify(name, capsys):
    """The command that instructors run: the same mutants, a process for each test."""
    assert verify(READ[name], seed=3)
    assert "BAD" not in capsys.readouterr().out
