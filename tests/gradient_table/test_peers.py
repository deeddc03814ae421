"""Judge 3: an independent autodiff.  PyTorch on the CPU, in float64, must agree to 1e-10: values and gradients.

The forward passes here are written from the maths, with torch.distributions where it has them; nothing of
ours is called on the way.  `python -m pip install "minivae[peers]"` brings the peer.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from test_laws import call, cotangents, flat, pull

from minivae.backend import device
from minivae.evaluation import Classifier
from minivae.gradient_table import cases
from minivae.nn import SGD, AdaGrad, Adam, Arena, BatchNorm, Momentum, Parameter, RMSProp, clip_norm
from minivae.parts import LIKELIHOODS
from minivae.variants import ConvVAEConfig, VAEConfig

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")      # what PyTorch says about itself at import is not ours to fail on
        import torch
        import torch.nn.functional as F
        from torch.distributions import (
            Bernoulli,
            Categorical,
            Exponential,
            Independent,
            MixtureSameFamily,
            MultivariateNormal,
            Normal,
            kl_divergence,
        )
except ImportError:
    torch = None

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(torch is None, reason='the independent judge is absent: pip install "minivae[peers]"'),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*", "ignore::FutureWarning:torch.*"),
]


@pytest.fixture(autouse=True)
def one_thread():
    """The arrays are tiny, and the tests already run in parallel."""
    if torch is not None:
        torch.set_num_threads(1)


def tensor(x, grad: bool = False):
    return torch.tensor(np.asarray(x), requires_grad=grad) if isinstance(x, np.ndarray) else x


def normal(mean, logvar):
    return Independent(Normal(mean, logvar.exp().sqrt(), validate_args=False), 1)


def mixture(logits, mean, logvar):
    return MixtureSameFamily(Categorical(logits=logits), normal(mean, logvar), validate_args=False)


def mixture_kls(z, mean_q, logvar_q, mean, logvar):
    """Bayes' rule by torch.distributions, component by component."""
    components = [normal(mean[:, k], logvar[:, k]) for k in range(mean.shape[1])]
    choice = Categorical(logits=torch.stack([p.log_prob(z) for p in components], dim=1))
    kls = torch.stack([kl_divergence(normal(mean_q, logvar_q), p) for p in components], dim=1)
    return (choice.probs * kls).sum(dim=1), kl_divergence(choice, Categorical(logits=torch.zeros_like(kls)))


def full_normal(mean, L):
    return MultivariateNormal(mean, scale_tril=L.tril(), validate_args=False)


def triangle(raw, latents):
    rows, columns = torch.tril_indices(latents, latents, -1)
    below = torch.zeros(len(raw), latents, latents, dtype=raw.dtype).index_put(
        (torch.arange(len(raw))[:, None], rows, columns), raw[:, latents:])
    return below + torch.diag_embed(raw[:, :latents].exp())


def rank_one_root(logvar, u):
    """R as in Rezende et al. 2014, appendix: a whole matrix"""
    s, outer = (u * u * logvar.exp()).sum(dim=1)[:, None, None], u[:, :, None] * u[:, None, :]
    inverse, root = torch.diag_embed(logvar.exp()), torch.diag_embed((0.5 * logvar).exp())
    return root - (1 - 1 / (1 + s).sqrt()) / s * inverse @ outer @ root


def rank_one_normal(mean, logvar, u):
    return MultivariateNormal(mean, precision_matrix=torch.diag_embed((-logvar).exp()) + u[:, :, None] * u[:, None, :],
                              validate_args=False)


def planar(z, u, w, b, offset=0.0):
    """Row by row, with the log-determinant of autograd's own Jacobian."""
    def one(z, u, w, b):
        inner = w @ u
        u_hat = u + (softplus(inner + offset) - 1.0 - inner) * w / (w @ w)
        return z + u_hat * torch.tanh(w @ z + b)

    ys = torch.stack([one(*row) for row in zip(z, u, w, b[:, 0])])
    jacobians = torch.stack([torch.autograd.functional.jacobian(lambda v, rest=row[1:]: one(v, *rest), row[0],
                                                                create_graph=True) for row in zip(z, u, w, b[:, 0])])
    return ys, torch.linalg.slogdet(jacobians)[1]


