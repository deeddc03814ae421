"""The Gaussian mixture VAE: what the maths says of its values, who hears what, and what PyTorch says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from minivae.batch import Batch
from minivae.data import load
from minivae.distributions import gaussian_kl_between
from minivae.evaluation import Estimate, evaluate_mixture, log_likelihoods
from minivae.nn import Adam
from minivae.training import fit, start_at_clusters
from minivae.variants import GMVAEConfig, MixtureBound, VAEConfig

X, Z, W, K, B = 4, 2, 1, 3, 5
RNG = np.random.default_rng(0)
IMAGES, EPS = 1.0 * (RNG.random((B, X)) < 0.5), RNG.standard_normal((1, B, Z + W))


def model(seed=0, components=K, size=(X, Z, W), wide=0.5, objective=None, **options):
    """A small one, its parameters moved away from where they are born."""
    x, z, w = size
    found = GMVAEConfig(x, (4,), z, "tanh", components=components, w_latents=w, **options).build(
        dtype=np.float64, seed=seed, objective=objective)
    found.arena.value[...] += wide * np.random.default_rng(seed + 1).standard_normal(found.arena.value.shape)
    return found


def drawn(m, x=IMAGES, eps=EPS):
    """mean, std of q; z, w; means and stds of all components (B, K, Z): by hand"""
    mean, logvar = m.q(x=x)[0]
    z, w = np.split(mean + np.exp(0.5 * logvar) * eps[0], [m.sizes[0]], axis=1)
    means, logvars = m.given_w(w)[0]
    return mean, np.exp(0.5 * logvar), z, w, means, np.exp(0.5 * logvars)


def responsibilities(z, means, stds):
    p = stats.norm.pdf(z[:, None], means, stds).prod(axis=2)
    return p / p.sum(axis=1, keepdims=True)


# ── the bound ─────────────────────────────────────────────────────────────────────────────────


def test_at_one_draw_the_four_terms_are_log_p_less_log_q_averaged_over_c():
    """… and whatever c is: by Bayes' rule log p(x, z, w, c) − log q(z, w, c|x) does not depend on it."""
    m = model()
    mean, std, z, w, means, stds = drawn(m)
    r = responsibilities(z, means, stds)
    log_q = stats.norm.logpdf(np.hstack([z, w]), mean, std).sum(axis=1)[:, None] + np.log(r)
    log_p_x = -m.likelihood(m.decoder(np.hstack([z, w]))[0], x=IMAGES)[0]
    log_p_z = stats.norm.logpdf(z[:, None], means, stds).sum(axis=2)
    log_p = (log_p_x + stats.norm.logpdf(w).sum(axis=1))[:, None] + np.log(1 / K) + log_p_z            # (B, K)
    (nll, kl), _ = m.monte_carlo_terms(x=IMAGES, eps=EPS)
    np.testing.assert_allclose(-(nll + kl), (r * (log_p - log_q)).sum(axis=1), rtol=0, atol=1e-10)
    np.testing.assert_allclose(log_p - log_q, np.tile(-(nll + kl)[:, None], K), rtol=0, atol=1e-9)
    q_z = stats.norm.logpdf(z, mean[:, :Z], std[:, :Z]).sum(axis=1)                  # the four, each at its one draw
    one_draw = [-log_p_x, (r * (q_z[:, None] - log_p_z)).sum(axis=1),
                (stats.norm.logpdf(w, mean[:, Z:], std[:, Z:]) - stats.norm.logpdf(w)).sum(axis=1),
                (r * np.log(K * r)).sum(axis=1)]
    np.testing.assert_allclose(sum(one_draw), nll + kl, rtol=0, atol=1e-10)
    (four_nll, _, _, kl_c), _ = m.four_terms(x=IMAGES, eps=EPS)
    np.testing.assert_allclose([four_nll, kl_c], [one_draw[0], one_draw[3]], rtol=0, atol=1e-10)


