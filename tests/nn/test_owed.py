"""Gradients that wait: a weight's products are made later, some rows by each thread, and moved at once."""

import random
import sys
import threading
import time
import weakref
from typing import ClassVar

import numpy as np
import pytest

from minivae import ops
from minivae.backend import device
from minivae.nn import Adam, Arena, Linear, Parameter, Workers
from minivae.nn.arena import Tile
from minivae.nn.parameter import Product, Uses
from minivae.parallel import Team
from minivae.variants import VAEConfig, VAEGANConfig

RNG = np.random.default_rng(0)


def parameter(*shape: int) -> Parameter:
    p = Parameter(np.zeros(shape))
    p.grad[...] = 7.0                                  # what lies there is the step before's
    p.zero_grad(owes=True)
    return p


def uses(n: int, inputs: int, outputs: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(RNG.standard_normal((5, inputs)), RNG.standard_normal((5, outputs))) for _ in range(n)]


# ── a parameter ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("inputs", "outputs"), [(40, 30), (2, 3)])    # kept; more than what it makes
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("owes", [True, False])
def test_what_is_owed_is_the_sum_of_its_products(owes, n, inputs, outputs):
    p, added = parameter(inputs, outputs), uses(n, inputs, outputs)
    p.zero_grad(owes=owes)
    for x, dy in added:
        p.add(Product(x.T, dy))
    assert len(p._owed) == (n if owes and inputs == 40 else 0)
    expected = sum(x.T @ dy for x, dy in added)
    np.testing.assert_allclose(p.grad, expected, rtol=1e-12, atol=1e-12)
    assert not p._owed
    p.add(np.ones((inputs, outputs)))
    p.add(Product(added[0][0].T, added[0][1]))
    np.testing.assert_allclose(p.grad, expected + 1.0 + added[0][0].T @ added[0][1], rtol=1e-12, atol=1e-12)


def test_rows_are_made_one_after_the_other():
    p, added = parameter(3, 3, 4, 30), uses(2, 36, 30)
    for x, dy in added:
        p.add(Product(x.T, dy))
    for rows in (slice(20, 36), slice(0, 7), slice(7, 20)):
        p.make(rows)
    p.made()
    np.testing.assert_allclose(p.grad.reshape(36, 30), sum(x.T @ dy for x, dy in added), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (3, 2)])
def test_a_gradient_that_nobody_added_is_zero(shape):
    assert not parameter(*shape).grad.any()
    p = parameter(*shape)
    p.add(np.ones(shape))
    assert np.array_equal(p.grad, np.ones(shape))
    p.add(np.ones(shape))
    assert np.array_equal(p.grad, 2.0 * np.ones(shape))


def test_whoever_owes_anothers_gradient_makes_it_later():
    p, q, added = parameter(40, 30), parameter(40, 30), uses(2, 40, 30)
    q.add(np.ones((40, 30)))
    q.add(Product(added[0][0].T, added[0][1]))
    p.add(Product(added[1][0].T, added[1][1]))
    p.owe(q)
    assert len(p._owed) == 2
    assert not q._owed
    np.testing.assert_allclose(p.grad, 1.0 + sum(x.T @ dy for x, dy in added), rtol=1e-12, atol=1e-12)
    assert np.array_equal(q.grad, np.ones((40, 30)))


@pytest.mark.parametrize("mine", [True, False])
def test_anothers_gradient_is_added_row_by_row(mine):
    p, q = parameter(9, 3), parameter(9, 3)
    q.add(np.arange(27.0).reshape(9, 3))
    if mine:
        p.add(np.ones((9, 3)))
    p.owe(q)
    for rows in (slice(4, 9), slice(0, 4)):
        p.make(rows)
    p.made()
    assert np.array_equal(p.grad, mine + np.arange(27.0).reshape(9, 3))


@pytest.mark.parametrize("kind", [np.uint8, np.int64])
@pytest.mark.parametrize("owes", [True, False])
def test_what_a_tables_uses_hear_is_added_up_later_some_rows_by_each_thread(owes, kind):
    p, q, expected = parameter(250, 3), parameter(250, 3), np.zeros((250, 3))
    for table in (p, q, p):
        table._owes = owes
        codes, dy = RNG.integers(250, size=400).astype(kind), RNG.standard_normal((400, 3))
        np.add.at(expected, codes, dy)
        table.add(Uses(codes, dy))
        assert table.pending == owes
    p.owe(q)
    for rows in (slice(100, 250), slice(0, 1), slice(1, 100)):
        p.make(rows)
    p.made()
    assert not p.pending
    np.testing.assert_allclose(p.grad, expected, rtol=1e-12, atol=1e-12)
    p.add(Uses(codes[:1], dy[:1]))
    expected[codes[0]] += dy[0]
    np.testing.assert_allclose(p.grad, expected, rtol=1e-12, atol=1e-12)


