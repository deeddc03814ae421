"""Assignment 5, a paper from its equations: right answers however they are written, wrong ones named."""

import ast
import re
import subprocess
import sys

import numpy as np
import pytest
from equivalents import with_function
from judging import changed, judged, starter_and_right

from minivae.coursework.assignment import Assignment
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.cut import find, statements
from minivae.coursework.verify import mutants, verify
from minivae.variants import M2Config

FOLDER = ASSIGNMENTS / "a5"
READ = Assignment.read(FOLDER)
MUTANTS = mutants(READ)
MODEL, CLASSES = "minivae/variants/semi_supervised.py", "minivae/distributions/categorical.py"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    return starter_and_right(READ, tmp_path_factory.mktemp("a5"))


@pytest.mark.parametrize("seed", [1, 2, 12345678901234567890])
def test_a_right_solution_gets_full_marks_at_every_seed(seed, trees, tmp_path):
    results = judged(READ, trees / "right", seed=seed)
    assert [result.says for result in results if not result.passed] == []
    assert sum(result.points for result in results) == READ.points == 47


def test_the_starter_gets_nothing_and_holds_no_answer(trees, tmp_path):
    results = judged(READ, trees / "starter")
    assert sum(result.points for result in results) == 0
    assert all("not implemented yet: Task" in result.says for result in results)
    there = {statement for path in (trees / "starter").rglob("*.py")
             for statement in statements(ast.parse(path.read_text(encoding="utf-8")))}
    for target in {target for task in READ.tasks for target in task.write}:
        file, _, name = target.partition(":")
        right = (trees / "right" / file).read_text(encoding="utf-8")
        assert not set(statements(find(ast.parse(right), name))) & there
    handed_out = "".join(path.read_text(encoding="utf-8") for path in (trees / "starter").rglob("*.py"))
    assert "∂U/∂logit" not in handed_out


@pytest.mark.parametrize("i", range(len(MUTANTS)))
def test_planted_mistakes_are_named(i, trees, tmp_path):
    mutant = MUTANTS[i]
    work = changed(trees / "right", tmp_path / "work", [(mutant.file, mutant.apply)])
    results = judged(READ, work, tasks=[mutant.task])
    assert sum(result.points for result in results) == mutant.points
    assert mutant.says
    assert re.search(mutant.says, " | ".join(result.says for result in results))


def test_a_mistake_is_planted_in_every_task():
    assert {mutant.task for mutant in MUTANTS} == {task.id for task in READ.tasks}


DIFFERENT = {
    "with the gradient of U in one line": {f"{MODEL}:M2.unlabelled_terms": """
def unlabelled_terms(self, *, x, eps):
    C, B = self.classes, len(x)
    a, pull_classifier = self.classifier(x)
    log_q = log_softmax(a)[0]
    q, y = np.exp(log_q), np.repeat(np.eye(C, dtype=x.dtype), B, axis=0)
    (nll, kl), pull_each = self.conditional_terms(x=x, y=y, eps=eps.reshape(-1, eps.shape[-1]))
    nll, kl = nll.reshape(C, B).T, kl.reshape(C, B).T + log_q - self.log_prior(x)
    both = [(q * term).sum(axis=1) for term in (nll, kl)]

    def pullback(dnll, dkl):
        pull_classifier(sum(q * (term - mean[:, None]) * d[:, None]
                            for term, mean, d in zip((nll, kl), both, (dnll, dkl))))
        pull_each(*(np.concatenate([q[:, c] * d for c in range(C)]) for d in (dnll, dkl)))
    return tuple(both), pullback
"""},
    "class by class, with the labelled bound": {f"{MODEL}:M2.unlabelled_terms": """
def unlabelled_terms(self, *, x, eps):
    logits, pull_classifier = self.classifier(x)
    each = [self.labelled_terms(x=x, labels=np.full(len(x), c), eps=eps[c]) for c in range(self.classes)]
    nll, kl = (np.stack([terms[i] for terms, _ in each], axis=1) for i in (0, 1))
    log_q = log_softmax(logits)[0]
    q = np.exp(log_q)
    kl = kl + log_q
    means = (q * nll).sum(axis=1), (q * kl).sum(axis=1)

    def pullback(dnll, dkl):
        dlogits = q * (nll - means[0][:, None]) * dnll[:, None] + q * (kl - means[1][:, None]) * dkl[:, None]
        pull_classifier(dlogits, need_dx=False)
        for c, (_, pull) in enumerate(each):
            pull(q[:, c] * dnll, q[:, c] * dkl)
    return means, pullback
""", f"{MODEL}:M2.labelled_terms": """
def labelled_terms(self, *, x, labels, eps):
    y = (labels[:, None] == np.arange(self.classes)).astype(x.dtype)
    (nll, kl), pullback = self.conditional_terms(x=x, y=y, eps=eps)
    return (nll, kl - self.log_p[labels]), pullback
"""},
    "with the Jacobian of the softmax": {f"{CLASSES}:expectation.pullback": """
def pullback(dmean):
    jacobian = np.einsum("bi,ij->bij", q, np.eye(q.shape[1])) - q[:, :, None] * q[:, None, :]
    return np.einsum("bij,bj->bi", jacobian, values) * dmean[:, None], q * dmean[:, None]
""", f"{CLASSES}:categorical_kl.pullback": """
def pullback(dkl):
    g = ratio + 1.0
    return (q * (g - (q * g).sum(axis=1, keepdims=True))) * dkl[:, None]
"""},
    "each use pulled by itself": {f"{MODEL}:M2.conditional_terms.pullback": """
def pullback(dnll, dkl):
    dz = pull_code(pull_decoder(pull_nll(dnll)))[0]
    pull_encoder(*pull_z(dz))
    pull_encoder(*pull_kl(dkl))
""", f"{MODEL}:LabelEncoder.__call__.pullback": """
def pullback(dmean, dlogvar, need_dx=True, need_dp=True):
    dsum = pull_trunk(pull_mean(dmean) + pull_logvar(dlogvar))
    self.V.grad += y.T @ dsum
    return pull_image(dsum.reshape(-1, *once.shape).sum(axis=0))
""", f"{MODEL}:M2._step": """
def _step(self, part, eps, weight):
    every = weight * np.ones(len(part.x))
    surprise, pull_surprise = self.class_nll(x=part.labelled, labels=part.labels)
    (_, _), pull_labelled = self.labelled_terms(x=part.labelled, labels=part.labels, eps=eps[-1])
    (nll, kl), pull_others = self.unlabelled_terms(x=part.x, eps=eps[:-1])
    pull_surprise(self.label_weight * every)
    pull_labelled(self.labelled_share * every, self.labelled_share * every)
    pull_others(every - self.labelled_share * every, every - self.labelled_share * every)
    return every @ nll, every @ kl, every @ surprise
"""},
}


