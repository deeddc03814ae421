"""Assignment 4: eight VAEs with a mistake each.  They train, and each is caught by its own check alone.

    python tests/coursework/test_assignment_a4.py      what the eight report on digits, as a table (NOTES.md)
"""

from __future__ import annotations

import ast
import importlib.util
import shutil
import sys

import numpy as np
import pytest

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.grade import check, grade, run
from minivae.coursework.report import gradescope
from minivae.coursework.student import Student, StudentError
from minivae.coursework.testing import Solution, compare
from minivae.coursework.things import module_of
from minivae.coursework.verify import mutants, solution, verify
from minivae.coursework.wire import pack

FOLDER = ASSIGNMENTS / "a4"


def imported(file: str):
    spec = importlib.util.spec_from_file_location(f"a4_{file}", FOLDER / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make, checks, train = imported("make"), imported("checks"), imported("train")
NAMES = list(make.BUGS)
BLIND = {"bug1", "bug2", "bug3", "bug5", "bug6", "bug7"}     # finite differences of the model's own gradient agree


@pytest.fixture(scope="module")
def assignment():
    return Assignment.read(FOLDER)


@pytest.fixture(scope="module")
def trees(assignment, tmp_path_factory):
    """(starter, right submission)"""
    folder = tmp_path_factory.mktemp("a4")
    starter(assignment, folder / "starter")
    solution(assignment, folder / "right")
    return folder / "starter", folder / "right"


def vae_of(text: str):
    return module_of("vae", text)


def broken(name: str):
    return vae_of(make.handed_out(name)[0])


def catches(name: str, text: str) -> bool:
    try:
        assert getattr(checks, f"check_{name}")(vae_of(text)) is None
    except AssertionError:
        return True
    return False


# ── the eight modules ─────────────────────────────────────────────────────────────────────────


def test_there_are_eight_and_each_has_one_mistake():
    assert [f"bug{n}" for n in make.NUMBERS] == NAMES
    for name in NAMES:
        text, lines = make.handed_out(name)
        rows, right = text.splitlines(), make.mended(name).splitlines()
        assert 1 <= len(lines) <= 3
        assert make.MARK not in text
        assert max(map(len, rows)) <= 120
        assert all(rows[line - 1] not in right for line in lines), "a line that counts is a line that was changed"
        assert len(set(rows) - set(right)) <= 6


@pytest.mark.parametrize("name", NAMES)
def test_a_check_catches_its_own_mistake_however_it_is_written(name):
    assert catches(name, make.handed_out(name)[0])
    assert all(catches(name, make.another(name, np.random.default_rng(seed), wrong=True)) for seed in range(6))


@pytest.mark.parametrize("name", NAMES)
def test_a_check_passes_every_right_module_and_the_other_seven(name):
    right = [make.BASE, *(make.mended(other) for other in NAMES),
             *(make.another(name, np.random.default_rng(seed), wrong=False) for seed in range(6))]
    assert not any(catches(name, text) for text in right)
    assert [other for other in NAMES if catches(name, make.handed_out(other)[0])] == [name]


def test_the_form_of_a_mistake_is_no_other_modules_form():
    """Or a comparison of the eight would show the mistake alone."""
    for name, bug in make.BUGS.items():
        text, _ = make.handed_out(name)
        changed = set(text.splitlines()) - set(make.mended(name).splitlines())
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        rows = text.splitlines()
        of = {node.name for node in functions
              if changed & set(rows[node.lineno - 1:node.end_lineno]) and node.name not in make.RENAMES["pullback"]}
        of &= {form.rpartition(".")[2] for form in make.FORMS}
        for function in of:
            full = next(form for form in make.FORMS if form.rpartition(".")[2] == function)
            used = [other["forms"].get(full, "base") for other in make.BUGS.values()]
            assert used.count(bug["forms"].get(full, "base")) == 1, (name, function, used)
        assert of


@pytest.mark.parametrize("name", NAMES)
def test_finite_differences_see_two_of_the_eight(name):
    vae, x = checks.model(broken(name)), checks.images()

    def f():
        nll, kl = vae.terms(x, np.random.default_rng(3))[0]
        return (nll + kl).sum()

    vae.terms(x, np.random.default_rng(3))[1](np.ones(len(x)), np.ones(len(x)))
    errors = [abs(checks.difference(f, vae.weights[key], index) - gradient[index])
              for key, gradient in vae.grads.items() for index in np.ndindex(gradient.shape)]
    assert (max(errors) < 1e-6) == (name in BLIND)


# ── they look plausible ───────────────────────────────────────────────────────────────────────


def trained(module, x, *, hidden: int, latents: int, epochs: int, batch: int):
    """A model and what it told in the first and last epoch; half-way it is saved, and loaded into another."""
    rng = np.random.default_rng(0)
    vae, told = module.VAE(x.shape[1], hidden, latents, rng, lr=3e-3), []
    for epoch in range(epochs):
        if epoch == epochs // 2:
            state, vae = vae.state(), module.VAE(x.shape[1], hidden, latents, rng, lr=3e-3)
            vae.load(state)
        batches = np.split(x[rng.permutation(len(x))], range(batch, len(x), batch))
        each = [vae.train_step(part, rng) for part in batches]
        told.append({key: float(np.mean([one[key] for one in each])) for key in ("elbo", "nll", "kl")})
    return vae, told[0], told[-1]


def figures(module, x, unseen, **sizes) -> dict[str, float]:
    vae, first, last = trained(module, x, **sizes)
    pictures = vae.sample(300, np.random.default_rng(1))
    return {"first": first["elbo"], "last": last["elbo"], "nll": last["nll"], "kl": last["kl"],
            "unseen": float(vae.nll(unseen, np.random.default_rng(2), 50).mean()),
            "ink": float(pictures.mean() / x.mean())}


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_and_looks_plausible(name):
    rng = np.random.default_rng(5)
    x, unseen = train.bars(600, rng), train.bars(100, rng)
    sizes = {"hidden": 32, "latents": 4, "epochs": 12, "batch": 30}
    found = figures(broken(name), x, unseen, **sizes)
    right = figures(vae_of(make.mended(name)), x, unseen, **sizes)
    for says in (found, right):
        assert np.isfinite(list(says.values())).all()
        assert says["first"] < says["last"] < 0.0
        assert 0.3 < says["ink"] < 3.0
    assert abs(found["last"] - right["last"]) < 0.35 * abs(right["last"]), "nobody would believe it"


def digits_table() -> list[str]:
    """A row for each module: what it reports, and beside it what the mended one does."""
    from minivae.data import load

    digits = load("digits")
    x, unseen = (1.0 * (part > 0.5) for part in (digits.train[:2000], digits.test[:300]))
    rows = ["| | reported ELBO, first → last epoch | nll | kl | −log p(unseen) | ink | the mended module's |",
            "|---|---|---|---|---|---|---|"]
    for name in NAMES:
        bug, right = (figures(module, x, unseen, hidden=100, latents=8, epochs=10, batch=50)
                      for module in (broken(name), vae_of(make.mended(name))))
        rows.append(f"| {name} | {bug['first']:.1f} → {bug['last']:.1f} | {bug['nll']:.1f} | {bug['kl']:.1f} | "
                    f"{bug['unseen']:.1f} | {bug['ink']:.2f} | {right['first']:.1f} → {right['last']:.1f}; "
                    f"{right['nll']:.1f}, {right['kl']:.1f}; {right['unseen']:.1f}; {right['ink']:.2f} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


# ── grading ───────────────────────────────────────────────────────────────────────────────────


def test_full_marks(assignment, trees, tmp_path):
    """All tests in one process; `test_verify`, which is slow, has one for each, as in `grade`."""
    for tree in trees:
        shutil.copytree(tree, tmp_path / "work", dirs_exist_ok=True)
    with Student(tmp_path / "work") as student:
        results = [run(test, student, test.run(Solution(), 0, assignment.hints), 0) for test in assignment.tests]
    assert [r.says for r in results if not r.passed and r.most] == []
    assert sum(r.points for r in results) == assignment.points == 48.0
    assert [sum(r.most for r in results if r.task.endswith(f".{n}")) for n in make.NUMBERS] == [6.0] * 8


def test_the_same_seed_gives_the_same_cases_and_another_gives_others(assignment):
    for test in assignment.hidden:
        if test.task.startswith("2.") or test.task in ("4.3", "4.6"):
            once, again, other = (pack(Sent().of(test, seed)) for seed in (1, 1, 2))
            assert once == again
            assert once != other


class Sent(Solution):
    """The solution, and the modules that a test sends."""

    def of(self, test, seed):
        self.texts: list[str] = []
        return [test.run(self, seed), self.texts]

    def module(self, name, source):
        self.texts.append(source)
        return super().module(name, source)


@pytest.mark.parametrize("name", NAMES)
def test_a_mended_module_may_be_written_otherwise(name, assignment, monkeypatch):
    """Right in other forms: it passes; the one that was handed out does not, in any form."""
    test = next(test for test in assignment.hidden if test.task == f"2.{name[3:]}")
    want = test.run(Solution(), 3, assignment.hints)
    for seed in range(4):
        for wrong in (False, True):
            text = make.another(name, np.random.default_rng(seed), wrong=wrong)
            monkeypatch.setitem(sys.modules, name, module_of(name, text))
            assert (compare(test.run(Solution(), 3), want) is not None) == wrong


def test_one_mended_module_is_not_eight(assignment, monkeypatch):
    for test in assignment.hidden:
        if test.task.startswith("2."):
            want = test.run(Solution(), 4, assignment.hints)
            mine = f"bug{test.task[2:]}"
            for other in set(NAMES) - {mine}:
                with monkeypatch.context() as patch:
                    patch.setitem(sys.modules, mine, vae_of(make.mended(other)))
                    assert compare(test.run(Solution(), 4), want) is not None, (mine, other)


def test_the_starter_holds_no_answer(trees):
    tree, _ = trees
    files = {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in tree.rglob("*")
             if path.suffix in (".py", ".md", ".toml")}
    assert not {"vae.py", "bugs.toml", "make.py", "hidden.py", "hints.py", "NOTES.md", "mutants.toml"} & set(files)
    for name in NAMES:
        assert files[f"{name}.py"] == files[f"originals/original{name[3:]}.py"] == make.handed_out(name)[0]
        assert f'"{name}": 0' in files["answers.py"]
        assert make.BUGS[name]["what"].strip()[:40] not in "".join(files.values())
        assert f'raise NotImplementedError("Task 3.{name[3:]}: a check that catches {name}")' in files["checks.py"]
    assert "assert_allclose" not in files["checks.py"]


def test_the_visible_tests_say_what_is_missing(trees):
    report = check(trees[0])
    assert len(report.results) == 24
    assert [r.passed for r in report.results] == [False] * 8 + [True] * 8 + [False] * 8
    assert "not implemented yet: Task 3.1" in report.results[16].says


# ── cheating ──────────────────────────────────────────────────────────────────────────────────

THIEF = '''
import builtins, contextlib, gc, marshal, types

loot = []

def listen(kind):
    real = getattr(builtins, kind)
    def heard(*a, **k):
        note(repr(a))
        return real(*a, **k)
    return heard

def note(text):
    loot.append(text)
    with contextlib.suppress(OSError), open("loot.txt", "a") as file:
        file.write(text)

for kind in ("compile", "exec"):
    setattr(builtins, kind, listen(kind))

def steal(vae):
    for thing in gc.get_objects():
        if isinstance(thing, types.FunctionType) and thing.__module__ == "vae":
            note(marshal.dumps(thing.__code__).hex() + "\\n")
    needle = "".join(["def rep", "arameterize"])       # which is not in this text
    texts = [x for thing in gc.get_objects() if type(thing) in (dict, list, tuple)
             for x in (thing.values() if type(thing) is dict else thing) if type(x) is str and needle in x]
    heard = "".join(loot)
    print("text found:", bool(texts), "heard:", needle in heard, "byte code:", len(heard) > 10000, flush=True)
    raise AssertionError("".join(loot))

check_bug1 = check_bug2 = check_bug3 = check_bug4 = check_bug5 = check_bug6 = check_bug7 = check_bug8 = steal
'''
RECEIVER = '''
import os
if os.path.exists("loot.txt"):
    raise SystemExit("there is loot")
'''


@pytest.mark.parametrize("numbers", ["15", pytest.param("12345678", marks=pytest.mark.slow)])
def test_what_a_check_sees_helps_no_mended_module_and_reaches_nobody(numbers, assignment, trees, tmp_path):
    """A check may take the right modules apart; but all mended modules have been tested by then, and it cannot tell.

    Of two of the eight; of all is slow.
    """
    tree, right = trees
    for name in [*NAMES, "checks", "answers"]:
        (tmp_path / f"{name}.py").write_text((right / f"{name}.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "checks.py").write_text(THIEF, encoding="utf-8")
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(RECEIVER + make.mended(name), encoding="utf-8")
    report = grade(tmp_path, assignment, tree, seed=0, tasks=[f"{part}.{n}" for part in "124" for n in numbers])
    by_task = {part: sum(r.points for r in report.results if r.task.startswith(part)) for part in ("1.", "2.", "4.")}
    n = len(numbers)
    assert by_task == {"1.": 1.0 * n, "2.": 3.0 * n, "4.": 0.0}, "the mended modules were tested before there was loot"
    for result in report.results:
        if result.task.startswith("4."):
            assert result.printed.startswith("text found: False heard: False byte code: True")
            assert result.says.endswith("it is 'it raises AssertionError', should be 'it returns None'")
    assert "byte code" not in gradescope(report).partition('"4.1"')[2], "and what it says is shown to no student"


def test_the_thief_hears_what_is_sent_after_it_came(tmp_path):
    """Which is why the hidden tests send all modules first."""
    (tmp_path / "checks.py").write_text(THIEF, encoding="utf-8")
    with Student(tmp_path) as student:
        student.call("checks:note", "here I am")
        module = student.module("vae", make.mended("bug1"))
        with pytest.raises(StudentError):
            student.call("checks:check_bug1", module)
        assert "heard: True" in student.printed()


def test_nothing_with_points_is_tested_after_a_right_module_was_sent(assignment):
    order = [(test.task[0], test.hidden) for test in assignment.tests]
    first = order.index(("4", True))
    assert set(order[first:]) == {("4", True)}
    assert all(test.points == 0 for test in assignment.visible)


COUNTER = '''
calls = []

def guess(vae):
    calls.append(vae)
    assert len(calls) % 2 == 0

check_bug1 = check_bug2 = check_bug3 = check_bug4 = check_bug5 = check_bug6 = check_bug7 = check_bug8 = guess
'''


def test_the_order_of_the_modules_cannot_be_guessed(assignment, monkeypatch):
    tests = [test for test in assignment.hidden if test.task in ("4.1", "4.5")]
    module = module_of("checks", COUNTER)
    monkeypatch.setitem(sys.modules, "checks", module)
    passed = 0
    for seed in range(10):
        for test in tests:
            module.calls.clear()
            found = test.run(Solution(), seed)
            passed += all((says == "it raises AssertionError") == ("handed out" in what or "mistake" in what)
                          for what, (says, _) in found.items())
    assert passed <= 3                                 # of twenty; one in twenty by luck


def test_there_are_enough_mutants(assignment):
    found = mutants(assignment)
    assert len(found) >= 14
    assert {m.task[0] for m in found} == {"1", "2", "4"}
    assert {f"2.{n}" for n in make.NUMBERS} <= {m.task for m in found}


@pytest.mark.slow
def test_verify(assignment):
    assert verify(assignment, 0)


if __name__ == "__main__":
    print("\n".join(digits_table()))
