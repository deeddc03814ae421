"""The value of an LSTM, beside a textbook's loop; what is padded changes nothing, neither value nor gradient."""

import math
import time

import numpy as np
import pytest

from minivae.gradcheck import gradcheck
from minivae.nn import LSTM
from minivae.ops import arrays, embedding, lstm, one_hot, sigmoid
from minivae.ops.recurrent import STEPS
from minivae.parallel import Team, lent, spare_team


def states(T=4, B=3, I=2, H=3, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in (
        (T, B, I), (B, H), (B, H), (4, I, H), (4, H, H), (4, H))]


def textbook(x, h, c, W, U, b):
    """One gate after the other, one step after the other, as it is printed"""
    found = []
    for x_t in x:
        i, f, o = (sigmoid(x_t @ W[k] + h @ U[k] + b[k])[0] for k in range(3))
        c = f * c + i * np.tanh(x_t @ W[3] + h @ U[3] + b[3])
        h = o * np.tanh(c)
        found.append(h)
    return np.stack(found), c


def test_it_computes_what_the_textbook_says():
    for ours, theirs in zip(lstm(*states())[0], textbook(*states())):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_one_step_by_hand():
    """All weights 1 but that of the cell, x = ln 3, h = 0, c = 2: σ(ln 3) = ¾, tanh(ln 3) = 0.8"""
    x, h, c = np.full((1, 1, 1), math.log(3.0)), np.zeros((1, 1)), np.full((1, 1), 2.0)
    (shown, cell), pullback = lstm(x, h, c, np.ones((4, 1, 1)), np.ones((4, 1, 1)), np.zeros((4, 1)))
    assert cell[0, 0] == pytest.approx(0.75 * 2.0 + 0.75 * 0.8)
    assert shown[0, 0, 0] == pytest.approx(0.75 * math.tanh(2.1))
    _, _, dc, *_ = pullback(np.zeros((1, 1, 1)), np.ones((1, 1)))
    assert dc[0, 0] == pytest.approx(0.75)             # ∂c_1/∂c_0 = f


def padded(parts, rng):
    """Sequences of lengths 4, 1, 3, and beyond each of them whatever there is."""
    x, *rest = parts
    mask = np.arange(len(x))[:, None] < np.array([4, 1, 3])
    return np.where(mask[:, :, None], x, 9.0 * rng.standard_normal(x.shape)), *rest, mask


def test_padding_changes_neither_value_nor_gradient():
    rng = np.random.default_rng(1)
    parts, dh, dc = states(), rng.standard_normal((4, 3, 3)), rng.standard_normal((3, 3))
    dh[1:, 1] = dh[3:, 2] = 0.0                        # nobody asks for a step that was none …
    *inputs, mask = padded(parts, rng)
    (h, c), pullback = lstm(*inputs, mask=mask)
    dx, dh0, dc0, *dp = pullback(dh, dc)
    total = [np.zeros_like(p) for p in dp]
    for i, length in enumerate((4, 1, 3)):             # … and each sequence by itself, as long as it is
        alone = [parts[0][:length, i:i + 1], parts[1][i:i + 1], parts[2][i:i + 1], *parts[3:]]
        (h_i, c_i), pull = lstm(*alone)
        np.testing.assert_allclose(h[:length, i], h_i[:, 0], rtol=1e-13)
        np.testing.assert_array_equal(h[length:, i], np.broadcast_to(h[length - 1, i], h[length:, i].shape))
        np.testing.assert_allclose(c[i], c_i[0], rtol=1e-13)
        dx_i, dh_i, dc_i, *dp_i = pull(dh[:length, i:i + 1], dc[i:i + 1])
        for ours, theirs in ((dx[:length, i], dx_i[:, 0]), (dh0[i], dh_i[0]), (dc0[i], dc_i[0])):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)
        assert not dx[length:, i].any()
        total = [a + d for a, d in zip(total, dp_i)]
    for ours, theirs in zip(dp, total):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_what_comes_after_the_end_reaches_the_last_step():
    """The state at T is that of the last step there was: its gradient goes there, whole."""
    *inputs, mask = padded(states(), np.random.default_rng(1))
    (h, _), pullback = lstm(*inputs, mask=mask)
    late, early, zero = np.zeros_like(h), np.zeros_like(h), np.zeros((3, 3))
    late[3, 1], early[0, 1] = 1.0, 1.0
    for a, b in zip(pullback(late, zero), pullback(early, zero)):
        np.testing.assert_array_equal(a, b)