def chain(z, *parameters, maps):
    total = 0.0
    for g, n in maps:
        z, logdet = TORCH[g.__name__](z, *parameters[:n])
        total, parameters = total + logdet, parameters[n:]
    return z, total


def softplus(x):
    return torch.logaddexp(x, torch.zeros_like(x))      # F.softplus is the identity above 20: off by 2e-9


def logistic_nll(mean, logscale, x, bin=1 / 255):
    """F(u + h) − F(u − h) = sinh h / (cosh u + cosh h) with h in units of 2s, tails included"""
    u, h = (x - mean) / logscale.exp(), 0.5 * bin / logscale.exp()
    mass = torch.where(x < 0.5 * bin, torch.sigmoid(u + h), torch.where(
        x > 1.0 - 0.5 * bin, torch.sigmoid(h - u), torch.sinh(h) / (torch.cosh(u) + torch.cosh(h))))
    return -mass.log().sum(dim=-1)


def sparse_normal_nll(mean, logdiag, below, x, shape):
    """The factor of the precision written out, and PyTorch's dense normal."""
    number, factors = np.arange(mean.shape[1]).reshape(shape), []
    for diag, off in zip(logdiag.exp(), below):
        A = torch.eye(len(diag), dtype=diag.dtype)
        for i in range(len(diag)):
            row, column = divmod(i, shape[1])
            for k, (down, right) in enumerate(((0, -1), (-1, -1), (-1, 0), (-1, 1))):
                if row + down >= 0 and 0 <= column + right < shape[1]:
                    A = A.index_put((torch.tensor(i), torch.tensor(number[row + down, column + right])), off[k, i])
        factors.append(A * diag)
    L = torch.stack(factors)
    return -MultivariateNormal(mean, precision_matrix=L @ L.mT).log_prob(x)


def masked_conv(x, W, b, taps):
    """A whole kernel, with zeros where there is no tap."""
    reach = max(abs(step) for tap in taps for step in tap)
    kernel = torch.zeros(2 * reach + 1, 2 * reach + 1, *W.shape[1:], dtype=W.dtype)
    for each, (down, right) in zip(W, taps):
        kernel = kernel.index_put((torch.tensor(reach + down), torch.tensor(reach + right)), each)
    return rows_last(F.conv2d(filters_first(x), kernel.permute(3, 2, 0, 1), b, padding=reach))


def lstm(x, h, c, W, U, b, mask=None):
    """PyTorch's own, whose gates come as i, f, g, o; by hand where each sequence has a b, or a step may be none."""
    if mask is None and b.ndim == 2:
        names = "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"
        weights = [(p if p.ndim == 2 else p.mT)[[0, 1, 3, 2]].flatten(0, 1) for p in (W, U, b, torch.zeros_like(b))]
        net = torch.nn.LSTM(x.shape[2], h.shape[1], dtype=x.dtype)
        states, (_, last) = torch.func.functional_call(net, dict(zip(names, weights)), (x, (h[None], c[None])))
        return states, last[0]
    states = []
    for t in range(len(x)):
        i, f, o, g = x[t] @ W + h @ U + (b[:, None] if b.ndim == 2 else b)
        now = f.sigmoid() * c + i.sigmoid() * g.tanh()
        live = torch.ones(len(h), 1, dtype=torch.bool) if mask is None else mask[t][:, None]
        h, c = torch.where(live, o.sigmoid() * now.tanh(), h), torch.where(live, now, c)
        states.append(h)
    return torch.stack(states), c


def filters_first(x):
    return x.permute(0, 3, 1, 2)                        # PyTorch keeps images as (B, C, H, W)


def rows_last(x):
    return x.permute(0, 2, 3, 1)


