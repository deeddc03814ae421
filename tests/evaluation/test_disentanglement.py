"""Scores of disentanglement, on codes whose score is known by hand."""

import numpy as np
import pytest
from scipy.optimize import minimize

from minivae.data import sprites
from minivae.evaluation import (
    LinearClassifier,
    gaps,
    higgins_score,
    latent_variances,
    mig,
    mutual_information,
    posterior_means,
    predictability,
    sap,
)
from minivae.variants import VAEConfig

SIZES = tuple(sprites.SIZES.values())
F = sprites.some(5000, np.random.default_rng(7))
NOISE = np.random.default_rng(8).standard_normal((5000, 6))
PERFECT = F.astype(float)


def mixed(a: int, b: int) -> np.ndarray:
    """The factors, two of them turned by 45°."""
    code = PERFECT.copy()
    code[:, a], code[:, b] = PERFECT[:, a] + PERFECT[:, b], PERFECT[:, a] - PERFECT[:, b]
    return code


CODES = {                              # Higgins, MIG, SAP
    "perfect": (PERFECT, (1.0, 1.0, (4 + 2 / 3) / 5)),               # of three shapes a third is guessed
    "permuted": (PERFECT[:, [3, 0, 4, 2, 1]], (1.0, 1.0, (4 + 2 / 3) / 5)),
    "turned over": (-7.0 * PERFECT, (1.0, 1.0, (4 + 2 / 3) / 5)),
    "with noise beside": (np.concatenate([NOISE, PERFECT], axis=1), (1.0, 1.0, (4 + 2 / 3) / 5)),
    "twice": (np.concatenate([PERFECT, PERFECT], axis=1), (1.0, 0.0, 0.0)),
    "scale and rotation mixed": (mixed(1, 2), (1.0, 3 / 5, (2 + 2 / 3) / 5)),
    "x and y mixed": (mixed(3, 4), (4 / 5, 3 / 5, (2 + 2 / 3) / 5)),
    "all but one": (PERFECT[:, :4], (1.0, 4 / 5, (3 + 2 / 3) / 5)),
    "all but two": (PERFECT[:, [1, 3, 4]], (4 / 5, 3 / 5, 3 / 5)),
    "constant": (np.ones((5000, 3)), (1 / 5, 0.0, 0.0)),
    "noise": (NOISE, (1 / 5, 0.0, 0.0)),
}


@pytest.mark.parametrize("name", CODES)
def test_a_code_that_is_known_by_hand(name):
    """Higgins et al.'s score takes a mixture for a code, unless both have the same spread: then it is a coin toss.  A
    factor that no latent knows is told by all others being different; two of them are a coin toss again.
    """
    code, expected = CODES[name]
    found = (higgins_score(code, F, sizes=SIZES, repeats=3), mig(code, F, sizes=SIZES, repeats=3),
             sap(code, F, sizes=SIZES, unordered=[0], repeats=3))
    for score, value in zip(found, expected):
        assert score.mean == pytest.approx(value, abs=0.03)
        assert 0.0 <= score.standard_error < 0.02


@pytest.mark.parametrize("score", [higgins_score, mig, sap])
def test_order_sign_and_scale_change_nothing(score):
    code = np.concatenate([mixed(1, 2)[:, :3], PERFECT[:, 3:] + 5.0 * NOISE[:, :2]], axis=1)
    one = score(code, F, sizes=SIZES, seed=3)
    for other in (code[:, [4, 2, 0, 1, 3]], code * [-1, 1, -1, 1, 1], 1e3 * code + 5.0):
        again = score(other, F, sizes=SIZES, seed=3)
        assert again.mean == pytest.approx(one.mean, abs=0.012 if score is mig else 1e-9)      # a bin's edge moves over
    assert score(code, F, sizes=SIZES, seed=3) == one
    assert score(code, F, sizes=SIZES, seed=4) != one


def test_the_order_of_the_images_changes_nothing():
    """Code and factors paired wrongly: MIG 0.001 where others got 0.5 of the same model."""
    code, order = PERFECT + NOISE[:, :5], np.random.default_rng(9).permutation(len(F))
    np.testing.assert_allclose(mutual_information(code[order], F[order]), mutual_information(code, F), rtol=1e-9)
    np.testing.assert_allclose(predictability(code[order], F[order], [0]), predictability(code, F, [0]), rtol=1e-9)
    one, other = higgins_score(code, F, sizes=SIZES), higgins_score(code[order], F[order], sizes=SIZES)
    assert one.mean == pytest.approx(other.mean, abs=0.02)
    assert mig(code[order], F, sizes=SIZES).mean < 0.01, "a wrong pairing is seen"


