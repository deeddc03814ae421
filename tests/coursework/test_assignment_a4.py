"""Assignment 4: eight VAEs with a mistake each, drawn by the secret seed; they train, and a check catches each."""

from __future__ import annotations

import importlib.util
import shutil
import sys

import numpy as np
import pytest
from judging import judged

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS, main
from minivae.coursework.grade import check, grade
from minivae.coursework.report import gradescope
from minivae.coursework.student import Student, StudentError
from minivae.coursework.testing import Solution, compare
from minivae.coursework.things import module_of
from minivae.coursework.verify import mutants, solution, verify
from minivae.coursework.wire import pack

FOLDER, SEED = ASSIGNMENTS / "a4", 7


def imported(file: str):
    spec = importlib.util.spec_from_file_location(f"a4_{file}", FOLDER / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make, checks, train = imported("make"), imported("checks"), imported("train")
sys.modules["checks"] = checks         # right_checks imports it, as it stands under it in a right hand-in
right_checks = imported("right_checks")
NAMES = [f"bug{n}" for n in make.NUMBERS]
MISTAKES = sorted(make.POOL)


@pytest.fixture(scope="module")
def read_once():
    """With its tests the modules of the solution become importable here: these."""
    found = Assignment.read(FOLDER, SEED)
    assert found.tests
    names = [name.removesuffix(".py").replace("/", ".") for name in make.starter(SEED)]
    return found, {name: sys.modules[name] for name in names}


@pytest.fixture
def assignment(read_once, monkeypatch):
    """(another test may have read it with another seed)"""
    for name, module in read_once[1].items():
        monkeypatch.setitem(sys.modules, name, module)
    return read_once[0]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """(starter, right submission)"""
    folder, found = tmp_path_factory.mktemp("a4"), Assignment.read(FOLDER, SEED)
    starter(found, folder / "starter")
    solution(found, folder / "right")
    return folder / "starter", folder / "right"


def bug_of(mistake: str):
    """That mistake as if it had been drawn, in a plain module."""
    kind = "tanh" if make.POOL[mistake]["of"] == "activate" else "softplus"
    return make.POOL[mistake] | {"activation": kind, "beta": "2.0", "seed": 1}


def texts(mistake: str, wrong: bool, count: int = 4):
    """Modules with the mistake, or right ones, in other forms."""
    bug = bug_of(mistake)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        forms = {of: str(rng.choice(make.fits(bug))) if wrong and of == bug["of"] else make._form(of, bug, rng)
                 for of in make.FORMS}
        yield make.assemble(bug, forms, rng, wrong=wrong)[0]


def catches(of: str, text: str) -> bool:
    try:
        assert right_checks.ASKED[of](module_of("vae", text)) is None
    except AssertionError:
        return True
    return False


# ── the pool ──────────────────────────────────────────────────────────────────────────────────


def test_the_pool_is_large_and_the_handout_has_its_words():
    assert len(MISTAKES) >= 20
    assert len({bug["of"] for bug in make.POOL.values()}) >= 12
    words = {word for bug in make.POOL.values() for word in bug["reasons"]}
    handout = (FOLDER / "handout.md").read_text(encoding="utf-8")
    assert {word for word in words if f"| `{word}` |" not in handout} == set()
    assert words == set(imported("visible").WORDS)
    assert all(len(bug["reasons"]) <= 2 for bug in make.POOL.values())


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_check_catches_the_mistake_and_passes_every_right_module(mistake):
    of = make.POOL[mistake]["of"]
    assert all(catches(of, text) for text in texts(mistake, wrong=True))
    assert not any(catches(of, text) for text in [make.BASE, *texts(mistake, wrong=False)])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_trains_and_nobody_would_notice(mistake):
    rng = np.random.default_rng(5)
    x = train.bars(300, rng)
    vae = module_of("vae", next(texts(mistake, wrong=True, count=1))).VAE(x.shape[1], 24, 4, rng, lr=3e-3)
    told = []
    for epoch in range(8):
        if epoch == 4:
            state = vae.state()
            vae.load(state)
        told.append(np.mean([vae.train_step(batch, rng)["elbo"] for batch in np.split(x[rng.permutation(300)], 10)]))
    assert np.isfinite(told).all()
    assert np.isfinite(vae.nll(x[:20], rng, 5)).all()
    assert told[-1] > told[0]


# ── what the seed draws ───────────────────────────────────────────────────────────────────────


def test_a_seed_draws_eight_mistakes_in_eight_functions_and_another_draws_others():
    seen = set()
    for seed in range(40):
        drawn = make.drawn(seed)
        assert list(drawn) == NAMES
        assert len({bug["of"] for bug in drawn.values()}) == 8
        assert len({(bug["activation"], *(bug[option] for option in make.OPTIONS)) for bug in drawn.values()}) == 8
        seen.add(tuple(bug["name"] for bug in drawn.values()))
    assert len(seen) == 40
    assert {name for names in seen for name in names} == set(MISTAKES)


@pytest.mark.parametrize("seed", range(6))
def test_each_module_has_one_mistake_and_its_lines(seed):
    for name in NAMES:
        text, lines = make.handed_out(seed, name)
        rows, right = text.splitlines(), make.mended(seed, name).splitlines()
        assert 1 <= len(lines) <= 3
        assert all(rows[line - 1] not in right for line in lines)
        assert make.MARK.strip() not in text
        assert len(set(rows) - set(right)) <= 8


def test_the_form_of_a_mistake_is_no_other_modules_form():
    """Or a comparison of the eight would show the mistake alone.  (But where a function has no third form.)"""
    for seed in range(20):
        for bug in make.drawn(seed).values():
            if bug["of"] in make.FORMS:
                used = [other["forms"][bug["of"]] for other in make.drawn(seed).values()]
                assert used.count(bug["forms"][bug["of"]]) == 1, (seed, bug["name"], used)


# ── grading ───────────────────────────────────────────────────────────────────────────────────


def together(trees, folder):
    for tree in trees:
        shutil.copytree(tree, folder, dirs_exist_ok=True)
    return folder


def test_full_marks(assignment, trees, tmp_path):
    results = judged(assignment, together(trees, tmp_path / "work"), seed=SEED)
    assert [r.says for r in results if not r.passed and r.most] == []
    assert sum(r.points for r in results) == assignment.points == 48.0
    assert [sum(r.most for r in results if r.task.endswith(f".{n}")) for n in make.NUMBERS] == [6.0] * 8


def test_who_runs_right_checks_and_names_no_bug_gets_nothing(assignment, trees, tmp_path):
    """(the library's own tests gave 12 to 14 of 48)"""
    work = together(trees, tmp_path / "work")
    for name in NAMES:
        shutil.copy(trees[0] / f"{name}.py", work / f"{name}.py")
    shutil.copy(trees[0] / "answers.py", work / "answers.py")
    results = judged(assignment, work, seed=SEED)
    assert sum(r.points for r in results) == 0
    says = [r.says for r in results if r.task.startswith("4.")]
    assert len(says) == 8
    assert all("a check counts if the line or the reason is right" in text for text in says)


def test_a_reason_is_enough_for_a_check_to_count(assignment, trees, tmp_path):
    work = together(trees, tmp_path / "work")
    answers = (work / "answers.py").read_text(encoding="utf-8")
    (work / "answers.py").write_text(answers + "LINES = dict.fromkeys(LINES, 1)\n", encoding="utf-8")
    points = {r.task: r.points for r in judged(assignment, work, seed=SEED, tasks=("1.3", "4.3")) if r.most}
    assert points["4.3"] == 2
    found = [r.points for r in judged(assignment, work, seed=SEED, tasks=("1.3",)) if r.most]
    assert sorted(found) == [0, 1]


def test_the_same_seed_gives_the_same_cases_and_another_gives_others(assignment):
    for test in assignment.hidden:
        if test.task.startswith("2.") or test.name in ("good_check_3", "good_check_6"):
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
    for seed in range(3):
        for wrong in (False, True):
            text = make.another(SEED, name, np.random.default_rng(seed), wrong=wrong)
            monkeypatch.setitem(sys.modules, name, module_of(name, text))
            with np.errstate(all="ignore"):
                assert (compare(test.run(Solution(), 3), want) is not None) == wrong


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_of_the_pool_passes_for_mended(mistake, assignment, monkeypatch):
    test = next(test for test in assignment.hidden if test.task == "2.1")
    bug = bug_of(mistake)
    forms = {bug["of"]: make.fits(bug)[0], "activate": make._form("activate", bug, np.random.default_rng(1))}
    if bug["of"] == "activate":
        forms = {"activate": make.fits(bug)[0]}
    right, wrong = (make.assemble(bug, forms, np.random.default_rng(1), wrong=wrong)[0] for wrong in (False, True))
    monkeypatch.setitem(sys.modules, "bug1", module_of("bug1", right))
    want = test.run(Solution(), 3, assignment.hints)
    monkeypatch.setitem(sys.modules, "bug1", module_of("bug1", wrong))
    with np.errstate(all="ignore"):
        assert compare(test.run(Solution(), 3), want) is not None


def test_the_starter_holds_no_answer(trees):
    tree, _ = trees
    files = {path.relative_to(tree).as_posix(): path.read_text(encoding="utf-8") for path in tree.rglob("*")
             if path.suffix in (".py", ".md", ".toml")}
    assert not {"vae.py", "bugs.toml", "make.py", "hidden.py", "hints.py", "NOTES.md", "mutants.toml",
                "right_checks.py"} & set(files)
    for name in NAMES:
        bug = make.drawn(SEED)[name]
        assert files[f"{name}.py"] == files[f"originals/original{name[3:]}.py"] == make.handed_out(SEED, name)[0]
        assert f'"{name}": 0,' in files["answers.py"]
        assert f'"{name}": "",' in files["answers.py"]
        assert bug["what"] not in "".join(files.values())
        assert bug["name"] not in "".join(files.values())
        assert f'raise NotImplementedError("Task 3.{name[3:]}: a check that catches {name}")' in files["checks.py"]
    assert "assert_allclose" not in files["checks.py"]


def test_check_ends_with_what_is_to_be_handed_in(trees, capsys):
    assert main(["course", "check", "1.1", "--folder", str(trees[0])]) == 1
    said = capsys.readouterr()
    assert "hand in: " in said.out
    assert "bug8.py" in said.out
    assert said.err == ""


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
        (tmp_path / f"{name}.py").write_text(RECEIVER + make.mended(SEED, name), encoding="utf-8")
    report = grade(tmp_path, assignment, tree, seed=SEED, tasks=[f"{part}.{n}" for part in "124" for n in numbers])
    by_task = {part: sum(r.points for r in report.results if r.task.startswith(part)) for part in ("1.", "2.", "4.")}
    n = len(numbers)
    assert by_task == {"1.": 2.0 * n, "2.": 2.0 * n, "4.": 0.0}, "the mended modules were tested before there was loot"
    for result in report.results:
        if result.task.startswith("4."):
            assert result.printed.startswith("text found: False heard: False byte code: True")
            assert result.says.endswith("it is 'it raises AssertionError', should be 'it returns None'"), result.says
    assert "byte code" not in gradescope(report).partition('"4.1"')[2], "and what it says is shown to no student"


def test_the_thief_hears_what_is_sent_after_it_came(tmp_path):
    """Which is why the hidden tests send all modules first."""
    (tmp_path / "checks.py").write_text(THIEF, encoding="utf-8")
    with Student(tmp_path) as student:
        student.call("checks:note", "here I am")
        module = student.module("vae", make.mended(SEED, "bug1"))
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
    for seed in range(6):
        for test in tests:
            module.calls.clear()
            found = test.run(Solution(), seed)
            passed += all((says == "it raises AssertionError") == ("handed out" in what or "mistake" in what)
                          for what, (says, _) in found.items() if "check_" in what)
    assert passed <= 3                                 # of twelve; one in twenty by luck


def test_there_are_enough_mutants(assignment):
    found = mutants(assignment)
    assert {m.task for m in found} == {f"{part}.{n}" for part in (1, 2, 4) for n in make.NUMBERS}


@pytest.mark.slow
def test_verify(assignment):
    assert verify(assignment, SEED)