TORCH = {
    "linear": lambda x, W, b: F.linear(x, W.T, b),
    "relu": lambda x: F.relu(x),
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "hardtanh": lambda x, low=-1.0, high=1.0: F.hardtanh(x, low, high),
    "tanh": lambda x: torch.tanh(x),
    "sigmoid": lambda x: torch.sigmoid(x),
    "softplus": softplus,
    "concat": lambda *parts: torch.cat(parts, dim=-1),
    "split": lambda x, sizes: torch.split(x, sizes, dim=-1),
    "repeat": lambda x, samples: torch.cat([x] * samples),
    "repeat_each": lambda *parts, samples: tuple(torch.cat([part] * samples) for part in parts),
    "logsumexp": lambda x: torch.logsumexp(x, dim=-1),
    "log_mean_exp": lambda x: torch.logsumexp(x, dim=-1) - math.log(x.shape[-1]),
    "log_softmax": lambda x: F.log_softmax(x, dim=-1),
    "conv2d": lambda x, W, b, **how: rows_last(F.conv2d(filters_first(x), W.permute(3, 2, 0, 1), b, **how)),
    "conv_transpose2d": lambda x, W, b, extra=0, **how: rows_last(F.conv_transpose2d(
        filters_first(x), W.permute(3, 2, 0, 1), b, output_padding=extra, **how)),
    "batch_moments": lambda x: (x.flatten(0, -2).mean(dim=0), x.flatten(0, -2).var(dim=0, unbiased=False)),
    "normalise": lambda x, mean, var, gain, shift, eps=1e-5: (x - mean) / (var + eps).sqrt() * gain + shift,
    "embedding": lambda table, codes: F.embedding(codes, table),
    "gated": lambda x: F.glu(torch.cat([torch.tanh(x.chunk(2, dim=-1)[0]), x.chunk(2, dim=-1)[1]], dim=-1), dim=-1),
    "lstm": lstm,
    "masked_conv2d": masked_conv,
    "upsample": lambda x, factor=2: rows_last(F.interpolate(filters_first(x), scale_factor=factor)),
    "average_pool": lambda x, factor=2: rows_last(F.avg_pool2d(filters_first(x), factor)),
    "reparameterize": lambda mean, logvar, eps: mean + logvar.exp().sqrt() * eps,
    "gaussian_log_prob": lambda z, mean, logvar: normal(mean, logvar).log_prob(z),
    "standard_normal_log_prob": lambda z: normal(torch.zeros_like(z), torch.zeros_like(z)).log_prob(z),
    "gaussian_kl": lambda m, v: kl_divergence(normal(m, v), normal(torch.zeros_like(m), torch.zeros_like(v))),
    "gaussian_kl_by_latent": lambda m, v: kl_divergence(Normal(m, (0.5 * v).exp()), Normal(0.0 * m, 0.0 * v + 1.0)),
    "gaussian_mixture_log_prob": lambda z, logits, mean, logvar: mixture(logits, mean, logvar).log_prob(z),
    "components_log_prob": lambda z, mean, logvar: normal(mean, logvar).log_prob(z[:, None]),
    "components_kl": lambda mq, vq, m, v: kl_divergence(normal(mq[:, None].expand_as(m), vq[:, None].expand_as(v)),
                                                        normal(m, v)),
    "mixture_kls": mixture_kls,
    "free_bits": lambda kl, least: kl.mean(dim=0).clamp(min=least),
    "capacity_gap": lambda kl, capacity: (kl.mean() - capacity).abs(),
    "gaussian_kl_between": lambda mq, vq, mp, vp: kl_divergence(normal(mq, vq), normal(mp, vp)),
    "triangle": triangle,
    "reparameterize_full": lambda mean, L, eps: mean + torch.einsum("bij,bj->bi", L, eps),
    "logdet": lambda L: L.diagonal(dim1=1, dim2=2).log().sum(dim=1),
    "full_gaussian_log_prob": lambda z, mean, L: full_normal(mean, L).log_prob(z),
    "full_gaussian_kl": lambda mean, L: kl_divergence(
        full_normal(mean, L), full_normal(torch.zeros_like(mean), torch.eye(mean.shape[1]).expand_as(L).double())),
    "full_gaussian_entropy": lambda L: full_normal(torch.zeros_like(L[:, 0]), L).entropy(),
    "reparameterize_rank_one": lambda mean, logvar, u, eps: mean + torch.einsum(
        "bij,bj->bi", rank_one_root(logvar, u), eps),
    "rank_one_logdet": lambda logvar, u: torch.linalg.slogdet(rank_one_root(logvar, u))[1],
    "rank_one_kl": lambda mean, logvar, u: kl_divergence(rank_one_normal(mean, logvar, u), full_normal(
        torch.zeros_like(mean), torch.eye(mean.shape[1]).expand(*mean.shape, -1).double())),
    "affine": lambda z, mean, logvar: (mean + (0.5 * logvar).exp() * z, 0.5 * logvar.sum(dim=1)),
    "couple": lambda z, raw, shift: (z * (2.0 * torch.tanh(raw / 2)).exp() + shift,
                                     2.0 * torch.tanh(raw / 2).sum(dim=1)),
    "planar": planar,
    "chain": chain,
    "sparse_gaussian_nll": sparse_normal_nll,
    "bernoulli_nll": lambda a, x: -Independent(Bernoulli(logits=a, validate_args=False), 1).log_prob(x),
    "gaussian_nll": lambda m, v, x: -normal(m, v).log_prob(x),
    "gaussian_nll_shared": lambda m, v, x: -normal(m, v.expand_as(m)).log_prob(x),
    "complex_gaussian_nll": lambda logvar, power: (math.log(math.pi) - Exponential(
        (-logvar).exp(), validate_args=False).log_prob(power)).sum(dim=-1),                # |s|² is exponential
    "gaussian_nll_fixed": lambda m, x, std=1.0: -Normal(m, std).log_prob(x).sum(dim=-1),
    "gaussian_nll_optimal": lambda m, x, least=0.0: -Normal(
        m, (m - x).square().mean().clamp(min=least).sqrt()).log_prob(x).sum(dim=-1),
    "discretized_logistic_nll": logistic_nll,
    "discretized_logistic_nll_shared": logistic_nll,
    "expectation": lambda a, v: (a.softmax(dim=1) * v).sum(dim=1),
    "categorical_kl": lambda a, log_prior: kl_divergence(*(Categorical(logits=b) for b in (a, log_prior.expand_as(a)))),
    "categorical_nll": lambda a, labels: -Categorical(logits=a).log_prob(labels),
}

