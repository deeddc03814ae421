"""Posteriors beyond the diagonal: their draws, densities and determinants are what the maths says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from minivae.backend import device
from minivae.distributions import flows, gaussian_kl, gaussian_log_prob, standard_normal_log_prob
from minivae.distributions import full_gaussian as F
from minivae.evaluation import importance_weighted_bound
from minivae.nn import Linear
from minivae.parts import CouplingFlow, FullCovariance, GaussianFixed, PlanarFlow, closed_form_kl
from minivae.vae import VAE
from minivae.variants import VAEConfig

MEAN = np.array([[0.5, -1.0]])
L = np.array([[[0.8, 0.0], [0.6, 0.3]]])


@pytest.fixture
def rng():
    return np.random.default_rng(11)


# ── the full Gaussian ─────────────────────────────────────────────────────────────────────────


def test_its_draws_have_the_mean_and_covariance_they_should(rng):
    """200,000 draws, within 5 standard errors."""
    eps = rng.standard_normal((200_000, 2))
    z = F.reparameterize_full(np.repeat(MEAN, len(eps), 0), np.repeat(L, len(eps), 0), eps=eps)[0]
    assert (np.abs(z.mean(axis=0) - MEAN[0]) < 5 * z.std(axis=0) / np.sqrt(len(z))).all()
    products = np.einsum("ni,nj->nij", z - MEAN, z - MEAN)
    error = products.std(axis=0) / np.sqrt(len(z))
    assert (np.abs(products.mean(axis=0) - L[0] @ L[0].T) < 5 * error).all()


def test_its_density_is_scipys_and_integrates_to_one():
    line = np.linspace(-8, 8, 801)
    z = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    log_p = F.full_gaussian_log_prob(z, np.repeat(MEAN, len(z), 0), np.repeat(L, len(z), 0))[0]
    assert np.exp(log_p).sum() * (line[1] - line[0]) ** 2 == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(log_p, stats.multivariate_normal(MEAN[0], L[0] @ L[0].T).logpdf(z), rtol=1e-9, atol=1e-9)


def test_kl_and_entropy_equal_monte_carlo(rng):
    eps = rng.standard_normal((100_000, 2))
    means, Ls = np.repeat(MEAN, len(eps), 0), np.repeat(L, len(eps), 0)
    z = F.reparameterize_full(means, Ls, eps=eps)[0]
    log_q = F.full_gaussian_log_prob(z, means, Ls)[0]
    for values, closed in ((log_q - standard_normal_log_prob(z)[0], F.full_gaussian_kl(MEAN, L)[0][0]),
                           (-log_q, F.full_gaussian_entropy(L)[0][0])):
        assert abs(values.mean() - closed) < 5 * values.std() / np.sqrt(len(values))


def test_the_density_of_a_draw_by_the_change_of_variables(rng):
    eps, means, Ls = rng.standard_normal((6, 2)), np.repeat(MEAN, 6, 0), np.repeat(L, 6, 0)
    z = F.reparameterize_full(means, Ls, eps=eps)[0]
    by_change = standard_normal_log_prob(eps)[0] - F.logdet(Ls)[0]
    np.testing.assert_allclose(F.full_gaussian_log_prob(z, means, Ls)[0], by_change, rtol=1e-12)


def test_the_diagonal_is_a_special_case(rng):
    mean, logvar, z = rng.standard_normal((3, 4, 3))
    diagonal = np.exp(0.5 * logvar)[:, :, None] * np.eye(3)
    np.testing.assert_allclose(F.full_gaussian_kl(mean, diagonal)[0], gaussian_kl(mean, logvar)[0], rtol=1e-12)
    np.testing.assert_allclose(F.full_gaussian_log_prob(z, mean, diagonal)[0],
                               gaussian_log_prob(z, mean, logvar)[0], rtol=1e-12)


def test_moments_are_those_of_the_draws(rng):
    q = FullCovariance(3)
    outputs = rng.standard_normal((2, q.outputs))
    mean, logvar = q.moments(outputs)
    z = q(np.repeat(outputs, 50_000, 0), eps=rng.standard_normal((100_000, 3)))[0][0].reshape(2, 50_000, 3)
    np.testing.assert_allclose(z.mean(axis=1), mean, atol=0.1)
    np.testing.assert_allclose(z.var(axis=1), np.exp(logvar), rtol=0.05)


# ── an exactly known model with correlated posteriors ─────────────────────────────────────────


def correlated(X=6, Z=3, sigma=0.5):
    """x = z W + noise, the rows of W not orthogonal: a VAE at the exact posterior, its images, log p(x)."""
    rng = np.random.default_rng(3)
    W = rng.standard_normal((Z, X))
    S = np.linalg.inv(np.eye(Z) + W @ W.T / sigma**2)              # the posterior's covariance, for every x
    factor = np.linalg.cholesky(S)
    raw = np.concatenate([np.log(np.diag(factor)), factor[np.tril_indices(Z, -1)]])
    q = FullCovariance(Z)
    vae = VAE(Linear(X, q.outputs, rng=rng), Linear(Z, X, rng=rng), GaussianFixed(sigma), posterior=q,
              pixels=X, latents=Z, device=device("cpu"), dtype=np.float64)
    vae.arena.load({"encoder.W": np.concatenate([W.T @ S / sigma**2, np.zeros((X, len(raw)))], axis=1),
                    "encoder.b": np.concatenate([np.zeros(Z), raw]), "decoder.W": W, "decoder.b": np.zeros(X)})
    x = rng.standard_normal((20, Z)) @ W + sigma * rng.standard_normal((20, X))
    return vae, x, stats.multivariate_normal(np.zeros(X), W.T @ W + sigma**2 * np.eye(X)).logpdf(x), S


def exact_eps(Z, B):
    """2Z 'draws' with mean 0 and covariance I: averages of quadratics are exact."""
    points = np.sqrt(Z) * np.concatenate([np.eye(Z), -np.eye(Z)])
    return np.repeat(points[:, None], B, axis=1)


def test_at_the_exact_posterior_every_draw_says_log_p(rng):
    vae, x, log_p, _ = correlated()
    (nll, kl), _ = vae.monte_carlo_terms(x=x, eps=rng.standard_normal((7, 20, 3)))
    np.testing.assert_allclose(-(nll + kl).reshape(7, 20), np.tile(log_p, (7, 1)), atol=1e-10)
    (nll, kl), _ = vae.elbo_terms(x=x, eps=exact_eps(3, 20))
    np.testing.assert_allclose(-(nll + kl), log_p, atol=1e-10)
    assert importance_weighted_bound(vae, x, samples=3).mean == pytest.approx(log_p.mean(), abs=1e-10)


def test_the_best_diagonal_is_lower_by_exactly_its_kl():
    """Its mean is right and its precisions are the diagonal of S⁻¹; the KL is ½ (log |D| − log |S|) then."""
    vae, x, log_p, S = correlated()
    variance = 1.0 / np.diag(np.linalg.inv(S))
    bias = vae.arena.parameters["encoder.b"].value
    bias[3:6], bias[6:] = 0.5 * np.log(variance), 0.0
    (nll, kl), _ = vae.elbo_terms(x=x, eps=exact_eps(3, 20))
    gap = 0.5 * (np.trace(np.linalg.solve(S, np.diag(variance))) - 3
                 + np.linalg.slogdet(S)[1] - np.log(variance).sum())
    assert gap > 0.05, "or the posterior would be diagonal anyway"
    np.testing.assert_allclose(log_p + nll + kl, gap, atol=1e-10)


# ── flows ─────────────────────────────────────────────────────────────────────────────────────


def jacobian(f, z, h=1e-6):
    """∂f/∂z at one point by central differences        (Z,) -> (Z, Z)"""
    return np.stack([(f(z + h * e) - f(z - h * e)) / (2 * h) for e in np.eye(len(z))], axis=1)


MAPS = {
    "affine": lambda rng: (flows.affine, rng.standard_normal((2, 1, 3))),
    "couple": lambda rng: (flows.couple, rng.standard_normal((2, 1, 3))),
    "planar": lambda rng: (flows.planar, [*rng.standard_normal((2, 1, 3)), rng.standard_normal((1, 1))]),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_logdet_is_that_of_the_numeric_jacobian(name, rng):
    for _ in range(20):
        op, parameters = MAPS[name](rng)
        z = rng.standard_normal(3)
        (_, logdet), _ = op(z[None], *parameters)
        sign, numeric = np.linalg.slogdet(jacobian(lambda v, op=op, p=parameters: op(v[None], *p)[0][0][0], z))
        assert sign == 1.0
        assert logdet[0] == pytest.approx(numeric, abs=1e-6)


@pytest.mark.parametrize("offset", [0.0, flows.STILL])
def test_the_logdet_of_a_planar_map_in_float32_is_that_of_the_maths(offset, rng):
    """Where space is squeezed most, wᵀz = −b and wᵀu far below 0, 1 + (1 − tanh²) wᵀû would round to 0, or below."""
    z, u, w = rng.standard_normal((3, 20_000, 10)) * np.array([1.0, 5.0, 2.2])[:, None, None]
    b = 0.01 * rng.standard_normal((20_000, 1)) - (w * z).sum(axis=1, keepdims=True)
    z, u, w, b = (part.astype(np.float32) for part in (z, u, w, b))
    (_, logdet), _ = flows.planar(z, u, w, b, offset=offset)
    z, u, w, b = (part.astype(np.float64) for part in (z, u, w, b))
    t = np.tanh((w * z).sum(axis=1) + b[:, 0])
    exact = np.log(t * t + (1.0 - t * t) * np.logaddexp((w * u).sum(axis=1) + offset, 0.0))
    assert np.isfinite(logdet).all()
    assert np.abs(np.exp(logdet) - np.exp(exact)).max() < 1e-3 * np.exp(exact).max()
    assert np.median(np.abs(logdet - exact)) < 1e-4


def test_a_planar_map_is_undone_by_bisection_along_w(rng):
    """y ↦ z: wᵀz solves wᵀy = a + wᵀû tanh(a + b), which rises; then z = y − û tanh.  And q(z) ∝ 1/|det| there."""
    u, w, z = 2.0 * rng.standard_normal((3, 50, 3))
    b = rng.standard_normal((50, 1))
    (y, logdet), _ = flows.planar(z, u, w, b)
    inner, square = (w * u).sum(axis=1), (w * w).sum(axis=1)
    reach = np.logaddexp(inner, 0.0) - 1.0
    u_hat = u + ((reach - inner) / square)[:, None] * w
    along_y = (w * y).sum(axis=1)
    low, high = along_y - np.abs(reach) - 1.0, along_y + np.abs(reach) + 1.0
    for _ in range(80):
        a = 0.5 * (low + high)
        above = a + reach * np.tanh(a + b[:, 0]) > along_y
        low, high = np.where(above, low, a), np.where(above, a, high)
    np.testing.assert_allclose(y - u_hat * np.tanh(a + b[:, 0])[:, None], z, atol=1e-6)
    np.testing.assert_allclose(np.exp(logdet), 1.0 + (1.0 - np.tanh(a + b[:, 0]) ** 2) * reach, rtol=1e-5)


def test_a_planar_map_with_u_zero_is_the_identity_if_it_is_still(rng):
    """With the paper's m it is not; and for a small w the paper's û grows like 1/‖w‖, ours does not."""
    z, w, b = rng.standard_normal((4, 3)), rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    (y, logdet), _ = flows.planar(z, np.zeros_like(z), w, b, offset=flows.STILL)
    np.testing.assert_allclose(y, z, atol=1e-12)
    np.testing.assert_allclose(logdet, 0.0, atol=1e-12)
    assert np.abs(flows.planar(z, np.zeros_like(z), w, b)[0][1]).min() > 1e-3
    u, tiny = rng.standard_normal((4, 3)), 1e-4 * w
    moved = [np.abs(flows.planar(z, u, tiny, b, offset=offset)[0][0] - z).max() for offset in (flows.STILL, 0.0)]
    assert moved[0] <= np.linalg.norm(u, axis=1).max()
    assert moved[1] > 100.0


def test_a_chain_is_its_maps_one_after_the_other(rng):
    z, mean, logvar, u, w, raw, shift = rng.standard_normal((7, 5, 3))
    b = rng.standard_normal((5, 1))
    maps = ((flows.affine, 2), (flows.planar, 3), (flows.couple, 2))
    (y, logdet), _ = flows.chain(z, mean, logvar, u, w, b, raw, shift, maps=maps)
    (one, first), _ = flows.affine(z, mean, logvar)
    (two, second), _ = flows.planar(one, u, w, b)
    (three, third), _ = flows.couple(two, raw, shift)
    np.testing.assert_array_equal(y, three)
    np.testing.assert_allclose(logdet, first + second + third, rtol=1e-12)
    for i in range(5):
        own = [part[i:i + 1] for part in (mean, logvar, u, w, b, raw, shift)]
        numeric = jacobian(lambda v, own=own: flows.chain(v[None], *own, maps=maps)[0][0][0], z[i])
        assert logdet[i] == pytest.approx(np.linalg.slogdet(numeric)[1], abs=1e-6)


@pytest.mark.parametrize("name", ["planar", "coupling"])
def test_an_untrained_flow_is_nearly_its_base(name, rng):
    """For images of a whole network's size: z moves by less than a fifth of the base's spread."""
    vae = VAEConfig(784, (200,), 10, "tanh", posterior=name).build(dtype=np.float64)
    outputs = vae.encoder(1.0 * (rng.random((100, 784)) < 0.2))[0]
    eps = rng.standard_normal((100, 10))
    (z, logdet), _ = vae.posterior(outputs, eps=eps)
    (base, stretch), _ = flows.affine(eps, outputs[:, :10], outputs[:, 10:20])
    assert 0.0 < np.sqrt(np.square(z - base).mean()) < 0.2 * base.std()
    assert np.abs(logdet - stretch).mean() < 0.5


def posteriors(rng):
    return {"full": FullCovariance(2), "planar": PlanarFlow(2, steps=3),
            "coupling": CouplingFlow(2, steps=3, context=2, hidden=5, rng=rng)}


@pytest.mark.parametrize("name", ["full", "planar", "coupling"])
def test_a_whole_posterior_s_logdet_and_that_its_density_integrates_to_one(name, rng):
    """∫ q(z) dz, a sum over small squares of ε and what becomes of them: q, from logdet, times their new area."""
    q = posteriors(rng)[name]
    for p in q.parameters().values():
        p.value[...] = 0.7 * rng.standard_normal(p.value.shape)
    outputs = 0.7 * rng.standard_normal((1, q.outputs))

    def g(eps):
        return q(np.repeat(outputs, len(eps), 0), eps=eps)[0]

    for eps in rng.standard_normal((5, 2)):
        numeric = np.linalg.slogdet(jacobian(lambda v: g(v[None])[0][0], eps))[1]
        assert g(eps[None])[1][0] == pytest.approx(numeric, abs=1e-5)
    line = np.linspace(-5.5, 5.5, 500)                              # corners of the squares, mapped
    corners = g(np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2))[0].reshape(500, 500, 2)
    a, b, c, d = corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]
    cross = (c - a)[..., 0] * (d - b)[..., 1] - (c - a)[..., 1] * (d - b)[..., 0]
    area = 0.5 * np.abs(cross)                                      # of each mapped square, by its diagonals
    middle = 0.5 * (line[1:] + line[:-1])
    eps = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 2)
    log_q = standard_normal_log_prob(eps)[0] - g(eps)[1]
    assert (np.exp(log_q) * area.reshape(-1)).sum() == pytest.approx(1.0, abs=1e-3)


def test_a_planar_map_rises_along_w_whatever_u_is(rng):
    """Invertible: along w the derivative 1 + (1 − tanh²) wᵀû stays above 0."""
    for _ in range(50):
        u, w = 5.0 * rng.standard_normal((2, 1, 3))
        z = rng.standard_normal((1, 3)) + np.linspace(-3, 3, 200)[:, None] * w / np.linalg.norm(w)
        y = flows.planar(z, np.repeat(u, 200, 0), np.repeat(w, 200, 0), np.zeros((200, 1)))[0][0]
        assert (np.diff(y @ w[0]) > 0).all()


def test_a_coupling_is_undone_in_closed_form(rng):
    z, raw, shift = rng.standard_normal((3, 4, 2))
    (y, logdet), _ = flows.couple(z, raw, shift)
    np.testing.assert_allclose((y - shift) * np.exp(-2.0 * np.tanh(0.5 * raw)), z, rtol=1e-12)
    assert (np.abs(logdet) < 4.0).all()


@pytest.mark.parametrize("name", ["full", "rank_one", "planar", "coupling"])
def test_a_model_trains_and_does_what_every_model_does(name, rng):
    vae = VAEConfig(8, (6,), 3, "tanh", posterior=name).build(samples=2)
    x = (rng.random((20, 8)) < 0.5).astype(np.float32)
    before = vae.arena.value.copy()
    told = vae.train_step(x, np.random.default_rng(0))
    assert told["elbo"] == pytest.approx(-(told["nll"] + told["kl"]), rel=1e-5)
    assert not np.array_equal(before, vae.arena.value)
    assert vae.sample(3, np.random.default_rng(1)).shape == (3, 8)
    assert vae.reconstruct(x, np.random.default_rng(1)).shape == x.shape
    assert [part.shape for part in vae.encode(x)] == [(20, 3), (20, 3)]
    assert vae.log_weights(x, np.random.default_rng(1), 4).shape == (4, 20)
    assert (closed_form_kl(vae.posterior, vae.prior) is None) == (name in ("planar", "coupling"))
    with pytest.raises(ValueError, match="free bits need a diagonal posterior"):
        vae.elbo_terms_by_latent(x=x, eps=None)


@pytest.mark.parametrize(("make", "said"), [
    (lambda: VAEConfig(8, (6,), 3, posterior="fancy"), "posterior: got 'fancy', expected one of diagonal, full"),
    (lambda: PlanarFlow(3, steps=0), "steps: got 0"),
    (lambda: CouplingFlow(1, rng=np.random.default_rng(0)), "got 1 latents and 4 steps, expected at least 2"),
    (lambda: flows.chain(*np.zeros((4, 2, 3)), maps=((flows.affine, 2),)), "got 3 parameters, expected 2"),
    (lambda: F.triangle(np.zeros((2, 5)), latents=3), r"raw has shape \(2, 5\), expected \(B, 6\) for 3 latents"),
    (lambda: F.full_gaussian_kl(np.zeros((2, 3)), np.zeros((2, 3, 2))), r"L has shape \(2, 3, 2\)"),
])
def test_bad_input_is_explained(make, said):
    with pytest.raises(ValueError, match=said):
        make()