def test_a_product_may_be_taken_for_an_array():
    p, (x, dy) = parameter(4, 3), uses(1, 4, 3)[0]
    p.grad += Product(x.T, dy)
    np.testing.assert_allclose(p.grad, x.T @ dy, rtol=1e-12, atol=1e-12)
    assert np.asarray(Product(x.T, dy), np.float32).dtype == np.float32


def test_what_was_multiplied_is_let_go():
    layer, x = Linear(40, 30, rng=np.random.default_rng(0)), RNG.standard_normal((5, 40))
    layer.W.zero_grad(owes=True)
    layer(x)[1](np.ones((5, 30)))
    gone = weakref.ref(x)
    del x
    assert gone() is not None
    assert layer.W.grad.any()
    assert gone() is None


@pytest.mark.parametrize("owes", [True, False])
def test_an_op_that_multiplies_at_once_is_heard_too(owes, monkeypatch):
    """As a student's would, that never looks at `matmul`."""
    layer, x, dy = Linear(4, 3, rng=np.random.default_rng(0)), RNG.standard_normal((5, 4)), RNG.standard_normal((5, 3))
    monkeypatch.setattr(ops, "linear", lambda x, W, b: (x @ W + b, lambda dy, need_dx=True, need_dp=True, matmul=None: (
        dy @ W.T, x.T @ dy, dy.sum(axis=0))))
    layer.W.zero_grad(owes=owes)
    for _ in range(2):
        layer(x)[1](dy)
    np.testing.assert_allclose(layer.W.grad, 2.0 * x.T @ dy, rtol=1e-12, atol=1e-12)


def test_a_product_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"got a product of shape \(3, 4\), expected \(4, 3\) for a parameter"):
        parameter(4, 3).add(Product(np.ones((3, 5)), np.ones((5, 4))))