@pytest.mark.parametrize("says", DIFFERENT)
def test_right_answers_written_differently_get_full_marks(says, trees, tmp_path):
    changes = [(place.partition(":")[0], with_function(place.partition(":")[2], text))
               for place, text in DIFFERENT[says].items()]
    results = judged(READ, changed(trees / "right", tmp_path / "work", changes))
    assert {result.name: result.says for result in results if not result.passed} == {}


def test_the_bound_without_a_label_is_a_bound():
    """The maths of the value: U ≤ log Σ_y exp L(x, y), with equality for q ∝ exp L; and both lie below log p(x)."""
    model = M2Config(3, 3, (4,), 1, "tanh", class_prior=(0.5, 0.3, 0.2)).build(dtype=np.float64)
    rng = np.random.default_rng(0)
    x = 1.0 * (rng.random((4, 3)) < 0.5)
    grid = np.linspace(-8.0, 8.0, 2001)[:, None]
    log_p = np.zeros((3, 2001, 4))
    for c in range(3):
        logits = model.decoder(np.concatenate([grid, np.broadcast_to(np.eye(3)[c], (2001, 3))], axis=1))[0]
        log_p[c] = -(np.logaddexp(0.0, logits).sum(axis=1)[:, None] - logits @ x.T)
    weights = np.exp(-0.5 * grid[:, 0] ** 2) / np.sqrt(2.0 * np.pi) * (grid[1] - grid[0])
    evidence = np.log(np.einsum("c,g,cgb->b", [0.5, 0.3, 0.2], weights, np.exp(log_p)))
    drawn = [sum(model.unlabelled_terms(x=x, eps=rng.standard_normal((3, 4, 1)))[0]) for _ in range(2000)]
    assert (-np.mean(drawn, axis=0) < evidence).all()
    each = [-sum(model.labelled_terms(x=x, labels=np.full(4, c), eps=np.zeros((4, 1)))[0]) for c in range(3)]
    assert (-sum(model.unlabelled_terms(x=x, eps=np.zeros((3, 4, 1)))[0]) <= np.logaddexp.reduce(each)).all()


def test_the_handout_says_what_the_tests_give():
    text = (FOLDER / "handout.md").read_text(encoding="utf-8")
    points = {task.id: sum(test.points for test in READ.tests if test.task == task.id) for task in READ.tasks}
    assert {task: float(n) for task, n in re.findall(r"\*\*(\d\.\d)\*\* \((\d+) points\)", text)} == points
    parts = {n: float(p) for n, p in re.findall(r"## Part (\d) · .* \((\d+) points\)", text)}
    assert parts == {n: sum(p for task, p in points.items() if task[0] == n) for n in parts}
    assert sum(parts.values()) == READ.points
    assert f"There are {READ.points:g} points, and {sum(w.points for w in READ.written):g} for what you prove" in text
    assert all(f"`{file}`" in text for file in READ.submitted)


def test_the_program_of_the_handout_runs_and_its_images_without_labels_help(trees, tmp_path):
    program, = re.findall(r"```python\n(.*?)```", (FOLDER / "handout.md").read_text(encoding="utf-8"), re.DOTALL)
    errors = []
    for text in (program, program.replace("labelled_share=0.05", "labelled_share=1.0")):
        done = subprocess.run([sys.executable, "-c", text], cwd=trees / "right", timeout=600, capture_output=True,
                              check=True, encoding="utf-8", env={"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"})
        errors.append(float(done.stdout.rpartition(" ")[2]))
    assert errors[0] < 0.06 < 0.12 < errors[1]


@pytest.mark.slow
def test_verify(capsys):
    assert verify(READ, 3)
    assert "BAD" not in capsys.readouterr().out
