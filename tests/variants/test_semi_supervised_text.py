"""M2 of sentences: what its numbers mean, who hears what, and that padding and company change nothing."""

from itertools import product

import numpy as np
import pytest

from minivae.backend import device
from minivae.batch import Batch
from minivae.distributions import gaussian_kl, reparameterize
from minivae.evaluation import LanguageModel, classification_error
from minivae.nn import SGD, Embedding
from minivae.ops import log_softmax, one_hot
from minivae.parts.sentences import END, PAD, UNKNOWN, Writer, shortened, told_before
from minivae.training import fit
from minivae.variants import TextM2Config

A, B = 3, 4                            # two words


def built(classes=2, words=7, seed=0, conditional=True, **weights):
    rng = np.random.default_rng(seed)
    prior = tuple(np.arange(1.0, classes + 1) / np.arange(1.0, classes + 1).sum())
    model = TextM2Config(words, classes, 3, 4, 2, conditional, prior).build(dtype=float, **weights)
    model.arena.value[...] += 0.6 * rng.standard_normal(model.arena.value.shape)
    return model, rng


def sentences(n, words=7, length=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.integers(UNKNOWN, words, (n, length))
    for row_of, k in zip(x, rng.integers(1, length + 1, n)):
        row_of[k - 1] = END
        row_of[k:] = PAD
    return x


# what the numbers mean

@pytest.mark.parametrize("condition", [0, 2])
def test_all_sentences_of_two_words_have_one_probability_together(condition):
    """Over two words and the end: all that end in time, and all that are cut off."""
    rng = np.random.default_rng(0)
    writer = Writer(Embedding(5, 2, rng=rng), 3, 2, rng=rng, condition=condition)
    for p in writer.parameters().values():
        p.value[...] = rng.standard_normal(p.value.shape)
    heads = [(END, PAD)] + [(w, v) for w, v in product((UNKNOWN, A, B), (END, UNKNOWN, A, B))]
    x = np.array(heads)
    code, y = np.tile(rng.standard_normal(2), (len(x), 1)), np.tile([0.0, 1.0], (len(x), 1))
    nll, _ = writer(code, x=x, told=told_before(x), y=y if condition else None)
    assert np.exp(-nll).sum() == pytest.approx(1.0, abs=1e-12)
    assert len(x) == 13


def test_the_bound_is_the_sum_over_classes():
    model, rng = built(3)
    x, eps = sentences(4), rng.standard_normal((3, 4, 2))
    (nll, kl, kl_y), _ = model.unlabelled_terms(x=x, told=told_before(x), eps=eps)
    for i in range(4):
        total, log_q = 0.0, log_softmax(model.classifier(x=x[i:i + 1])[0])[0][0]
        for y in range(3):
            of_class = {"x": x[i:i + 1], "told": told_before(x[i:i + 1]), "eps": eps[y, i:i + 1]}
            (nll_y, kl_z), _ = model.labelled_terms(labels=np.array([y]), **of_class)
            L = -(nll_y + kl_z)[0] + model.log_p[y]
            total += np.exp(log_q[y]) * (L - log_q[y])
        assert -(nll + kl + kl_y)[i] == pytest.approx(total, rel=1e-12)


def test_of_one_class_it_is_a_vae():
    model, rng = built(1)
    x, eps = sentences(3), rng.standard_normal((1, 3, 2))
    (nll, kl, kl_y), _ = model.unlabelled_terms(x=x, told=told_before(x), eps=eps)
    y = np.ones((3, 1))
    q, _ = model.encoder(x=x, y=y)
    code = np.concatenate([reparameterize(*q, eps=eps[0])[0], y], axis=1)
    np.testing.assert_allclose(nll, model.writer(code, x=x, told=told_before(x), y=y)[0], rtol=1e-13)
    np.testing.assert_allclose(kl, gaussian_kl(*q)[0], rtol=1e-13)
    np.testing.assert_array_equal(kl_y, 0.0)


def test_a_label_that_is_sure_leaves_the_labelled_bound():
    """q one-hot: U(x) = L(x, y), for H = 0."""
    model, rng = built(2)
    head = model.classifier.then
    head.W.value[...], head.b.value[...] = 0.0, (800.0, 0.0)
    x, eps = sentences(3), rng.standard_normal((2, 3, 2))
    (nll, kl, kl_y), _ = model.unlabelled_terms(x=x, told=told_before(x), eps=eps)
    (nll_0, kl_0), _ = model.labelled_terms(x=x, labels=np.zeros(3, int), told=told_before(x), eps=eps[0])
    np.testing.assert_allclose(nll + kl + kl_y, nll_0 + kl_0 - model.log_p[0], rtol=1e-13)


def test_importance_weights_of_one_draw_are_a_bound_on_average():
    model, _ = built(2)
    x = Batch(x=sentences(5), labelled=sentences(5), labels=np.zeros(5, int))
    weights = model.log_weights(x, np.random.default_rng(0), 400)
    nll, kl = model.terms(x, np.random.default_rng(1), 400)
    assert weights.shape == (400, 5)
    assert (np.log(np.exp(weights).mean(axis=0)) >= -(nll + kl) - 0.05).all()


# padding, and company

def test_padding_and_company_change_nothing():
    model, rng = built(3)
    x, eps = sentences(6), rng.standard_normal((3, 6, 2))
    wide = np.concatenate([x, np.full((6, 4), PAD)], axis=1)
    found = []
    for codes, rows in ((x, slice(None)), (wide, slice(None)), (x, slice(2, 3))):
        model.arena.zero_grad()
        terms, pull = model.unlabelled_terms(x=codes[rows], told=told_before(codes[rows]), eps=eps[:, rows])
        pull(*3 * [np.ones(len(codes[rows]))])
        found.append((np.stack(terms), model.arena.grad.copy()))
    (one, d_one), (padded, d_padded), (alone, _) = found
    np.testing.assert_allclose(padded, one, rtol=1e-12)
    np.testing.assert_allclose(d_padded, d_one, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(alone[:, 0], one[:, 2], rtol=1e-12)


def test_a_step_with_rows_shared_by_two_threads_is_the_same():
    data = Batch(x=sentences(8, seed=1), labelled=sentences(8, seed=2), labels=np.arange(8) % 2)
    values = []
    for threads in (1, 2):
        model, _ = built(2, labelled_share=0.3, forget=0.4, optimizer=SGD(0.1))
        model.workers.hire(threads)
        model.workers.rows_each = 4
        for _ in range(2):
            model.train_step(data, np.random.default_rng(3))
        values.append(model.arena.value.copy())
    np.testing.assert_allclose(*values, rtol=1e-11, atol=1e-13)


def test_columns_that_nobody_needs_are_cut():
    x = np.array([[3, END, PAD, PAD], [3, 4, END, PAD]])
    np.testing.assert_array_equal(shortened(x), x[:, :3])
    assert shortened(x[:0]).shape == (0, 1)


# words that are dropped

def test_a_word_is_dropped_as_a_word_and_the_end_is_never():
    x = np.array([[3, 4, END, PAD]])
    np.testing.assert_array_equal(told_before(x), [[END, 3, 4, END]])
    np.testing.assert_array_equal(told_before(x, forget=np.ones_like(x, bool)), [[END, UNKNOWN, UNKNOWN, END]])
    np.testing.assert_array_equal(told_before(x, forget=np.zeros_like(x, bool)), told_before(x))


def test_words_are_dropped_in_training_and_nowhere_else():
    data = Batch(x=sentences(6, seed=1), labelled=sentences(6, seed=2), labels=np.arange(6) % 2)
    bounds, steps = [], []
    for forget in (0.0, 1.0):
        model, _ = built(2, forget=forget)
        bounds.append(model.elbo(data, np.random.default_rng(0)))
        steps.append(model.train_step(data, np.random.default_rng(0))["nll"])
    np.testing.assert_array_equal(*bounds)
    assert steps[0] != steps[1]


def test_what_it_says_is_not_what_it_is_told():
    """Forgetting changes the state that says a word, not which word is asked for."""
    model, rng = built(2)
    x, y = np.array([[3, 4, 5, END]]), np.array([[1.0, 0.0]])
    everything = told_before(x, forget=np.ones_like(x, bool))
    code = np.concatenate([rng.standard_normal((1, 2)), y], axis=1)
    other = np.array([[5, 3, 4, END]])                 # told the same: nothing
    nll = [model.writer(code, x=z, told=everything, y=y)[0][0] for z in (x, other)]
    assert nll[0] != nll[1]


# who hears what

def test_the_classifier_hears_no_labelled_bound_and_labels_reach_no_writer():
    model, rng = built(2)
    x, labels = sentences(3), np.array([0, 1, 1])
    _, pull = model.labelled_terms(x=x, labels=labels, told=told_before(x), eps=rng.standard_normal((3, 2)))
    _, pull_class = model.class_nll(x=x, labels=labels)
    heard = []
    for each in (lambda: pull(np.ones(3), np.ones(3)), lambda: pull_class(np.ones(3))):
        model.arena.zero_grad()
        each()
        heard.append({name for name, p in model.arena.parameters.items() if p.grad.any()})
    table = "classifier.reader.words.table"
    assert not {name for name in heard[0] if name.startswith("classifier")} - {table}
    assert {name for name in heard[1] if not name.startswith("classifier")} == set()
    assert table in heard[0] & heard[1]


def test_words_are_one_table():
    model, _ = built(2)
    assert sum(name.endswith("table") for name in model.arena.parameters) == 1
    assert model.writer.words is model.encoder.reader.words is model.classifier.reader.words


def test_a_vanilla_writer_hears_y_where_it_begins():
    """Beginning alike, it says the same of every class; a conditional one does not."""
    x, y = sentences(4), np.eye(2)[[0, 0, 1, 1]]
    x[2:] = x[:2]
    for conditional in (True, False):
        model, _ = built(2, conditional=conditional)
        model.writer.begin.W.value[2:] = 0.0           # y says nothing of the beginning
        code = np.concatenate([np.zeros((4, 2)), y], axis=1)
        nll, _ = model.writer(code, x=x, told=told_before(x), y=model.heard(y))
        assert np.allclose(nll[:2], nll[2:]) != conditional


def test_the_kl_weighs_less_at_first():
    data, grads = Batch(x=sentences(4), labelled=sentences(4), labels=np.zeros(4, int)), []
    for warm_up in (0, 10):
        model, _ = built(2, warm_up=warm_up)
        terms = model.train_step(data, np.random.default_rng(0))
        grads.append((model.arena.grad.copy(), terms["elbo"]))
    assert grads[0][1] == grads[1][1]                  # what is reported is the true bound
    assert not np.allclose(grads[0][0], grads[1][0])


# sentences that it says

def test_draws_are_those_of_the_model():
    """The first word of many draws against p(x_1), which is that of sentences of one code."""
    model, rng = built(2, words=5)
    z = np.zeros((20000, 2))
    said = model.decode(z, np.zeros(20000, int), steps=1, rng=rng)[:, 0]
    x = np.array([[END], [A], [B]])
    code = np.concatenate([np.zeros((3, 2)), one_hot(np.zeros(3, int), classes=2, dtype=float)], axis=1)
    p = np.exp(-model.writer(code, x=x, told=told_before(x), y=model.heard(code[:, 2:]))[0])
    share = np.array([(said == w).mean() for w in (END, A, B)])
    np.testing.assert_allclose(share, p / p.sum(), atol=4 * np.sqrt(0.25 / 20000))
    assert not (said == UNKNOWN).any()


def test_greedy_takes_the_likeliest_word_and_stops_at_the_end():
    model, _ = built(2)
    said = model.decode(np.zeros((1, 2)), np.array([1]), steps=6)[0]
    np.testing.assert_array_equal(said, model.decode(np.zeros((1, 2)), np.array([1]), steps=6)[0])
    ends = np.flatnonzero(said == END)
    assert not len(ends) or (said[ends[0] + 1:] == PAD).all()
    with pytest.raises(ValueError, match="label: got 2, expected a class from 0 to 1"):
        model.sample(1, np.random.default_rng(0), 2)
    assert model.sample(3, np.random.default_rng(0), 1, steps=4).shape == (3, 4)


# learning

def test_it_learns_which_words_a_class_uses():
    """Class 0 says A, class 1 says B; ten labels, and a hundred sentences without."""
    rng = np.random.default_rng(0)
    y = np.arange(110) % 2
    x = np.where(rng.random((110, 4)) < 0.8, A + y[:, None], A + 1 - y[:, None])
    x = np.concatenate([x, np.full((110, 1), END)], axis=1)
    data = Batch(x=x[10:], labelled=np.resize(x[:10], (100, 5)), labels=np.resize(y[:10], 100),
                 lengths=np.full(100, 5))
    model = TextM2Config(5, 2, 4, 8, 2).build(sentences=x, labelled_share=0.1, label_weight=1.0)
    history = fit(model, data, epochs=12, batch_size=10, progress=False)
    assert history[-1]["train_elbo"] > history[0]["train_elbo"]
    judged = Batch(x=x, labelled=x, labels=y)
    assert classification_error(model, judged).mean < 25.0


@pytest.mark.parametrize(("change", "says"), [
    ({"x": np.full((4, 3), 9)}, "whole numbers below 7"), ({"x": np.zeros((4, 3), int)}, "no row that begins with PAD"),
    ({"x": np.ones((4, 3))}, "expected codes"), ({"labels": np.full(4, 2)}, "expected whole numbers .* in 0 … 1")])
def test_data_that_do_not_fit_are_refused(change, says):
    model, _ = built(2)
    good = {"x": sentences(4), "labelled": sentences(4), "labels": np.zeros(4, int)}
    model.check(Batch(**good))
    with pytest.raises(ValueError, match=says):
        model.check(Batch(**good | change))


@pytest.mark.parametrize(("weights", "says"), [
    ({"forget": 1.5}, "forget: got"), ({"warm_up": -1}, "warm_up: got"), ({"labelled_share": 2.0}, "labelled_share")])
def test_settings_that_mean_nothing_are_refused(weights, says):
    with pytest.raises(ValueError, match=says):
        built(2, **weights)


def test_a_language_model_hears_its_own_words_alone():
    model = LanguageModel(7, device=device("cpu"), dimensions=3, units=4, dtype=float)
    x = sentences(5)
    nll, kl = model.terms(Batch(x=x), np.random.default_rng(0))
    assert nll.shape == (5,)
    assert not kl.any()
