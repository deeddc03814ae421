"""Assignment 3: right answers get full marks however they are written, and at every seed."""

import ast
import shutil
import textwrap

import pytest

from minivae.coursework.assignment import Assignment
from minivae.coursework.build import starter
from minivae.coursework.cli import ASSIGNMENTS
from minivae.coursework.cut import find
from minivae.coursework.grade import run
from minivae.coursework.looks import looks_of
from minivae.coursework.student import Student
from minivae.coursework.verify import mutants, solution, verify

READ = Assignment.read(ASSIGNMENTS / "a3")
NLL, GAUSSIAN = "minivae/distributions/nll.py:", "minivae/distributions/gaussian.py:"
FULL, OBJECTIVES = "minivae/distributions/full_gaussian.py:", "minivae/parts/objectives.py:"

DIFFERENT = {
    "densities by σ, and by another's pullback": {f"{NLL}gaussian_nll.pullback": """
def pullback(dnll):
    std = np.exp(0.5 * logvar)
    u = (x - mean) / std
    return -u / std * dnll[:, None], (1.0 - u ** 2) / 2.0 * dnll[:, None]
""", f"{NLL}gaussian_nll_shared.pullback": """
def pullback(dnll):
    dmean, dlogvar = gaussian_nll(mean, np.full(mean.shape, float(logvar)), x=x)[1](dnll)
    return dmean, dlogvar.sum()
""", f"{GAUSSIAN}gaussian_log_prob.pullback": """
def pullback(dlog):
    u = (z - mean) / np.exp(0.5 * logvar)
    dmean = np.einsum("bz,b->bz", u * np.exp(-0.5 * logvar), dlog)
    return -dmean, dmean, np.einsum("bz,b->bz", 0.5 * u ** 2 - 0.5, dlog)
"""},
    "the full Gaussian by einsum, by loops and by the inverse": {f"{FULL}reparameterize_full": """
def reparameterize_full(mean, L, *, eps):
    z = np.einsum("bij,bj->bi", L, eps) + mean
    return z, lambda dz: (dz.copy(), np.einsum("bi,bj->bij", dz, eps))
""", f"{FULL}logdet.pullback": """
def pullback(dlog):
    dL = np.zeros(L.shape)
    for b in range(len(L)):
        for i in range(L.shape[1]):
            dL[b, i, i] = dlog[b] / L[b, i, i]
    return dL
""", f"{FULL}full_gaussian_kl": """
def full_gaussian_kl(mean, L):
    logs = np.log(np.einsum("bii->bi", L))
    kl = 0.5 * (np.linalg.norm(mean, axis=1) ** 2 + np.einsum("bij,bij->b", L, L)) - (logs + 0.5).sum(axis=1)

    def pullback(dkl):
        dL = L.copy()
        for i in range(L.shape[1]):
            dL[:, i, i] -= 1.0 / L[:, i, i]
        return (mean.T * dkl).T, (dL.T * dkl).T.copy()
    return kl, pullback
""", f"{FULL}full_gaussian_log_prob.pullback": """
def pullback(dlog):
    inverse = np.linalg.inv(L)
    u = np.einsum("bij,bj->bi", inverse, z - mean)
    w = np.einsum("bji,bj->bi", inverse, u)
    dL = np.einsum("bi,bj->bij", w, u) - np.einsum("bii,ij->bij", inverse, np.eye(L.shape[1]))
    return -w * dlog[:, None], w * dlog[:, None], np.tril(dL) * dlog[:, None, None]
"""},
    "the bounds by logaddexp, draw by draw": {"minivae/ops/softmax.py:log_mean_exp": """
def log_mean_exp(x):
    y = np.logaddexp.reduce(x, axis=-1) - np.log(x.shape[-1])
    return y, lambda dy: dy[..., None] * np.exp(x - y[..., None]) / x.shape[-1]
""", f"{OBJECTIVES}IWAE.__call__": """
def __call__(self, model, *, x, eps, weight, step):
    K, B = eps.shape[:2]
    (nll, kl), pullback = model.monte_carlo_terms(x=x, eps=eps)
    log_w = -(nll + kl).reshape(K, B)
    most = log_w.max(axis=0)
    w = np.exp(log_w - most)
    share = w / w.sum(axis=0)
    pullback(weight * share.ravel(), np.zeros(K * B))
    pullback(np.zeros(K * B), weight * share.ravel())
    bound = most + np.log(w.mean(axis=0))
    elbo, nll, kl = (weight * t.reshape(K, B).mean(axis=0).sum() for t in (-(nll + kl), nll, kl))
    return elbo, nll, kl, weight * bound.sum()
"""},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The solution over the starter."""
    folder = tmp_path_factory.mktemp("a3") / "right"
    starter(READ, folder)
    solution(READ, folder)
    return folder


def judged(work, *, seed=0):
    looks = looks_of(READ.tasks, lambda file: (work / file).read_text(encoding="utf-8"))
    with Student(work) as student:
        return {result.name: result.says for result in (
            run(test, student, READ.wanted(test, seed), seed, looks) for test in READ.tests)
            if not result.passed}


@pytest.mark.parametrize("seed", [1, 2, 12345678901234567890])
def test_a_right_solution_gets_full_marks_at_every_seed(seed, tree):
    assert judged(tree, seed=seed) == {}


@pytest.mark.parametrize("says", DIFFERENT)
def test_right_answers_written_differently_get_full_marks(says, tree, tmp_path):
    work = shutil.copytree(tree, tmp_path / "work")
    for place, text in DIFFERENT[says].items():
        file, _, name = place.partition(":")
        source = (work / file).read_text(encoding="utf-8")
        lines, node = source.splitlines(keepends=True), find(ast.parse(source), name)
        new = textwrap.indent(text.strip("\n") + "\n", " " * node.col_offset)
        (work / file).write_text("".join([*lines[:node.lineno - 1], new, *lines[node.end_lineno:]]), encoding="utf-8")
    assert judged(work) == {}


def test_a_mistake_is_planted_in_every_task():
    assert {mutant.task for mutant in mutants(READ)} == {task.id for task in READ.tasks}
    assert all(mutant.says for mutant in mutants(READ))


@pytest.mark.slow
def test_verify(capsys):
    """(each mistake is named)"""
    assert verify(READ, 3)
    assert "BAD" not in capsys.readouterr().out
