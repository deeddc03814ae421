"""What a GMVAE has found: the four terms of its bound, what the bound leaves out, and which clusters are which classes.

The bound that it climbs weighs a KL over one z by p(c|z', w) at another, z' (minivae/variants/gmvae.py).  With the same
z in both places c is summed out, and the bound is higher by

    gap  =  E KL( p(c|z', w) ‖ p(c|z, w) ),       z, z' ~ q(z|x)

which is zero only if all draws of q(z|x) lie in the same cluster.  Nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minivae import plots
from minivae.backend import Array, Generator, to_numpy
from minivae.batch import Batch, as_batch
from minivae.distributions import components_log_prob
from minivae.evaluation.bounds import Estimate, over_parts
from minivae.evaluation.clustering import clustering_accuracy, normalised_mutual_information
from minivae.nn import Data
from minivae.ops import log_softmax
from minivae.plots.style import Figure
from minivae.variants.gmvae import GMVAE


@dataclass(frozen=True)
class MixtureEvaluation:
    """Of some examples; accuracy and mutual information are None where there are no labels."""

    elbo: Estimate                     # −(nll + kl_z + kl_w + kl_c)
    nll: Estimate
    kl_z: Estimate
    kl_w: Estimate
    kl_c: Estimate
    gap: Estimate                      # what the bound with c summed out has more
    clusters: np.ndarray               # (N,) the most probable component of every example
    components: int
    accuracy: float | None
    nmi: float | None

    def __str__(self) -> str:
        found = "" if self.accuracy is None else (
            f"; accuracy by the best assignment {100.0 * self.accuracy:.1f}%, mutual information {self.nmi:.3f}")
        return (f"ELBO {self.elbo} nats = −(nll {self.nll} + kl of z {self.kl_z} + of w {self.kl_w} + of c "
                f"{self.kl_c}), {len(self.clusters):,} examples; with c summed out {self.gap} more\n"
                f"clusters: {len(np.unique(self.clusters))} of {self.components} in use{found}")


def evaluate_mixture(model: GMVAE, data: Data, *, seed: int = 0) -> MixtureEvaluation:
    """One draw of z and w each; y, if the data have it, are the labels.  Raises ValueError if there are no examples."""
    def work(part: Batch, rng: Generator) -> list[np.ndarray]:
        eps = rng.standard_normal((1, len(part), model.latents), dtype=model.dtype)
        four, _ = model.four_terms(x=part.x, eps=eps)
        clusters = model.responsibilities(part).argmax(axis=1)
        return [to_numpy(a) for a in (*four, _disagreement(model, part, rng), clusters)]

    *found, clusters = (np.concatenate(column) for column in zip(*over_parts(model, data, work, seed=seed)))
    nll, kl_z, kl_w, kl_c, gap = (term.astype(np.float64) for term in found)
    elbo, labels = -(nll + kl_z + kl_w + kl_c), as_batch(data).arrays.get("y")
    scores = (None, None) if labels is None else (clustering_accuracy(clusters, labels),
                                                  normalised_mutual_information(clusters, labels))
    means = dict(zip(("elbo", "nll", "kl_z", "kl_w", "kl_c", "gap"),
                     map(Estimate.of, (elbo, nll, kl_z, kl_w, kl_c, gap))))
    return MixtureEvaluation(**means, clusters=clusters, components=model.components, accuracy=scores[0], nmi=scores[1])


def _disagreement(model: GMVAE, part: Batch, rng: Generator) -> Array:
    """KL( p(c|z', w) ‖ p(c|z, w) ) of two draws of z and one of w        (B, X) -> (B,)"""
    mean, logvar = model.encode(part)
    Z = model.sizes[0]
    first, second = (mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=model.dtype) for _ in range(2))
    components, _ = model.given_w(first[:, Z:])
    one, other = (log_softmax(components_log_prob(z[:, :Z], *components)[0])[0] for z in (first, second))
    return (np.exp(one) * (one - other)).sum(axis=1)


def cluster_map(model: GMVAE, images: np.ndarray, labels: np.ndarray, *, draws: int = 200, seed: int = 0,
                title: str = "") -> Figure:
    """Codes of a GMVAE of two latents, coloured by label, over the density of each cluster with w averaged out.

    draws   of w, for p(z|c) = E p(z|w, c): each cluster's line is where it is 40% of its maximum
    """
    codes = to_numpy(model.codes(model.device.asarray(images, dtype=model.dtype)))
    fig = plots.latent_scatter(codes, labels, title=title or "where unseen images lie; lines: the clusters, p(z|c)")
    ax = fig.axes[0]
    ax.patches[0].remove()                             # the circle of N(0, I)
    w = np.random.default_rng(seed).standard_normal((draws, model.sizes[1]))
    means, logvars = map(to_numpy, model.given_w(model.device.asarray(w, dtype=model.dtype))[0])      # (draws, K, 2)
    reach = np.concatenate([codes, means.reshape(-1, 2)])
    low, high = reach.min(axis=0) - 0.5, reach.max(axis=0) + 0.5
    xs, ys = (np.linspace(low[i], high[i], 90) for i in range(2))
    grid = np.stack(np.meshgrid(xs, ys), axis=-1)                                                     # (90, 90, 2)
    for k in range(means.shape[1]):
        squares = (grid[None] - means[:, k, None, None]) ** 2 * np.exp(-logvars[:, k, None, None])
        density = np.exp(-0.5 * (squares + logvars[:, k, None, None]).sum(axis=-1)).mean(axis=0)
        ax.contour(xs, ys, density, levels=[0.4 * density.max()], colors="black", linewidths=1.1)
    return fig
