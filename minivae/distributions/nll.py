"""How surprised p(x|z) is by an image: −log p(x|z), with its pullback, for pixels of every kind.

Every density returns one number per example, in nats, with all its constants.  A Gaussian is given by its mean and its
log-variance.  Shapes: B examples, X pixels, C classes.  The laws are those of ops.
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array, Generator, Pullback, alike_rows, array_module
from minivae.distributions.gaussian import LOG_2PI
from minivae.fast import twin
from minivae.ops import kernels, softplus
from minivae.ops.kernels import fused

LOG_PI = math.log(math.pi)
GREY_LEVEL = 1.0 / 255.0        # between two levels of an 8-bit image in [0, 1]


@fused(kernels.bernoulli_nll)
@twin
def bernoulli_nll(logits: Array, *, x: Array) -> tuple[Array, Pullback]:
    """−log p(x) = Σ softplus(a) − x a,   p = sigmoid(a)        (B, X) -> (B,)

    This is −Σ x log p + (1 − x) log(1 − p), exact at any logit: no probability is ever clipped.
    Normalised over x ∈ {0, 1}; for grey x ∈ [0, 1] it is the usual cross-entropy.
    """
    alike_rows(logits=logits, x=x)
    e = np.abs(logits)                                # softplus(a) = log(1 + e^−|a|) + ½ (|a| + a)
    nll = 0.5 * _sum(e) - _dot(x - 0.5, logits)
    np.exp(np.negative(e, out=e), out=e)              # one exponential serves value and pullback
    e += 1.0
    nll += sum_of_logs(e)

    def pullback(dnll: Array) -> Array:               # ∂/∂a = sigmoid(a) − x
        dlogits = np.reciprocal(e)                    # sigmoid(|a|)
        np.subtract(logits < 0, dlogits, out=dlogits)
        np.abs(dlogits, out=dlogits)                  # sigmoid(a), which is 1 less that for a < 0
        dlogits -= x
        dlogits *= dnll[:, None]
        return dlogits

    return nll, pullback


@fused(kernels.bernoulli_nll_of_draws)
def bernoulli_nll_of_draws(logits: Array, *, x: Array) -> Array:
    """The value of `bernoulli_nll` alone, for L draws of every image's logits        (L·B, X) (B, X) -> (L·B,)

    Σ softplus(a) − x a = Σ log(1 + e^−|a|) + ½ |a| − (x − ½) a: all that x has to say is one product, no image is
    repeated, and what a pullback would need is written over.
    """
    alike_rows(x=x, logits=logits[:len(x)])
    B, X = x.shape
    e = np.abs(logits)
    nll = (logits.reshape(-1, B, X).swapaxes(0, 1) @ (0.5 - x)[:, :, None]).swapaxes(0, 1).reshape(-1)    # (B, L, 1)
    nll += 0.5 * _sum(e)
    np.exp(np.negative(e, out=e), out=e)
    e += 1.0
    nll += sum_of_logs(e, out=e)
    return nll


def _sum(x: Array) -> Array:
    """Σ x over the pixels        (B, X) -> (B,)        (a product is three times as fast as sum along short rows)"""
    return x @ np.ones_like(x, shape=x.shape[1:])


def _dot(x: Array, y: Array) -> Array:
    """Σ x y over the pixels        (B, X) (B, X) -> (B,)        (products of rows are twice as fast as einsum)"""
    return (x[:, None] @ y[:, :, None])[:, 0, 0]


def sum_of_logs(p: Array, out: Array | None = None) -> Array:
    """Σ log p for p in [1, 2], as the log of products        (B, X) -> (B,)

    One multiplication for each pixel, and one logarithm for 16: NumPy's take from 4 to 60 times as long, by processor.
    A product of up to 31 such numbers stays below 2³¹, far from float32's largest power of two.

    out   where products may be written: p itself, if nobody needs it any more
    """
    for _ in range(4):                                # of up to 1, 3, 7, 15, 31 factors
        half = p.shape[-1] // 2
        if half == 0:
            break
        product = np.multiply(p[:, :half], p[:, half:2 * half], out=None if out is None else out[:, :half])
        if p.shape[-1] % 2:                           # an odd one out joins the first
            product[:, 0] *= p[:, -1]
        p = out = product
    return _sum(np.log(p))


def bernoulli_sample(p: Array, *, rng: Generator) -> Array:
    """x ~ Bernoulli(p), 0 or 1 in p's dtype, any shape.  A draw: it has no pullback."""
    return (rng.random(p.shape, dtype=p.dtype) < p).astype(p.dtype)