def test_its_weights_average_to_p_of_x():
    """log p(x) = log ∫∫ p(x|z) p(z|w) p(w) dz dw over a grid, with one latent each."""
    m = model(size=(X, 1, 1), wide=0.7)
    for head, bias in ((m.encoder.mean, 0.0), (m.encoder.logvar, np.log(4.0))):      # q proposes z and w all over
        head.W.value[...], head.b.value[...] = 0.0, bias
    line = np.linspace(-9.0, 9.0, 500)
    z, w = (a.reshape(-1, 1) for a in np.meshgrid(line, line))
    log_prior = m.prior.log_prob(np.hstack([z, w]))[0]
    cell = (line[1] - line[0]) ** 2
    assert np.exp(log_prior).sum() * cell == pytest.approx(1.0, abs=1e-3)
    outputs = m.decoder(np.hstack([line[:, None], line[:, None]]))[0]                # of z alone
    truth = [np.log(np.exp(log_prior - np.tile(m.likelihood(outputs, x=np.tile(row, (500, 1)))[0], 500)).sum() * cell)
             for row in IMAGES]
    found = np.array([log_likelihoods(m, IMAGES, samples=2000, seed=seed) for seed in range(5)])
    assert (np.abs(found.mean(axis=0) - truth) < 5 * found.std(axis=0) / np.sqrt(5) + 1e-2).all()