def test_a_condition_is_a_b_for_each_sequence():
    *parts, b = states()
    (one, _), pull = lstm(*parts, np.repeat(b[:, None], 3, axis=1))
    (all_alike, _), pull_all = lstm(*parts, b)
    np.testing.assert_array_equal(one, all_alike)
    dh, dc = np.ones_like(one), np.zeros((3, 3))
    np.testing.assert_allclose(pull(dh, dc)[5].sum(axis=1), pull_all(dh, dc)[5], rtol=1e-13)


class Slow(Team):
    """Its other thread comes late to whatever is put aside for it."""

    def __init__(self, rng):
        super().__init__(2)
        self.rng = rng

    def aside(self, work):
        pause = self.rng.random() * 2e-3
        return super().aside(lambda: (time.sleep(pause), work())[1])


def through(team, parts, mask):
    with lent(team):
        (h, c), pullback = lstm(*parts, mask=mask)
        return h, c, *pullback(h * h, c)


@pytest.mark.parametrize("B", [4, 32])                 # 32: the rows are shared out, too
def test_a_thread_that_is_spare_changes_nothing_but_the_last_digits(B):
    rng = np.random.default_rng(0)
    parts, mask = states(T=3 * STEPS + 1, B=B, I=3, H=5), rng.random((3 * STEPS + 1, B)) < 0.8
    alone, once = through(spare_team(), parts, mask), through(Team(2), parts, mask)
    for a, b in zip(once, alone):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
    for _ in range(20):                                # whenever it came to its work: the same bits
        for a, b in zip(through(Slow(rng), parts, mask), once):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("at", "shape", "says"), [
    (0, (4, 3, 5), "x has shape"), (0, (0, 3, 2), "T at least 1"), (1, (2, 3), "h has shape"), (2, (3, 4), "c has"),
    (3, (3, 2, 3), "W has"), (3, (2, 12), "W has"), (4, (4, 2, 3), "U has"),
    (5, (12,), r"expected \(4, 3\) or \(4, 3, 3\)")])
def test_what_does_not_fit_is_named(at, shape, says):
    parts = states()
    parts[at] = np.zeros(shape)
    with pytest.raises(ValueError, match=says):
        lstm(*parts)


def test_a_mask_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"mask has shape \(3, 4\), expected \(4, 3\)"):
        lstm(*states(), mask=np.ones((3, 4), bool))


def test_float32_stays_float32():
    (h, c), pullback = lstm(*states(dtype=np.float32), mask=np.ones((4, 3), bool))
    assert {a.dtype for a in (h, c, *pullback(h, c))} == {np.dtype(np.float32)}


def test_the_layer_says_what_it_hears():
    rng = np.random.default_rng(0)
    told, plain = LSTM(2, 3, condition=2, rng=rng), LSTM(2, 3, rng=rng)
    x = np.zeros((1, 4, 2))
    with pytest.raises(ValueError, match=r"y: got none, expected \(B, 2\)"):
        told(x, *told.start(x))
    with pytest.raises(ValueError, match="expected none"):
        plain(x, *plain.start(x), y=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="condition: got -1"):
        LSTM(1, 1, condition=-1, rng=rng)


@pytest.mark.parametrize("K", [3, arrays.FEW_ROWS, arrays.FEW_ROWS + 1, 3000])
def test_rows_of_a_vocabulary_hear_all_their_uses(K):
    """Sorted sums, or the product with zeros and ones that they stand for."""
    rng = np.random.default_rng(0)
    codes, dy = np.concatenate([rng.integers(0, 3, 30), [K - 1]]).reshape(31, 1), rng.standard_normal((31, 1, 2))
    _, pullback = embedding(rng.standard_normal((K, 2)), codes=codes)
    product = one_hot(codes.ravel(), classes=K, dtype=float).T @ dy[:, 0]
    np.testing.assert_allclose(pullback(dy), product, rtol=1e-12, atol=1e-14)
    assert pullback(dy.astype(np.float32)).dtype == np.float32


def test_codes_may_be_small_numbers_of_a_large_table():
    codes, dy = np.array([2999, 1, 2999], np.uint16), np.ones((3, 64))
    heard = embedding(np.zeros((3000, 64)), codes=codes)[1](dy)
    assert (heard[[1, 2999]] == [[1.0], [2.0]]).all()
    assert heard.sum() == dy.sum()


def test_no_code_at_all():
    _, pullback = embedding(np.ones((300, 2)), codes=np.zeros((0, 4), int))
    assert not pullback(np.zeros((0, 4, 2))).any()


def test_gradcheck_sees_through_time():
    gradcheck(lambda *inputs: lstm(*inputs), *states(T=5, B=1, I=1, H=2))