def gaussian_nll(mean: Array, logvar: Array, *, x: Array) -> tuple[Array, Pullback]:
    """−log N(x; μ, σ²) = ½ Σ ( (x − μ)² / σ² + log σ² + log 2π )        (B, X) (B, X) -> (B,)

    Mean and variance of every pixel are learned.
    """
    alike_rows(mean=mean, logvar=logvar, x=x)
    precision = np.exp(-logvar)
    offset = mean - x

    def pullback(dnll: Array) -> tuple[Array, Array]:
        dnll = dnll[:, None]
        return offset * precision * dnll, 0.5 * (1.0 - offset * offset * precision) * dnll

    return 0.5 * (offset * offset * precision + logvar + LOG_2PI).sum(axis=-1), pullback


def gaussian_nll_shared(mean: Array, logvar: Array, *, x: Array) -> tuple[Array, Pullback]:
    """The same with one learned log σ² for all pixels        (B, X) () -> (B,)"""
    alike_rows(mean=mean, x=x)
    if logvar.shape != ():
        raise ValueError(f"gaussian_nll_shared: logvar has shape {logvar.shape}, expected (), one number")
    precision = np.exp(-logvar)
    offset = mean - x
    squares = (offset * offset).sum(axis=-1)          # (B,)
    X = x.shape[-1]

    def pullback(dnll: Array) -> tuple[Array, Array]: # ∂/∂log σ² = ½ (X − ‖x − μ‖²/σ²), summed over B
        return offset * precision * dnll[:, None], (0.5 * (X - squares * precision) * dnll).sum()

    return 0.5 * (squares * precision + X * (logvar + LOG_2PI)), pullback


def complex_gaussian_nll(logvar: Array, *, power: Array) -> tuple[Array, Pullback]:
    """−log N_C(s; 0, v) = Σ ( |s|² / v + log v + log π ),   v = exp(logvar)        (B, X) -> (B,)

    A complex number whose real and imaginary part are Gaussians of variance v/2 each, and independent; its power |s|²
    is all that the density asks of it.  In sound: a frequency of a spectrogram.
    """
    alike_rows(logvar=logvar, power=power)
    ratio = power * np.exp(-logvar)

    def pullback(dnll: Array) -> Array:               # ∂/∂log v = 1 − |s|²/v
        return (1.0 - ratio) * dnll[:, None]

    return (ratio + logvar + LOG_PI).sum(axis=-1), pullback


def gaussian_nll_fixed(mean: Array, *, x: Array, std: float = 1.0) -> tuple[Array, Pullback]:
    """The same with a chosen σ: half the squared error over σ², plus a constant        (B, X) -> (B,)

    Raises ValueError unless std > 0.
    """
    alike_rows(mean=mean, x=x)
    if not std > 0:
        raise ValueError(f"gaussian_nll_fixed: std is {std}, expected a number > 0")
    precision = 1.0 / std**2
    offset = mean - x
    constant = x.shape[-1] * (2.0 * math.log(std) + LOG_2PI)

    def pullback(dnll: Array) -> Array:               # ∂/∂μ = (μ − x)/σ²
        return offset * precision * dnll[:, None]

    return 0.5 * ((offset * offset).sum(axis=-1) * precision + constant), pullback


def gaussian_nll_optimal(mean: Array, *, x: Array, least: float = GREY_LEVEL**2 / 12) -> tuple[Array, Pullback]:
    """The same with σ² at its best for this batch: σ̂² = (1/BX) Σ (x − μ)², or `least` if that is more   (B, X) -> (B,)

    Rybkin et al. 2021 (σ-VAE).  σ̂² depends on every mean of the batch.  But it is where ∂/∂σ² of the summed
    nll vanishes: if all images count alike, the gradient is that of a σ held fixed (the envelope theorem).
    """
    alike_rows(mean=mean, x=x)
    offset = mean - x
    squared = (offset * offset).mean()
    var = np.maximum(squared, least)
    nll, pull_nll = gaussian_nll_shared(mean, np.log(var), x=x)

    def pullback(dnll: Array) -> Array:               # ∂log σ̂²/∂μ = 2 (μ − x) / (BX σ̂²)
        dmean, dlogvar = pull_nll(dnll)               # dlogvar = 0 if all of dnll are equal
        return dmean + 2.0 * dlogvar * (squared > least) / (offset.size * var) * offset

    return nll, pullback


