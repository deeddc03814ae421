"""Assignment 6, the same step three times as quick: numbers are the textbook's, what they cost is counted."""

import importlib.util
import re
import runpy

import numpy as np
import pytest
from equivalents import with_function
from judging import changed, judged, starter_and_right

from minivae.coursework.assignment import Assignment
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.grade import check, grade
from minivae.coursework.student import Student
from minivae.coursework.verify import mutants, verify
from minivae.variants import VAEConfig

FOLDER = ASSIGNMENTS / "a6"
READ = Assignment.read(FOLDER)
MUTANTS = mutants(READ)


def imported(file):
    spec = importlib.util.spec_from_file_location(f"a6_{file}", FOLDER / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


textbook, quick = imported("textbook"), imported("quick")
SEEN = runpy.run_path(str(FOLDER / "visible.py"))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return starter_and_right(READ, tmp_path_factory.mktemp("a6"))


@pytest.mark.parametrize("seed", [1, 2, 12345678901234567890])
def test_a_right_solution_gets_full_marks_at_every_seed(seed, trees, tmp_path):
    results = judged(READ, trees / "right", seed=seed)
    assert [result.says for result in results if not result.passed] == []
    assert sum(result.points for result in results) == READ.points == 47


def test_the_starter_is_right_and_gets_nothing(trees, tmp_path):
    """Every number of it is the textbook's: what it costs is all that is said."""
    results = judged(READ, trees / "starter", seed=3)
    assert sum(result.points for result in results) == 0
    assert all("passes: " in result.says and "line " in result.says for result in results)
    assert (trees / "starter" / "step.py").read_bytes() == (trees / "starter" / "textbook.py").read_bytes()
    assert not (trees / "starter" / "quick.py").exists()


@pytest.mark.parametrize("i", range(len(MUTANTS)))
def test_planted_mistakes_are_named(i, trees, tmp_path):
    mutant = MUTANTS[i]
    work = changed(trees / "right", tmp_path / "work", [(mutant.file, mutant.apply)])
    results = judged(READ, work, tasks=[mutant.task])
    assert sum(result.points for result in results) == mutant.points
    assert re.search(mutant.says, " | ".join(result.says for result in results))


def test_a_mistake_is_planted_in_every_task():
    assert {mutant.task for mutant in MUTANTS} == {task.id for task in READ.tasks}
    assert all(mutant.says for mutant in MUTANTS)


DIFFERENT = {
    "the gradient of the loss made with its value": [with_function("bernoulli_nll", """
def bernoulli_nll(logits, x, e=None, spare=None):
    e = np.exp(np.negative(np.abs(logits, out=e), out=e), out=e)
    spare = np.log1p(e, out=spare)
    nll = np.add.reduce(spare, axis=1) - np.einsum("bx,bx->b", x, logits)
    nll += np.maximum(logits, 0, out=spare).sum(axis=1)
    np.add(e, 1, out=spare)
    np.copyto(e, 1, where=logits >= 0)
    e /= spare
    e -= x
    return nll, lambda dnll, out=None: np.multiply(e, dnll[:, None], out=out)
""")],
    "with other roads to the same numbers": [with_function("Adam.step", """
def step(self, w, g):
    self.steps += 1
    c1, c2 = ((1 - beta) / (1 - beta**self.steps) for beta in (self.beta1, self.beta2))
    np.add(np.multiply(self.m, self.beta1, out=self.m), g, out=self.m)
    np.square(g, out=self.spare)
    self.s *= self.beta2
    self.s += self.spare
    np.sqrt(self.s, self.spare)
    self.spare *= math.sqrt(c2) / (self.lr * c1)
    self.spare += self.small / (self.lr * c1)
    w -= np.divide(self.m, self.spare, out=self.spare)
"""), lambda text: text.replace("import numpy as np\n", "import math\n\nimport numpy as np\n", 1)],
    "with a class of its own for memory": [with_function("VAE.room", """
def room(self, name, *shape):
    return self.rooms.setdefault((name, shape), np.empty(shape, dtype="float32")
                                 if (name, shape) not in self.rooms else None)
""")],
}


@pytest.mark.parametrize("says", DIFFERENT)
def test_right_answers_written_differently_get_full_marks(says, trees, tmp_path):
    changes = [("step.py", change) for change in DIFFERENT[says]]
    results = judged(READ, changed(trees / "right", tmp_path / "work", changes), seed=4)
    assert {result.name: result.says for result in results if not result.passed} == {}


def test_the_solution_computes_what_the_textbook_does():
    """With NumPy's own NumPy, in float32: to 10⁻⁶, for several batches and sizes."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        B, X, H, Z = (int(n) for n in rng.permutation([7, 60, 25, 4]))
        models = [module.VAE(SEEN["weights"](np.random.default_rng(seed), X, H, Z)) for module in (textbook, quick)]
        for batch in (B, B + 2):
            both = [model.gradient(*SEEN["batch"](np.random.default_rng(seed), batch, X, Z)) for model in models]
            np.testing.assert_allclose(*both, rtol=1e-5)
            for name, g in models[0].grads.items():
                assert np.linalg.norm(models[1].grads[name] - g) <= 1e-6 * np.linalg.norm(g), name


def test_the_textbook_is_the_librarys_model():
    """Its value and gradient are those of minivae.VAE with the same weights."""
    rng = np.random.default_rng(0)
    weights = SEEN["weights"](rng, 12, 7, 3)
    model = textbook.VAE({name: w.astype(np.float64) for name, w in weights.items()})
    library = VAEConfig(12, (7,), 3).build(dtype=np.float64)
    names = {"trunk": "encoder.trunk.0", "mean": "encoder.mean", "logvar": "encoder.logvar", "hidden": "decoder.0",
             "pixels": "decoder.2"}
    parameters = {f"{ours}_{key}": library.parameters()[f"{theirs}.{key}"]
                  for ours, theirs in names.items() for key in "Wb"}
    for name, parameter in parameters.items():
        parameter.value[...] = model.weights[name]
    x, eps = (a.astype(np.float64) for a in SEEN["batch"](rng, 5, 12, 3))
    (nll, kl), pull = library.elbo_terms(x=x, eps=eps[None])
    library.arena.zero_grad()
    pull(np.full_like(nll, 0.2), np.full_like(kl, 0.2))
    np.testing.assert_allclose(model.gradient(x, eps), (nll.mean(), kl.mean()), rtol=1e-12)
    for name, parameter in parameters.items():
        np.testing.assert_allclose(model.grads[name], parameter.grad, rtol=1e-9, atol=1e-14)


def test_a_step_moves_half_the_bytes_and_makes_nothing_new(trees):
    """As the handout says: of the textbook's, at its sizes."""
    test = next(test for test in READ.tests if test.name == "step_in_half_the_bytes")
    with Student(trees / "right") as student:
        told = test.run(student, 0)["passes"][0]
    want = READ.wanted(test, 0)["passes"][0]
    assert 0.45 < told["moved"] / want["moved"] < 0.5
    assert told["new"] / want["new"] < 0.02


def test_check_says_in_which_lines_the_bytes_are(trees):
    report = check(trees / "starter", ["2", "4"])
    assert [result.points for result in report.results] == [0.0] * 4
    assert "line 66: softplus = np.maximum(logits, 0)" in report.results[0].says
    assert "at most" in report.results[2].says


def test_the_handout_says_what_the_tests_give():
    text = (FOLDER / "handout.md").read_text(encoding="utf-8")
    points = {task.id: sum(test.points for test in READ.tests if test.task == task.id) for task in READ.tasks}
    assert {task: float(n) for task, n in re.findall(r"\*\*(\d\.\d)\*\* \((\d+) points\)", text)} == points
    parts = {n: float(p) for n, p in re.findall(r"## Part (\d) · .* \((\d+) points\)", text)}
    assert parts == {n: sum(p for task, p in points.items() if task[0] == n) for n in parts}
    assert sum(parts.values()) == READ.points
    assert f"{READ.points:g} points, and {sum(w.points for w in READ.written):g} for what you prove on paper" in text
    assert f"**P1** ({READ.written[0].points:g} points)" in text
    asked = [READ.wanted(test, 0)["passes"][1]["shares"] for test in READ.tests]
    shares = {f"{100 * found[what]:.3g}%" for found in asked for what in ("moved", "new", "products") if what in found}
    assert len(shares) == 7
    assert {share for share in shares if share not in text} == set()


def test_a_process_for_each_test_grades_it_the_same(trees):
    report = grade(trees / "right", READ, trees / "starter", seed=5, tasks=["2.2", "5.1"])
    assert (report.points, report.most) == (11.0, 11.0)


@pytest.mark.slow
def test_verify(capsys):
    assert verify(READ, 3)
    assert "BAD" not in capsys.readouterr().out