# ── tiles ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("shapes", [[(9, 7), (7,), (7, 5), (5,), ()], [(3, 3, 2, 4), (4,)], [(1, 50), (50, 1)], [(3,)]])
def test_tiles_hold_every_number_once_in_order(shapes, threads, monkeypatch):
    monkeypatch.setattr("minivae.nn.arena.TILE", 12)
    monkeypatch.setattr("minivae.nn.arena.LEAST", 10)
    arena = Arena({str(i): Parameter(np.zeros(shape)) for i, shape in enumerate(shapes)}, device("cpu"), np.float64)
    lists = arena.tiles(threads)
    assert len(lists) == min(threads, max(1, arena.value.size // 10))
    tiles = [tile for tiles in lists for tile in tiles if tile.parts]
    assert [i for tile in tiles for i in range(tile.here.start, tile.here.stop)] == list(range(arena.value.size))
    for tile in tiles:
        inside = sum(p.value[...].size // max(1, len(p.value.reshape(-1, p.value.shape[-1] if p.value.ndim else 1)))
                     * (rows.stop - rows.start) for p, rows in tile.parts)
        assert inside == tile.here.stop - tile.here.start
    widest = max(shape[-1] if shape else 1 for shape in shapes)
    sizes = [sum(tile.here.stop - tile.here.start for tile in tiles) for tiles in lists]
    assert max(sizes) - min(sizes) <= 2 * widest                       # equal, to whole rows at either end


def test_a_gpu_has_one_tile(cupy_standin):
    arena = Arena({"W": Parameter(np.zeros((900, 900)))}, device("cuda"))
    assert [len(tiles) for tiles in arena.tiles(1)] == [1]


# ── a training step ───────────────────────────────────────────────────────────────────────────


def vae(threads: int, **options):
    model = VAEConfig(40, (30,), 3).build(dtype=np.float64, **options)
    model.workers = Workers(model, rows_each=1)
    model.workers.hire(threads)
    return model


def steps(model, n: int = 3) -> bytes:
    rng = np.random.default_rng(0)
    for step in range(n):
        model.train_step(np.random.default_rng(step).random((10, 40)), rng)
    return model.arena.value.tobytes()


def test_the_same_threads_give_the_same_bits_whoever_is_late(monkeypatch):
    """A hundred runs: every layer and every tile waits as long as chance will have it, in every thread."""
    monkeypatch.setattr("minivae.nn.arena.TILE", 500)
    monkeypatch.setattr("minivae.nn.arena.LEAST", 500)
    late, forwards, make = random.Random(0), Linear.__call__, Tile.make
    found = {steps(vae(3))}

    def wait():
        if late.random() < 0.3:
            time.sleep(late.random() * 1e-3)

    monkeypatch.setattr(Linear, "__call__", lambda layer, x: (wait(), forwards(layer, x))[1])
    monkeypatch.setattr(Tile, "make", lambda tile: (wait(), make(tile))[1])
    for _ in range(100):
        found.add(steps(vae(3)))
    assert len(found) == 1


@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_step_by_tiles_is_the_gradient_and_then_the_step(threads, max_norm, monkeypatch):
    """The textbook's order: the whole gradient, and then Adam on all of it."""
    monkeypatch.setattr("minivae.nn.arena.TILE", 500)
    monkeypatch.setattr("minivae.nn.arena.LEAST", 500)
    tiled, plain = (vae(n, optimizer=Adam(max_norm=max_norm)) for n in (threads, 1))
    x, eps = RNG.random((10, 40)), np.random.default_rng(5).standard_normal((1, 10, 3))
    tiled.train_step(x, np.random.default_rng(5))
    plain.arena.zero_grad()
    plain.objective(plain, x=x, eps=eps, weight=0.1, step=0)
    plain.optimizer.step(plain.arena)
    np.testing.assert_allclose(tiled.arena.grad, plain.arena.grad, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(tiled.arena.value, plain.arena.value, rtol=1e-10, atol=1e-10)


def test_after_a_step_nothing_is_owed():
    model = vae(2)
    steps(model, 1)
    assert not any(p._owed for copy in model.workers.copies for p in copy.arena.parameters.values())


def test_a_network_that_does_not_exist_cannot_move():
    model = vae(1)
    before = model.arena.value.copy()
    with pytest.raises(ValueError, match=r"names: got \['critic'\], expected some of \['vae'\]"):
        model.workers.step(lambda model, rows: (), 4, names=["critic"])
    assert np.array_equal(model.arena.value, before)


# ── no float64 in a float32 step ──────────────────────────────────────────────────────────────


class Watched(np.ndarray):
    """An array that notes the dtype of every array that is computed with it (but for those within NumPy's Python)."""

    seen: ClassVar[set[str]] = set()

    def __array_finalize__(self, source):
        if self.dtype.kind == "f" and self.ndim and not sys._getframe(1).f_globals["__name__"].startswith("numpy"):
            self.seen.add(str(self.dtype))


class WatchedNoise:
    """A generator of watched noise."""

    def standard_normal(self, size, dtype):
        return np.random.default_rng(0).standard_normal(size, dtype=dtype).view(Watched)


@pytest.mark.parametrize("options", [
    {}, {"samples": 3}, {"likelihood": "gaussian_shared"}, {"likelihood": "gaussian_pixel"}, {"posterior": "full"},
    {"prior": "mixture"}, {"prior": "vamp"}, {"activation": "gelu"}], ids=str)
def test_no_number_of_a_step_is_longer_than_the_parameters(options, monkeypatch):
    monkeypatch.setattr(Watched, "seen", set())
    how = {key: options[key] for key in ("samples",) if key in options}
    model = VAEConfig(12, (9,), 3, **{key: options[key] for key in options.keys() - how}).build(**how)
    for p in model.arena.parameters.values():
        p.value = p.value.view(Watched)
    x = np.random.default_rng(1).random((6, 12), dtype=np.float32).round()
    model.train_step(x.view(Watched), WatchedNoise())
    assert Watched.seen == {"float32"}


@pytest.mark.parametrize(("numbers", "owes", "threads"), [(2**17, False, 1), (2**17, True, 2), (2**19, False, 2)])
def test_threads_share_what_is_worth_waking_them(numbers, owes, threads):
    """To move a hundred thousand numbers takes as long as to wake a thread; to make their gradients, longer."""
    arena, seen = Arena({"W": Parameter(np.zeros((8, numbers // 8)))}, device("cpu")), set()
    arena.zero_grad(owes=True)
    p = arena.parameters["W"]
    p.add(Product(np.ones((8, 1)), np.ones((1, numbers // 8))) if owes else np.ones_like(p.value))
    arena.by_tiles(lambda tile: seen.add(threading.get_ident()), Team(2))
    assert len(seen) == threads
    assert (arena.grad == 1.0).all()


def test_a_learning_rate_that_is_none_is_refused_before_any_network_moves():
    model = VAEGANConfig(VAEConfig(4, (3,), 2)).build()
    last = list(model.networks.values())[-1]
    last.optimizer.lr = lambda step: float("nan")
    before = [network.arena.value.copy() for network in model.networks.values()]
    steps = [network.optimizer.steps for network in model.networks.values()]
    with pytest.raises(ValueError, match="lr: the schedule gave nan at step 0"):
        model.train_step(RNG.random((4, 4)).astype(np.float32), np.random.default_rng(0))
    assert steps == [network.optimizer.steps for network in model.networks.values()]
    assert all(np.array_equal(a, network.arena.value) for a, network in zip(before, model.networks.values()))