def test_of_one_component_it_is_a_vae_of_two_layers():
    """z given w is one Gaussian: nll + KL(q(z|x) ‖ p(z|w)) + KL(q(w|x) ‖ N(0, I)), and nothing for c."""
    m = model(components=1)
    mean, std, _, _, means, stds = drawn(m)
    (_, kl_z, kl_w, kl_c), _ = m.four_terms(x=IMAGES, eps=EPS)
    logvar = 2.0 * np.log(std)
    np.testing.assert_allclose(kl_z, gaussian_kl_between(mean[:, :Z], logvar[:, :Z], means[:, 0],
                                                         2.0 * np.log(stds[:, 0]))[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(kl_w, gaussian_kl_between(mean[:, Z:], logvar[:, Z:], *np.zeros((2, B, W)))[0],
                               rtol=0, atol=1e-12)
    assert np.array_equal(kl_c, np.zeros(B))
    drawn_often = [m.monte_carlo_terms(x=IMAGES[:1], eps=RNG.standard_normal((400, 1, Z + W)))[0] for _ in range(20)]
    closed = [m.four_terms(x=IMAGES[:1], eps=RNG.standard_normal((400, 1, Z + W)))[0] for _ in range(20)]
    one, two = (Estimate.of(np.array([np.sum([t.mean() for t in terms]) for terms in many]))
                for many in (drawn_often, closed))
    assert abs(one.mean - two.mean) < 5 * np.hypot(one.standard_error, two.standard_error)     # no c, no gap


def test_with_c_summed_out_the_bound_is_higher_by_what_two_draws_disagree_on():
    """E KL( p(c|z', w) ‖ p(c|z, w) ), z and z' ~ q(z|x); and evaluate_mixture prints it."""
    m, rng = model(wide=0.8), np.random.default_rng(1)
    x = np.repeat(IMAGES[:1], 4000, axis=0)
    eps = rng.standard_normal((1, 4000, Z + W))
    _, _, z, _, means, stds = drawn(m, x, eps)
    again = drawn(m, x, np.concatenate([rng.standard_normal((1, 4000, Z)), eps[:, :, Z:]], axis=2))[2]
    first, second = responsibilities(z, means, stds), responsibilities(again, means, stds)
    expected = Estimate.of((first * np.log(first / second)).sum(axis=1))
    bounds = [-sum(bound(x=x, eps=eps)[0]) for bound in (m.monte_carlo_terms, m.four_terms)]
    higher, found = Estimate.of(bounds[0] - bounds[1]), evaluate_mixture(m, x)
    assert expected.mean > 0.02
    for gap in (higher, found.gap):
        assert abs(gap.mean - expected.mean) < 5 * np.hypot(gap.standard_error, expected.standard_error)
    assert f"with c summed out {found.gap} more" in str(found)


def test_responsibilities_are_bayes_rule_at_the_means():
    m = model()
    _, _, z, _, means, stds = drawn(m, eps=np.zeros_like(EPS))
    r = m.responsibilities(IMAGES)
    np.testing.assert_allclose(r, responsibilities(z, means, stds), rtol=0, atol=1e-12)
    np.testing.assert_allclose(r.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert np.array_equal(m.codes(IMAGES), m.encode(IMAGES)[0][:, :Z])


# ── draws ─────────────────────────────────────────────────────────────────────────────────────


def test_draws_come_from_the_components():
    m = model()
    for head in (m.given_w.network.mean, m.given_w.network.logvar):
        head.W.value[...] = 0.0                        # the components do not listen to w
    at = m.given_w.network.mean.b.value.reshape(K, Z)
    variance = np.exp(m.given_w.network.logvar.b.value.reshape(K, Z))
    n, rng = 20_000, np.random.default_rng(0)
    for k in range(K):
        z, w = np.split(m.prior.sample_of(np.full(n, k), rng, dtype=np.float64), [Z], axis=1)
        assert (np.abs(z.mean(axis=0) - at[k]) < 5 * np.sqrt(variance[k] / n)).all()
        np.testing.assert_allclose(z.var(axis=0), variance[k], rtol=5 * np.sqrt(2 / n))
        assert abs(w.mean()) < 5 / np.sqrt(n)
    z = m.prior.sample(n, rng, dtype=np.float64)[:, :Z]
    error = np.sqrt((variance + at**2).mean(axis=0) / n)
    assert (np.abs(z.mean(axis=0) - at.mean(axis=0)) < 5 * error).all()
    assert m.sample_clusters(2, rng).shape == (2 * K, X)
    assert m.sample(3, rng).shape == (3, X)


# ── who hears what ────────────────────────────────────────────────────────────────────────────


def gradient(m, objective, step=0):
    m.arena.zero_grad()
    objective(m, x=IMAGES, eps=EPS, weight=1.0 / B, step=step)
    return m.arena.grad.copy()


def pulled(m, *weights):
    m.arena.zero_grad()
    _, pullback = m.four_terms(x=IMAGES, eps=EPS)
    pullback(*(np.full(B, w / B) for w in weights))
    return m.arena.grad.copy()


def test_below_the_free_information_the_fourth_term_is_not_heard():
    m = model()
    (_, _, _, kl_c), _ = m.four_terms(x=IMAGES, eps=EPS)
    everything, but_c = pulled(m, 1, 1, 1, 1), pulled(m, 1, 1, 1, 0)
    assert np.abs(everything - but_c).max() > 1e-3
    np.testing.assert_allclose(gradient(m, MixtureBound()), everything, rtol=0, atol=1e-15)
    np.testing.assert_allclose(gradient(m, MixtureBound(0.99 * kl_c.mean())), everything, rtol=0, atol=1e-15)
    assert np.array_equal(gradient(m, MixtureBound(1.01 * kl_c.mean())), but_c)
    values = [MixtureBound(least)(m, x=IMAGES, eps=EPS, weight=1.0 / B, step=0) for least in (0.0, 9.0)]
    assert values[0] == values[1]                      # what is reported is the true bound, whatever is charged
    assert dict(zip(MixtureBound.names, values[0]))["elbo"] == pytest.approx(-sum(values[0][i] for i in (1, 3, 4, 5)))
    assert (MixtureBound(0.1).whole_batch, MixtureBound().whole_batch) == (True, False)


def test_the_first_steps_are_a_vae_s_and_leave_the_components_alone():
    m = model(objective=MixtureBound(start_steps=3))
    vae = VAEConfig(X, (4,), Z + W, "tanh").build(dtype=np.float64)
    ours = m.arena.parameters
    for name, p in vae.arena.parameters.items():
        ours_too = ours[name.replace("decoder.", "decoder.network.")].value
        p.value[...] = 0.0
        p.value[tuple(slice(n) for n in ours_too.shape)] = ours_too                  # its decoder hears nothing of w
    (nll, kl), _ = m.start_terms(x=IMAGES, eps=EPS)
    for found, expected in zip((nll, kl), vae.elbo_terms(x=IMAGES, eps=EPS)[0]):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    gradient(m, m.objective, step=2)
    heard = {name.split(".")[0] for name, p in ours.items() if p.grad.any()}
    assert heard == {"encoder", "decoder"}
    gradient(m, m.objective, step=3)
    assert {name.split(".")[0] for name, p in ours.items() if p.grad.any()} == {"encoder", "decoder", "prior"}


def test_components_that_start_alike_stay_alike():
    """The famous failure: all clusters merge, and no gradient ever parts them."""
    m = GMVAEConfig(X, (4,), Z, "tanh", components=K, w_latents=W).build(dtype=np.float64, optimizer=Adam(0.02))
    for p in (*m.given_w.network.mean.parameters().values(), *m.given_w.network.logvar.parameters().values()):
        columns = p.value.reshape(-1, K, Z)
        columns[...] = columns[:, :1]
    rng, data = np.random.default_rng(0), 1.0 * (np.random.default_rng(1).random((40, X)) < 0.5)
    for _ in range(60):
        terms = m.train_step(data, rng)
    for p in m.given_w.network.mean.parameters().values():
        columns = p.value.reshape(-1, K, Z)
        np.testing.assert_allclose(columns, np.repeat(columns[:, :1], K, axis=1), rtol=0, atol=1e-9)
    assert abs(terms["kl_c"]) < 1e-12
    np.testing.assert_allclose(m.responsibilities(data), 1.0 / K, rtol=0, atol=1e-9)


# ── the warm start ────────────────────────────────────────────────────────────────────────────


def test_a_component_is_placed_at_the_moments_of_its_cluster():
    m, clusters = model(), np.array([0, 2, 0, 2, 2])
    before = m.given_w.network.mean.b.value.reshape(K, Z)[1].copy()
    m.place(IMAGES, clusters)
    mean, logvar = (a[:, :Z] for a in m.encode(IMAGES))
    at, spread = (p.value.reshape(K, Z) for p in (m.given_w.network.mean.b, m.given_w.network.logvar.b))
    for k in (0, 2):
        own = clusters == k
        np.testing.assert_allclose(at[k], mean[own].mean(axis=0), rtol=0, atol=1e-12)
        draws = mean[own] + np.exp(0.5 * logvar[own]) * np.random.default_rng(0).standard_normal((40_000, own.sum(), Z))
        np.testing.assert_allclose(np.exp(spread[k]), draws.reshape(-1, Z).var(axis=0), rtol=0.03)
    assert np.array_equal(at[1], before)               # nobody's


def test_a_stop_at_the_warm_start_changes_nothing(tmp_path):
    """Killed before, at or after the step that places the components: the same model, and threads change nothing."""
    x = load("digits").train[:80]

    def trained(epochs, threads=1, **how):
        m = GMVAEConfig(784, (16,), 3, components=4, w_latents=2).build(
            images=x, start=start_at_clusters(x), objective=MixtureBound(start_steps=4), optimizer=Adam(2e-3))
        history = fit(m, Batch(x=x), valid=x, epochs=epochs, batch_size=20, progress=False, threads=threads, **how)
        return m.arena.value.copy(), history

    whole, history = trained(3)
    trained(1, run=tmp_path / "run")
    resumed, again = trained(3, run=tmp_path / "run", resume=True)
    assert np.array_equal(resumed, whole)
    assert [r["valid_elbo"] for r in again] == [r["valid_elbo"] for r in history]
    assert history[0]["train_kl_c"] == 0.0 < history[1]["train_kl_c"]
    assert trained(3, threads=2)[1][-1]["train_elbo"] == pytest.approx(history[-1]["train_elbo"], rel=1e-4)


def test_clusters_are_judged_by_labels_if_there_are_any():
    m = model()
    found = evaluate_mixture(m, IMAGES)
    assert found.accuracy is None
    assert "mutual" not in str(found)
    judged = evaluate_mixture(m, Batch(x=IMAGES, y=7 - found.clusters))              # the same, by other names
    assert judged.accuracy == 1.0
    assert judged.nmi == pytest.approx(1.0)
    assert f"{len(np.unique(found.clusters))} of 3 in use; accuracy by the best assignment 100.0%" in str(judged)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="prior: got 'mixture'; a GMVAE has its own, leave it 'standard'"):
        GMVAEConfig(4, prior="mixture")
    with pytest.raises(ValueError, match="w_latents: got 0, expected at least 1"):
        GMVAEConfig(4, w_latents=0)
    with pytest.raises(ValueError, match="information: got -1, expected at least 0"):
        MixtureBound(-1)
    with pytest.raises(ValueError, match=r"eps: got shape \(1, 5, 2\), expected \(L, 5, 3\)"):
        model().four_terms(x=IMAGES, eps=EPS[:, :, :2])
    for wrong in (np.zeros(B - 1, int), np.full(B, K)):
        with pytest.raises(ValueError, match=r"clusters: got .* expected one of 0 … 2 for each of the 5 examples"):
            model().place(IMAGES, wrong)
    with pytest.raises(ValueError, match="each: got 0, expected at least 1"):
        model().sample_clusters(0, RNG)


# ── an independent judge ──────────────────────────────────────────────────────────────────────


@pytest.mark.peers
@pytest.mark.parametrize("samples", [1, 3])
def test_pytorch_finds_the_same_values_and_gradients(samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        from torch.distributions import Bernoulli, Categorical, Independent, Normal, kl_divergence
    m, eps = model(), RNG.standard_normal((samples, B, Z + W))
    theirs = {name: torch.tensor(p.value, requires_grad=True) for name, p in m.arena.parameters.items()}

    def dense(name, h):
        return h @ theirs[f"{name}.W"] + theirs[f"{name}.b"]

    def normal(mean, logvar):
        return Independent(Normal(mean, torch.exp(0.5 * logvar)), 1)

    x = torch.tensor(IMAGES)
    h = torch.tanh(dense("encoder.trunk.0", x))
    mean, logvar = dense("encoder.mean", h), dense("encoder.logvar", h)
    q_z, q_w = normal(mean[:, :Z], logvar[:, :Z]), normal(mean[:, Z:], logvar[:, Z:])
    rows = []
    for noise in torch.tensor(eps):
        z, w = q_z.mean + q_z.stddev * noise[:, :Z], q_w.mean + q_w.stddev * noise[:, Z:]
        h = torch.tanh(dense("prior.given_w.network.trunk.0", w))
        means, logvars = (dense(f"prior.given_w.network.{head}", h).reshape(B, K, Z) for head in ("mean", "logvar"))
        components = [normal(means[:, k], logvars[:, k]) for k in range(K)]
        c = Categorical(logits=torch.stack([p.log_prob(z) for p in components], 1))
        logits = dense("decoder.network.2", torch.tanh(dense("decoder.network.0", z)))
        rows.append((-Independent(Bernoulli(logits=logits), 1).log_prob(x),
                     sum(c.probs[:, k] * kl_divergence(q_z, p) for k, p in enumerate(components)),
                     kl_divergence(q_w, normal(x.new_zeros(B, W), x.new_zeros(B, W))),
                     kl_divergence(c, Categorical(logits=x.new_zeros(B, K)))))
    four = [torch.stack(term).mean(0) for term in zip(*rows)]
    weights = RNG.standard_normal((4, B))
    sum((torch.tensor(a) * term).sum() for a, term in zip(weights, four)).backward()

    ours, pullback = m.four_terms(x=IMAGES, eps=eps)
    m.arena.zero_grad()
    pullback(*weights)
    for one, other in zip(ours, four):
        np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name, parameter in m.arena.parameters.items():
        np.testing.assert_allclose(parameter.grad, theirs[name].grad.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)
