"""For each of the eight a check: it takes a module, and raises AssertionError if that module makes the mistake.

A check returns None if the mistake is not there, however the module is written.  Draw whatever you draw from generators
that you seed, and end within 5 seconds.
"""

import numpy as np


def images(count=8, pixels=6, seed=1):
    """Black and white pixels, (count, pixels)"""
    return np.random.default_rng(seed).integers(0, 2, (count, pixels)).astype(float)


def model(vae, pixels=6, hidden=5, latents=2, seed=0):
    """A small VAE of that module"""
    return vae.VAE(pixels, hidden, latents, np.random.default_rng(seed))


def difference(f, array, index, h=1e-5):
    """∂f/∂array[index] by central differences; f is called twice and must draw the same numbers both times."""
    was = array[index]
    array[index] = was + h
    up = f()
    array[index] = was - h
    down = f()
    array[index] = was
    return (up - down) / (2.0 * h)


def check_bug1(vae):
    """Raises AssertionError if the module makes the mistake of bug1."""
    x = images()
    trained, asked = model(vae), model(vae)
    trained.train_step(x, np.random.default_rng(2))
    _, pullback = asked.terms(x, np.random.default_rng(2))
    pullback(np.full(len(x), 1.0 / len(x)), np.full(len(x), asked.beta / len(x)))
    for name, gradient in asked.grads.items():
        np.testing.assert_allclose(trained.grads[name], gradient, rtol=1e-8, atol=1e-10)


def check_bug2(vae):
    """Raises AssertionError if the module makes the mistake of bug2."""
    def walk(some, steps):
        for step in steps:
            some.train_step(images(seed=step), np.random.default_rng(step))

    straight, first, second = model(vae), model(vae), model(vae, seed=7)
    walk(straight, range(20))
    walk(first, range(10))
    second.load(first.state())
    walk(second, range(10, 20))
    for name, weights in straight.weights.items():
        np.testing.assert_allclose(second.weights[name], weights, rtol=1e-8, atol=1e-10)


def check_bug3(vae):
    """Raises AssertionError if the module makes the mistake of bug3."""
    for far in (20.0, 40.0, 300.0):
        nll, pullback = vae.bernoulli_nll(np.array([[-far], [far]]), np.array([[1.0], [0.0]]))
        np.testing.assert_allclose(nll, far, rtol=1e-6)
        np.testing.assert_allclose(pullback(np.ones(2)), [[-1.0], [1.0]], rtol=1e-6)


def check_bug4(vae):
    """Raises AssertionError if the module makes the mistake of bug4."""
    mean, logvar, weight = np.random.default_rng(3).standard_normal((3, 2, 3))

    def f():
        return (weight * vae.reparameterize(mean, logvar, np.random.default_rng(4))[0]).sum()

    _, pullback = vae.reparameterize(mean, logvar, np.random.default_rng(4))
    for array, gradient in zip((mean, logvar), pullback(weight)):
        for index in np.ndindex(array.shape):
            np.testing.assert_allclose(gradient[index], difference(f, array, index), rtol=1e-5, atol=1e-8)


def check_bug5(vae):
    """Raises AssertionError if the module makes the mistake of bug5."""
    some, x = model(vae), images()
    some.beta = 5.0
    nll, kl = some.terms(x, np.random.default_rng(5))[0]
    told = some.train_step(x, np.random.default_rng(5))
    np.testing.assert_allclose(told["elbo"], -(nll + kl).mean(), rtol=1e-8)


def check_bug6(vae):
    """Raises AssertionError if the module makes the mistake of bug6."""
    for logvar in (-2.0, 1.0):
        z, _ = vae.reparameterize(np.zeros((100_000, 1)), np.full((100_000, 1), logvar), np.random.default_rng(6))
        np.testing.assert_allclose(z.var(), np.exp(logvar), rtol=0.05)


def check_bug7(vae):
    """Raises AssertionError if the module makes the mistake of bug7."""
    some, x, count = model(vae), images(), 50
    log_w = some.log_weights(x, np.random.default_rng(7), count)
    nll = some.nll(x, np.random.default_rng(7), count)
    np.testing.assert_allclose(np.exp(-nll), np.exp(log_w).mean(axis=0), rtol=1e-6)
    assert (nll <= -log_w.mean(axis=0) + 1e-9).all(), "log of a mean lies above the mean of logs"


def check_bug8(vae):
    """Raises AssertionError if the module makes the mistake of bug8."""
    x, dy = np.random.default_rng(8).standard_normal((2, 4, 3))
    y, pullback = vae.activate(x)
    was, first = y.copy(), np.array(pullback(dy))
    np.testing.assert_array_equal(y, was)
    np.testing.assert_allclose(pullback(dy), first, rtol=1e-12)