NLLS = {                                                  # (outputs, x, what is shared: log σ², or log s) -> (B,)
    "bernoulli": lambda outputs, x, _: F.binary_cross_entropy_with_logits(outputs, x, reduction="none").sum(dim=1),
    "gaussian_fixed": lambda outputs, x, _: -Normal(outputs, 1.0).log_prob(x).sum(dim=1),
    "gaussian_shared": lambda outputs, x, logvar: -Normal(outputs, (0.5 * logvar).exp()).log_prob(x).sum(dim=1),
    "gaussian_optimal": lambda outputs, x, running: 0.0 * running - Normal(outputs, running.detach().sqrt()).log_prob(
        x).sum(dim=1),
    "gaussian_pixel": lambda outputs, x, _: -normal(*outputs.chunk(2, dim=1)).log_prob(x),
    "logistic_shared": lambda outputs, x, logscale: logistic_nll(outputs, logscale, x),
    "logistic_pixel": lambda outputs, x, _: logistic_nll(*outputs.chunk(2, dim=1), x),
}


def agree(ours, theirs) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        b = b.detach().numpy()
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * max(1.0, float(np.abs(b).max(initial=0.0))))


ROWS = [case for case in cases() if case.function.__module__.startswith(("minivae.ops.", "minivae.distributions."))
        and hasattr(case.function, "__name__")]        # the pure functions


