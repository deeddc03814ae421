"""Where an op is written for speed, the textbook form stands here, and both are the same.

Also: sharing a step among threads changes its speed, not its result.
"""

import threading
import time
import weakref

import numpy as np
import pytest
from conftest import python

from minivae import distributions as D
from minivae import ops
from minivae.backend import device
from minivae.nn import SGD, AdaGrad, Adam, Arena, Linear, Momentum, Workers, by_rows, workers
from minivae.parallel import SOLO, Team, shares
from minivae.parts import Bernoulli
from minivae.vae import VAE
from minivae.variants import VAEConfig

WIDTHS = (1, 2, 3, 63, 64, 127, 129, 784)
HARD = np.array([0.0, -0.0, 1e-8, -1e-8, 30.0, -30.0, 100.0, -100.0, 800.0, -800.0])     # logits


def textbook_bernoulli_nll(a, x, dnll):
    """Value and gradient as chapter 5 writes them."""
    softplus = np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))
    sigmoid = np.where(a >= 0, 1.0, np.exp(-np.abs(a))) / (1.0 + np.exp(-np.abs(a)))
    return (softplus - a * x).sum(axis=-1), (sigmoid - x) * dnll[:, None]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_bernoulli_nll_is_the_textbooks(width, dtype, rtol):
    rng = np.random.default_rng(width)
    a = np.concatenate([3.0 * rng.standard_normal((20, width)), np.resize(HARD, (10, width))]).astype(dtype)
    x, dnll = rng.random(a.shape).astype(dtype), rng.standard_normal(len(a)).astype(dtype)
    nll, pull = D.bernoulli_nll(a, x=x)
    expected, dlogits = textbook_bernoulli_nll(*(array.astype(np.float64) for array in (a, x, dnll)))
    np.testing.assert_allclose(nll, expected, rtol=rtol, atol=width * rtol)
    np.testing.assert_allclose(pull(dnll), dlogits, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_the_log_of_products_never_overflows(width, p):
    found = D.sum_of_logs(np.full((3, width), p, np.float32))
    np.testing.assert_allclose(found, width * np.log(p), rtol=1e-6)


@pytest.mark.parametrize("x", [np.linspace(-20.0, 20.0, 401), np.array([-745.0, 745.0, 0.0, -0.0])])
def test_sigmoid_and_softplus_are_the_textbooks(x):
    y, pull = ops.sigmoid(x)
    expected = np.where(x >= 0, 1.0, np.exp(-np.abs(x))) / (1.0 + np.exp(-np.abs(x)))
    np.testing.assert_allclose(y, expected, rtol=1e-15)
    np.testing.assert_allclose(pull(np.ones_like(x)), expected * expected[::-1] if len(x) > 4 else 0.25 * (x == 0),
                               rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(ops.softplus(x)[1](np.ones_like(x)), expected, rtol=1e-15)


def test_the_mean_of_a_bernoulli_is_its_sigmoid():
    a = np.concatenate([np.linspace(-20.0, 20.0, 401), HARD])
    np.testing.assert_allclose(Bernoulli().mean(a), ops.sigmoid(a)[0], rtol=0.0, atol=1e-15)


def textbook_adam(g, m, s, t, beta1=0.9, beta2=0.999):
    """Kingma and Ba 2014, algorithm 1, line by line."""
    m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * g**2
    return m, s, (m / (1 - beta1**t)) / (np.sqrt(s / (1 - beta2**t)) + 1e-8)


def test_adam_is_the_textbooks(monkeypatch):
    monkeypatch.setattr("minivae.nn.arena.TILE", 15)                       # 7×7 numbers: tiles of two rows, and of one
    rng, adam, layer = np.random.default_rng(0), Adam(1e-2), Linear(7, 7, rng=np.random.default_rng(1))
    arena = whole(layer)
    value, m, s = arena.value.copy(), 0.0, 0.0
    for t in range(1, 40):
        g = rng.standard_normal(arena.value.shape) * 10.0 ** rng.integers(-6, 3, arena.value.shape)
        arena.grad[...] = g
        adam.step(arena)
        m, s, move = textbook_adam(g, m, s, t)
        value -= 1e-2 * move
        np.testing.assert_allclose(arena.value, value, rtol=1e-11, atol=1e-12)


def whole(layer: Linear) -> Arena:
    return Arena(layer.parameters(), device("cpu"), np.float64)


# ── a team of threads ─────────────────────────────────────────────────────────────────────────


def test_shares_are_equal_contiguous_and_complete():
    for n in (0, 1, 5, 128):
        for parts in (1, 2, 3, 8):
            found = shares(n, parts)
            assert [i for part in found for i in range(n)[part]] == list(range(n))
            assert max(p.stop - p.start for p in found) - min(p.stop - p.start for p in found) <= 1


def test_a_team_answers_in_order_and_at_the_same_time():
    team, met = Team(3), threading.Barrier(3, timeout=100.0)       # passes only if all three are inside at once

    def work(i):
        met.wait()
        time.sleep(0.02 * (3 - i))
        return i, threading.get_ident()

    answers = team.run(work)
    assert [i for i, _ in answers] == [0, 1, 2]
    assert len({thread for _, thread in answers}) == 3
    assert team.run(lambda i: i, 1) == [0]
    assert team.run(lambda i: i, 2) == [0, 1]


def test_numpys_errors_are_the_callers_in_every_thread():
    def divide(i):
        return np.ones(1) / np.zeros(1)

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        Team(2).run(lambda i: divide(i) if i else None)
    with np.errstate(divide="ignore"):
        assert np.isinf(Team(2).run(divide)).all()


def test_an_error_comes_after_all_have_stopped_and_the_team_goes_on():
    team, stopped = Team(3), []

    def work(i):
        if i == 1:
            raise ValueError("one")
        time.sleep(0.05)
        stopped.append(i)

    with pytest.raises(ValueError, match="one"):
        team.run(work)
    assert sorted(stopped) == [0, 2]
    assert team.run(lambda i: i) == [0, 1, 2]


@pytest.mark.parametrize("use", [
    "from minivae.variants import VAEConfig; VAEConfig(4, (3,), 2).build()",
    "from minivae.parallel import Team; Team(2)",
    "from minivae.chapter import options, parser; options(parser('ch00', ''), [])",
])
def test_from_the_first_model_on_matrix_products_use_one_thread(use):
    """Whoever starts two trainings at once must not see BLAS's threads spin for a core that the other has."""
    code = f"""
import os
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "2"        # or one, on a machine with one core
import numpy, threadpoolctl
def threads():
    return max(pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas")
import minivae.vae
before = threads()
assert before == min(2, os.cpu_count()), before
{use}
from minivae.parallel import quiet_blas
assert threads() == 1, threads()
assert quiet_blas() == before
"""
    assert python("-c", code).returncode == 0, python("-c", code).stderr


def test_a_forgotten_team_goes_home():
    before = set(threading.enumerate())
    team = Team(4)
    threads = set(threading.enumerate()) - before
    assert len(threads) == 3
    gone = weakref.ref(team)
    del team
    assert gone() is None
    for thread in threads:
        thread.join(timeout=100.0)
        assert not thread.is_alive()


def test_less_than_one_thread_is_refused():
    with pytest.raises(ValueError, match="threads: got 0, expected at least 1"):
        Team(0)


# ── a step shared among threads ───────────────────────────────────────────────────────────────


def vae(threads: int, likelihood: str = "bernoulli", **options) -> VAE:
    model = VAEConfig(12, (9,), 3, likelihood=likelihood).build(dtype=np.float64, **options)
    model.workers = Workers(model, rows_each=1)
    model.workers.hire(threads)
    return model


@pytest.mark.parametrize("optimizer", [SGD, Momentum, AdaGrad, Adam, lambda: Adam(max_norm=0.5)])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(threads, optimizer, monkeypatch):
    monkeypatch.setattr("minivae.nn.arena.TILE", 50)
    monkeypatch.setattr("minivae.nn.arena.LEAST", 50)
    one, many = vae(1, optimizer=optimizer()), vae(threads, optimizer=optimizer())
    rngs = [np.random.default_rng(0) for _ in range(2)]
    for step in range(20):
        x = np.random.default_rng(step).random((2 if step == 7 else 10, 12))       # one batch smaller than the team
        metrics = [model.train_step(x, rng) for model, rng in zip((one, many), rngs)]
        assert metrics[1] == pytest.approx(metrics[0], rel=1e-12)
    np.testing.assert_allclose(many.arena.value, one.arena.value, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("likelihood", ["gaussian_shared", "gaussian_pixel"])
def test_a_likelihood_with_parameters_is_shared_too(likelihood):
    found = []
    for threads in (1, 2):
        model, rng = vae(threads, likelihood, samples=2), np.random.default_rng(0)
        for step in range(5):
            model.train_step(np.random.default_rng(step).standard_normal((10, 12)), rng)
        found.append(model.arena.value)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-9, atol=1e-11)


def test_a_batch_of_few_rows_stays_with_one_thread():
    model = VAEConfig(12, (9,), 3).build()
    model.workers = Workers(model, rows_each=8)
    model.workers.hire(2)
    model.train_step(np.zeros((15, 12), np.float32), np.random.default_rng(0))
    assert len(model.workers.copies) == 1
    model.train_step(np.zeros((16, 12), np.float32), np.random.default_rng(0))
    assert len(model.workers.copies) == 2


def test_another_thread_is_worth_its_rows_by_what_is_multiplied():
    """Two AVX2 cores, two threads against one: 784-400-20 takes 0.78 of the time at a batch of 64, 784-200-8 1.24."""
    found = [VAEConfig(784, (hidden,), 8).build().workers.rows_worth() for hidden in (1000, 400, 200, 32)]
    assert found == [32, 32, 52, 64]
    assert VAEConfig(784, (400,), 20).build(samples=8).workers.rows_worth() == 4
    assert VAEConfig(784, (400,), 20).build(samples=50).workers.rows_worth() == 1


def test_a_copy_shares_values_and_nothing_else():
    model = vae(2, "gaussian_shared")
    model.train_step(np.ones((4, 12)), np.random.default_rng(0))
    _, other = model.workers.copies
    assert other.arena.parameters.keys() == model.arena.parameters.keys()
    for name, p in model.arena.parameters.items():
        twin = other.arena.parameters[name]
        assert np.shares_memory(p.value, twin.value)
        assert not np.shares_memory(p.grad, twin.grad)
        assert np.shares_memory(twin.grad, other.arena.grad)
    model.arena.load({name: np.full(p.value.shape, 0.5) for name, p in model.arena.parameters.items()})
    assert (other.decoder.layers[0].W.value == 0.5).all()


def test_decoding_in_parts_changes_nothing(monkeypatch):
    model, z = VAEConfig(12, (9,), 3).build(dtype=np.float64), np.random.default_rng(0).standard_normal((1207, 3))
    expected = model.likelihood.mean(model.decoder(z)[0])
    for team in (SOLO, Team(3)):
        model.workers.team = team
        np.testing.assert_allclose(model.decode(z), expected, rtol=1e-12)
        with monkeypatch.context() as patch:
            patch.setitem(workers.AT_ONCE, "cpu", 100)
            np.testing.assert_array_equal(by_rows(lambda part: part[:, :2], z, shape=(2,), team=team), z[:, :2])


@pytest.mark.parametrize("rows", [3, 700])
def test_decoding_into_the_caller_s_array(rows):
    model, z = VAEConfig(12, (9,), 3).build(dtype=np.float64), np.random.default_rng(0).standard_normal((rows, 3))
    room = np.full((rows + 2, 12), 7.0)
    assert np.shares_memory(model.decode(z, out=room[1:-1]), room)
    np.testing.assert_array_equal(room[1:-1], model.decode(z))
    assert (room[[0, -1]] == 7.0).all()


@pytest.mark.parametrize("out", [np.full((3, 11), 7.0), np.full((4, 12), 7.0), np.full((3, 12), 7.0, np.float32),
                                 np.full((3, 12), 7)])
def test_an_array_that_cannot_be_decoded_into_is_left_as_it_is(out):
    model = VAEConfig(12, (9,), 3).build(dtype=np.float64)
    with pytest.raises(ValueError, match=r"out: got shape .*, expected \(3, 12\), float64, on cpu"):
        model.decode(np.zeros((3, 3)), out=out)
    assert (out == 7).all()