def discretized_logistic_nll(mean: Array, logscale: Array, *, x: Array,
                             bin: float = GREY_LEVEL) -> tuple[Array, Pullback]:
    """−Σ log P(x), the mass of a grey level x ∈ {0, bin, …, 1}: P = F(u₊) − F(u₋)        (B, X) (B, X) -> (B,)

    u± = (x ± bin/2 − μ)/s,  F = sigmoid, the logistic's cumulative; the first bin reaches to −∞, the last to +∞, so
    that the masses add up to 1.  Exact however far in the tails, because the difference can be factored:
    F(u₊) − F(u₋) = F(u₊) F(−u₋) (1 − e^(−bin/s)).   Kingma et al. 2016; Salimans et al. 2017 (PixelCNN++).
    """
    alike_rows(mean=mean, logscale=logscale, x=x)
    if not 0 < bin <= 1:
        raise ValueError(f"discretized_logistic_nll: bin is {bin}, expected a number in (0, 1], such as 1/255")
    precision = np.exp(-logscale)
    u, width = (x - mean) * precision, bin * precision
    above, below = x < 1.0 - 0.5 * bin, x > 0.5 * bin             # is there a level above this one, below it?
    upper, pull_upper = softplus(-u - 0.5 * width)                # −log F(u₊)
    lower, pull_lower = softplus(u - 0.5 * width)                 # −log F(−u₋)
    inside = -np.expm1(-width)                                    # 1 − e^(−bin/s)

    def pullback(dnll: Array) -> tuple[Array, Array]:             # ∂u±/∂μ = −1/s,   ∂u±/∂log s = −u±
        dnll = dnll[:, None]
        dupper, dlower = pull_upper(above * dnll), pull_lower(below * dnll)
        dwidth = (above & below) * width * (1.0 - inside) / inside * dnll
        return (dupper - dlower) * precision, u * (dupper - dlower) + 0.5 * width * (dupper + dlower) + dwidth

    return (above * upper + below * lower - (above & below) * np.log(inside)).sum(axis=-1), pullback


def discretized_logistic_nll_shared(mean: Array, logscale: Array, *, x: Array,
                                    bin: float = GREY_LEVEL) -> tuple[Array, Pullback]:
    """The same with one learned log s for all pixels        (B, X) () -> (B,)"""
    if logscale.shape != ():
        raise ValueError(f"discretized_logistic_nll_shared: logscale has shape {logscale.shape}, expected ()")
    nll, pull = discretized_logistic_nll(mean, np.broadcast_to(logscale, mean.shape), x=x, bin=bin)

    def pullback(dnll: Array) -> tuple[Array, Array]:             # log s was broadcast over pixels and images
        dmean, dlogscale = pull(dnll)
        return dmean, dlogscale.sum()

    return nll, pullback


def categorical_nll(logits: Array, *, labels: Array) -> tuple[Array, Pullback]:
    """−log softmax(a)[label] = log Σ eᵃ − a[label]        (B, C) and labels (B,) in 0 … C − 1 -> (B,)

    Raises ValueError for labels of the wrong shape or kind, or (on the CPU: a look would wait for a GPU)
    outside the range.
    """
    alike_rows(logits=logits)
    if labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"categorical_nll: labels have shape {labels.shape} and dtype {labels.dtype}, "
                         f"expected ({logits.shape[0]},) integers")
    if isinstance(labels, np.ndarray) and labels.size and not 0 <= labels.min() <= labels.max() < logits.shape[-1]:
        raise ValueError(f"categorical_nll: labels lie in {labels.min()} … {labels.max()}, "
                         f"expected 0 … {logits.shape[-1] - 1} for {logits.shape[-1]} classes")
    each, top = array_module(logits).arange(len(logits)), logits.max(axis=-1, keepdims=True)
    e = logits - top                                  # softmax(a) = e / Σ e: of words there are thousands, and one pass
    np.exp(e, out=e)                                  # over them all is what everything here costs
    total = e.sum(axis=-1)

    def pullback(dnll: Array) -> Array:               # ∂/∂a = softmax(a) − one_hot
        dlogits = e * (dnll / total)[:, None]
        dlogits[each, labels] -= dnll
        return dlogits

    return np.log(total) + top[:, 0] - logits[each, labels], pullback