def test_every_op_has_a_peer():
    assert {case.subject for case in ROWS} == TORCH.keys()
    assert NLLS.keys() == LIKELIHOODS.keys()


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_op_agrees(case):
    inputs = [tensor(x, grad=True) for x in case.inputs]
    theirs = flat(TORCH[case.subject](*inputs, **{name: tensor(c) for name, c in case.constants.items()}))
    value, pullback = call(case)
    dy = cotangents(value, 0)
    agree(flat(value), theirs)
    agree(pull(case, pullback, dy), torch.autograd.grad(theirs, inputs, [tensor(v) for v in dy]))


class TorchVAE:
    """The VAE of VAEConfig with one hidden layer, from its parameters by name."""

    def __init__(self, model, likelihood: str) -> None:
        self.p = {name: tensor(p.value, grad=True) for name, p in model.arena.parameters.items()}
        self.nll = NLLS[likelihood]

    def linear(self, name, x):
        return x @ self.p[f"{name}.W"] + self.p[f"{name}.b"]

    def encoder(self, x):
        h = torch.tanh(self.linear("encoder.trunk.0", x))
        return self.linear("encoder.mean", h), self.linear("encoder.logvar", h)

    def terms(self, x, eps, *, closed_form: bool):
        """elbo_terms or monte_carlo_terms, one sample after the other instead of in one batch."""
        mean, logvar = self.encoder(x)
        q, p = normal(mean, logvar), normal(torch.zeros_like(mean), torch.zeros_like(mean))
        if "prior.logits" in self.p:
            p = mixture(*(self.p[f"prior.{name}"] for name in ("logits", "mean", "logvar")))
        if "prior.raw" in self.p:
            u = F.hardtanh(self.p["prior.raw"], 0.0, 1.0)
            p = mixture(torch.zeros(len(u), dtype=u.dtype), *self.encoder(u))
        z = [mean + (0.5 * logvar).exp() * e for e in eps]
        shared = next((p for name, p in self.p.items() if name.startswith("likelihood.")), None)
        nll = [self.nll(self.linear("decoder.2", torch.tanh(self.linear("decoder.0", one))), x,
                        shared) for one in z]
        if closed_form:
            return sum(nll) / len(nll), kl_divergence(q, p)
        return torch.cat(nll), torch.cat([q.log_prob(one) - p.log_prob(one) for one in z])


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("bound", ["elbo_terms", "monte_carlo_terms"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_whole_vae_agrees(likelihood, bound, samples):
    rng = np.random.default_rng(3)
    model = VAEConfig(pixels=30, hidden=(20,), latents=5, activation="tanh",
                      likelihood=likelihood).build(dtype=np.float64)
    model.arena.value[...] += 0.2 * rng.standard_normal(model.arena.value.shape)
    x, eps = 1.0 * (rng.random((6, 30)) < 0.5), rng.standard_normal((samples, 6, 5))
    peer = TorchVAE(model, likelihood)
    theirs = peer.terms(tensor(x), tensor(eps), closed_form=bound == "elbo_terms")
    value, pullback = getattr(model, bound)(x=x, eps=eps)
    agree(value, theirs)
    dy = cotangents(value, 0)
    model.arena.zero_grad()
    pullback(*dy)
    gradients = torch.autograd.grad(theirs, list(peer.p.values()), [tensor(v) for v in dy])
    agree([p.grad for p in model.arena.parameters.values()], gradients)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("prior", ["mixture", "vamp"])
def test_a_vae_whose_prior_learns_agrees(prior, samples):
    rng = np.random.default_rng(4)
    model = VAEConfig(pixels=30, hidden=(20,), latents=5, activation="tanh", prior=prior,
                      components=4).build(dtype=np.float64)
    model.arena.value[...] += 0.2 * rng.standard_normal(model.arena.value.shape)
    x, eps = 1.0 * (rng.random((6, 30)) < 0.5), rng.standard_normal((samples, 6, 5))
    peer = TorchVAE(model, "bernoulli")
    theirs = peer.terms(tensor(x), tensor(eps), closed_form=False)
    value, pullback = model.monte_carlo_terms(x=x, eps=eps)
    agree(value, theirs)
    dy = cotangents(value, 0)
    model.arena.zero_grad()
    pullback(*dy)
    gradients = torch.autograd.grad(theirs, list(peer.p.values()), [tensor(v) for v in dy])
    agree([p.grad for p in model.arena.parameters.values()], gradients)
    averaged, _ = model.elbo_terms(x=x, eps=eps)
    agree(averaged, [term.reshape(samples, 6).mean(dim=0) for term in theirs])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_convolutional_vae_in_colour_agrees(likelihood):
    """Two numbers for each channel are two pictures: the first is of means, the second of scales."""
    rng = np.random.default_rng(6)
    model = ConvVAEConfig(4, 8, 3, filters=(2, 4), dense=5, latents=2, likelihood=likelihood).build(dtype=np.float64)
    model.arena.value[...] += 0.2 * rng.standard_normal(model.arena.value.shape)
    x, eps = 1.0 * (rng.random((6, 96)) < 0.5), rng.standard_normal((1, 6, 2))
    p = {name: tensor(q.value, grad=True) for name, q in model.arena.parameters.items()}

    def linear(name, h):
        return h @ p[f"{name}.W"] + p[f"{name}.b"]

    h = tensor(x).reshape(6, 4, 8, 3)
    for name in ("encoder.trunk.1", "encoder.trunk.3"):
        h = F.relu(TORCH["conv2d"](h, p[f"{name}.W"], p[f"{name}.b"], stride=2, padding=1))
    h = F.relu(linear("encoder.trunk.6", h.reshape(6, -1)))
    mean, logvar = linear("encoder.mean", h), linear("encoder.logvar", h)
    h = F.relu(linear("decoder.0", mean + (0.5 * logvar).exp() * tensor(eps[0])))
    h = F.relu(linear("decoder.2", h)).reshape(6, 1, 2, 4)
    h = F.relu(TORCH["conv_transpose2d"](h, p["decoder.5.W"], p["decoder.5.b"], stride=2, padding=1))
    h = TORCH["conv_transpose2d"](h, p["decoder.7.W"], p["decoder.7.b"], stride=2, padding=1)
    outputs = torch.cat([picture.reshape(6, -1) for picture in h.split(3, dim=-1)], dim=1)
    shared = next((q for name, q in p.items() if name.startswith("likelihood.")), None)
    kl = kl_divergence(normal(mean, logvar), normal(0 * mean, 0 * mean))
    theirs = [NLLS[likelihood](outputs, tensor(x), shared), kl]
    value, pullback = model.elbo_terms(x=x, eps=eps)
    agree(value, theirs)
    dy = cotangents(value, 0)
    model.arena.zero_grad()
    pullback(*dy)
    gradients = torch.autograd.grad(theirs, list(p.values()), [tensor(v) for v in dy])
    agree([q.grad for q in model.arena.parameters.values()], gradients)


def test_the_classifier_agrees():
    """Convolutions that halve odd sides, features, softmax: −log p(y|x) and all gradients."""
    rng = np.random.default_rng(5)
    model = Classifier(device=device("cpu"), side=7, classes=3, filters=(2, 3, 4), features=5, dtype=np.float64)
    model.arena.value[...] += 0.2 * rng.standard_normal(model.arena.value.shape)
    x, labels = rng.random((6, 49)), np.arange(6) % 3
    p = {name: tensor(q.value, grad=True) for name, q in model.arena.parameters.items()}
    h = tensor(x).reshape(6, 7, 7, 1)
    for name in ("trunk.1", "trunk.3", "trunk.5"):
        h = F.relu(TORCH["conv2d"](h, p[f"{name}.W"], p[f"{name}.b"], stride=2, padding=1))
    h = F.relu(h.reshape(6, -1) @ p["trunk.8.W"] + p["trunk.8.b"])
    theirs = F.cross_entropy(h @ p["head.W"] + p["head.b"], tensor(labels), reduction="none")
    nll, pullback = model.label_nll(x=x, labels=labels)
    agree([nll], [theirs])
    dnll = cotangents(nll, 0)
    model.arena.zero_grad()
    pullback(*dnll)
    gradients = torch.autograd.grad(theirs, list(p.values()), tensor(dnll[0]))
    agree([q.grad for q in model.arena.parameters.values()], gradients)


def test_batch_normalisation_agrees_as_it_learns_and_afterwards():
    """Two batches apart, then one by the running averages: values, gradients, and the averages themselves."""
    rng = np.random.default_rng(7)
    norm, peer = BatchNorm(3), torch.nn.BatchNorm1d(3, dtype=torch.float64)
    for mine, theirs in ((norm.gain, peer.weight), (norm.shift, peer.bias)):
        mine.value[...] = rng.standard_normal(3)
        theirs.data[...] = tensor(mine.value)
    for x in (rng.standard_normal((5, 3)), 2.0 + rng.standard_normal((4, 3))):
        for f, training in ((norm.learning(), True), (norm, False)):
            inputs, dy = tensor(x, grad=True), rng.standard_normal(x.shape)
            value, pullback = f(x)
            theirs = peer.train(training)(inputs)
            agree([value], [theirs])
            for p in (norm.gain, norm.shift):
                p.zero_grad()
            dx = pullback(dy)
            agree([dx, norm.gain.grad, norm.shift.grad],
                  torch.autograd.grad(theirs, [inputs, peer.weight, peer.bias], tensor(dy)))
            agree([norm.running_mean.value, norm.running_var.value], [peer.running_mean, peer.running_var])


@pytest.mark.parametrize(("ours", "theirs"), [
    (lambda: SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    (lambda: Momentum(0.02, beta=0.8), lambda p: torch.optim.SGD(p, 0.02, momentum=0.8)),
    (lambda: AdaGrad(0.1, eps=1e-8), lambda p: torch.optim.Adagrad(p, 0.1, eps=1e-8)),
    (lambda: RMSProp(0.02, rho=0.8), lambda p: torch.optim.RMSprop(p, 0.02, alpha=0.8, eps=1e-8)),
    (lambda: Adam(0.03), lambda p: torch.optim.Adam(p, 0.03)),
    (lambda: Adam(0.03, beta1=0.5, beta2=0.9, eps=1e-3), lambda p: torch.optim.Adam(p, 0.03, (0.5, 0.9), 1e-3)),
], ids=["SGD", "Momentum", "AdaGrad", "RMSProp", "Adam", "Adam, other constants"])
def test_an_optimizer_walks_the_same_path(ours, theirs):
    """150 steps down a noisy valley, and past the 128th, where ours clears out denormals."""
    rng = np.random.default_rng(5)
    start, scales = rng.standard_normal(7), np.logspace(-2, 1, 7)
    arena = Arena({"a": Parameter(start[:4]), "b": Parameter(start[4:])}, device("cpu"), np.float64)
    value = torch.tensor(start, requires_grad=True)
    one, two = ours(), theirs([value])
    for _ in range(150):
        noise = rng.standard_normal(7)
        arena.grad[...] = scales * arena.value + 0.1 * noise
        value.grad = torch.tensor(scales) * value.detach() + 0.1 * torch.tensor(noise)
        one.step(arena)
        two.step()
        np.testing.assert_allclose(arena.value, value.detach().numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping_agrees(max_norm):
    grad = np.random.default_rng(0).standard_normal(50)
    value = torch.zeros(50, dtype=torch.float64, requires_grad=True)
    value.grad = torch.tensor(grad)
    theirs = torch.nn.utils.clip_grad_norm_([value], max_norm)
    norm = clip_norm(grad, max_norm)
    assert norm == pytest.approx(float(theirs), rel=1e-12)
    # PyTorch divides by the norm + 1e-6, and so stays that much short of max_norm
    np.testing.assert_allclose(grad, value.grad.numpy(), rtol=1e-6)