def test_information_is_its_definition():
    """A latent that knows a factor's half: log 2 of log 4; a noisy channel of 3 inputs; independent ones nothing."""
    f = np.repeat(np.arange(4), 300)[:, None]
    assert mutual_information(1.0 * f // 2, f)[0, 0] == pytest.approx(np.log(2.0))
    assert mutual_information(1.0 * f, f)[0, 0] == pytest.approx(np.log(4.0))
    f, code = np.repeat(np.arange(3), 30)[:, None], np.tile(np.repeat([0.0, 1.0, 2.0], 3), 10)[:, None]
    flipped = np.where(np.arange(90) % 3 == 0, (f[:, 0] + 1) % 3, f[:, 0])[:, None]
    assert mutual_information(1.0 * flipped, f)[0, 0] == pytest.approx(
        np.log(3.0) + 2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert mutual_information(code, np.sort(code.astype(int), axis=0)).shape == (1, 1)
    rows = np.stack(np.meshgrid(np.arange(4), np.arange(5)), axis=-1).reshape(-1, 2)
    assert mutual_information(rows[:, :1].astype(float), rows[:, 1:])[0, 0] == pytest.approx(0.0, abs=1e-12)


def test_mig_divides_by_the_entropy_of_the_factor():
    """Not by the logarithm of the number of bins, which would give a perfect code of 3 shapes log 3 / log 20."""
    two = F[:, :2]
    for bins in (20, 50):
        assert mig(two, two, sizes=SIZES[:2], bins=bins).mean == pytest.approx(1.0, abs=0.01)


def test_a_subset_that_is_not_uniform_is_refused():
    """Its entropy is not that of the factor: with one shape alone MIG would divide by zero."""
    hearts = F[F[:, 0] == 2]
    near = F[F[:, 3] < 8]
    for score in (higgins_score, mig, sap):
        with pytest.raises(ValueError, match=r"column 0 is not uniform: its entropy is 0\.00 nats, expected"):
            score(hearts, hearts, sizes=SIZES)
        with pytest.raises(ValueError, match=r"column 3 is not uniform: its entropy is 2\.08 nats"):
            score(near, near, sizes=SIZES)
    assert mig(hearts[:, 1:], hearts[:, 1:], sizes=SIZES[1:]).mean > 0.9


def test_predictability_is_a_squared_correlation_or_an_accuracy():
    code = PERFECT[:, :2] + 0.7 * NOISE[:, :2]
    found = predictability(code, F, [0])
    assert found[1, 3] == pytest.approx(np.corrcoef(code[:, 1], F[:, 3])[0, 1] ** 2)
    nearest = np.clip(np.round(code[:, 0]), 0, 2) == F[:, 0]
    assert found[0, 0] == pytest.approx(nearest.mean(), abs=0.02)
    assert found[1, 0] == pytest.approx(1 / 3, abs=0.03)


def test_the_classifier_is_at_the_minimum():
    """Against SciPy's minimiser, with the definition of the loss; more classes than it ever sees are no trouble."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((200, 3)) * [1.0, 5.0, 0.1] + [0.0, 2.0, 1.0], rng.integers(3, size=200)
    x[:, 0] += labels
    columns = np.concatenate([(x - x.mean(axis=0)) / x.std(axis=0), np.ones((200, 1))], axis=1)

    def loss(W):
        logits = columns @ W.reshape(4, 3)
        return (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(200), labels]).sum() + 0.5 * W @ W

    found = LinearClassifier(x, labels, classes=3)
    best = minimize(loss, np.zeros(12), tol=1e-10)
    np.testing.assert_allclose(found.W.ravel(), best.x, atol=1e-4)
    assert loss(found.W.ravel()) <= best.fun + 1e-9
    assert found.accuracy(x, labels) == pytest.approx((found(x) == labels).mean())
    assert found.accuracy(x, labels) > 0.45
    assert LinearClassifier(x, labels, classes=5).accuracy(x, labels) > 0.45


def test_the_classifier_separates_what_can_be_separated():
    x = np.linspace(-1.0, 1.0, 300)[:, None]
    labels = np.digitize(x[:, 0], [-0.4, 0.3])
    assert LinearClassifier(np.concatenate([x, np.ones_like(x)], axis=1), labels, classes=3).accuracy(
        np.concatenate([x, np.ones_like(x)], axis=1), labels) > 0.95
    with pytest.raises(ValueError, match=r"labels: got 0 … 2, expected 0 … 1"):
        LinearClassifier(x, labels, classes=2)


def test_the_encoder_s_means_are_what_is_judged():
    model = VAEConfig(784, (8,), 4).build(seed=1)
    x = sprites.draw(F[:900])                                                 # in parts of 400
    code = posterior_means(model, x)
    np.testing.assert_allclose(code, model.encode(x)[0], rtol=1e-5, atol=1e-6)
    assert code.shape == (900, 4)
    assert code.dtype == np.float64
    np.testing.assert_allclose(latent_variances(model, x), code.var(axis=0))


@pytest.mark.parametrize(("code", "factors", "said"), [
    (PERFECT[:-1], F, r"factors: got int64 of shape \(5000, 5\), expected whole numbers of shape \(4999, 5\)"),
    (PERFECT, PERFECT, "factors: got float64"),
    (PERFECT, F + 1, "factors: column 0 has values 1 … 3, expected 0 … 2"),
    (np.where(PERFECT == 3, np.nan, PERFECT), F, "code: got numbers that are not finite"),
])
@pytest.mark.parametrize("score", [higgins_score, mig, sap])
def test_what_does_not_fit_is_explained(score, code, factors, said):
    with pytest.raises(ValueError, match=said):
        score(code, factors, sizes=SIZES)


def test_one_latent_has_no_second_best_and_counts_are_at_least_one():
    with pytest.raises(ValueError, match="code: got 1 latent, expected at least 2"):
        mig(PERFECT[:, :1], F, sizes=SIZES)
    with pytest.raises(ValueError, match="pairs: got 0, expected at least 1"):
        higgins_score(PERFECT, F, sizes=SIZES, pairs=0)
    assert gaps(np.array([[0.5, 0.2], [0.1, 0.9], [0.3, 0.8]])) == pytest.approx([0.2, 0.1])
