"""M2, the semi-supervised VAE: most images have no label, and teach the classifier all the same.

    y ~ p(y)                     a class
    z ~ N(0, I)                  all else, such as the style of a hand
    x ~ p(x|y, z)                the likelihood, whose parameters the decoder computes

    q(y|x)                       the classifier;   q(z|x, y) = N(mean, diag exp(logvar))      the encoder

An image with its label, and one without, whose label is one more latent (Kingma, Rezende, Mohamed and Welling 2014,
eq. 6 and 7; there L and U are the negatives of these):

    log p(x, y)  ≥  L(x, y)  =  E_q(z|x,y)[ log p(x|y, z) ]  −  KL( q(z|x, y) ‖ N(0, I) )  +  log p(y)
    log p(x)     ≥  U(x)     =  Σ_y q(y|x) L(x, y)  +  H( q(y|x) )

The sum over y is a sum: nothing is drawn.  So every image without a label goes through encoder and decoder C times,
once with each class.  L does not ask for q(y|x): for labels to teach the classifier takes a term of its own (eq. 9)

    J^α  =  Σ_labelled L(x, y)  +  Σ_others U(x)  −  α · mean_labelled( −log q(y|x) ),        α = 0.1 · N

Encoder and decoder hear L and U.  The classifier hears U, and the cross-entropy.  A step climbs J^α / N on a batch
whose every row has an image without a label (`x`) and one with (`labelled`, `labels`): with u = N_others / N

    loss  =  mean_B( −u U(x) − (1 − u) L(labelled, labels) − 0.1 log q(labels | labelled) ) .

So each of the three sums is estimated by B rows, however few the labels are.  Drawn from all images alike, a batch of
100 from 60,000 images with 100 labels would hold a label in one step of six, and with it 60 times the weight that the
0.1 has here.  The authors' code, too, puts labelled images in every batch.

What it costs: with ten classes a step (784-500, 50 latents, 100 images) holds 20 MB beside the parameters, and takes
eight times a VAE's processor time; a VAE holds 2 MB.

Shapes: B images of X pixels, C classes, Z latents.  C·B rows are the batch C times over.  Nats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minivae.backend import Array, Device, Generator, Pullback, array_module, at_least_one
from minivae.batch import Batch, as_batch, check_labels
from minivae.distributions import (
    categorical_kl,
    categorical_nll,
    expectation,
    gaussian_kl,
    gaussian_log_prob,
    reparameterize,
    standard_normal_log_prob,
)
from minivae.nn import Data, Layer, Linear, Model, Optimizer, Parameter, by_rows
from minivae.ops import concat, log_softmax, logsumexp, one_hot, repeat, repeat_each
from minivae.parts import Likelihood


class LabelEncoder(Layer):
    """q(z|x, y): h = trunk(x W + b + y V), and two heads        x (B, X), y (K·B, C) -> mean and logvar (K·B, Z)

    y is the batch K times over, one-hot.  x W, by far the largest product, is made once for all K.
    """

    def __init__(self, image: Linear, V: np.ndarray, trunk: Layer, mean: Layer, logvar: Layer) -> None:
        self.image, self.V, self.trunk, self.mean, self.logvar = image, Parameter(V), trunk, mean, logvar

    def __call__(self, x: Array, *, y: Array) -> tuple[tuple[Array, Array], Pullback]:
        once, pull_image = self.image(x)
        each, pull_each = repeat(once, samples=len(y) // len(x))
        h, pull_trunk = self.trunk(each + y @ self.V.value)
        mean, pull_mean = self.mean(h)
        logvar, pull_logvar = self.logvar(h)

        def pullback(dmean: Array, dlogvar: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dh = pull_mean(dmean, need_dp=need_dp) + pull_logvar(dlogvar, need_dp=need_dp)
            dsum = pull_trunk(dh, need_dp=need_dp)
            if need_dp:
                self.V.add(y.T @ dsum)
            return pull_image(pull_each(dsum), need_dx=need_dx, need_dp=need_dp)       # used K times: they add

        return (mean, logvar), pullback


class M2(Model):
    """Trains on x (B, X), labelled (B, X), labels (B,) in 0 … C − 1; is judged on the same names.

    classifier       x -> logits of q(y|x)
    encoder          (x, y) -> mean and logvar of q(z|x, y)
    decoder          (z, y) -> parameters of p(x|y, z)
    class_prior      p(y), C numbers that add up to 1; None: all alike
    labelled_share   1 − u: which part of the images has a label
    label_weight     α / N, of the cross-entropy
    """

    needs: tuple[str, ...] = ("x", "labelled", "labels")
    pixels_of: tuple[str, ...] = ("x", "labelled")
    says: tuple[str, ...] = ("elbo", "nll", "kl", "cross_entropy")     # of a step: U's, and of the labels

    def __init__(self, classifier: Layer, encoder: LabelEncoder, decoder: Layer, likelihood: Likelihood, *, pixels: int,
                 classes: int, latents: int, device: Device, dtype: type = np.float32,
                 optimizer: Optimizer | None = None, class_prior: Sequence[float] | None = None,
                 labelled_share: float = 0.0, label_weight: float = 0.1) -> None:
        self._parts(classifier, encoder, decoder, likelihood, (pixels, classes, latents), class_prior,
                    (labelled_share, label_weight), device, dtype)
        self.learns(m2=self.parameters(), optimizers={"m2": optimizer} if optimizer else None, device=device,
                    dtype=dtype, uses=classes)

    def _parts(self, classifier: Layer, encoder: LabelEncoder, decoder: Layer, likelihood: Likelihood,
               sizes: tuple[int, int, int], class_prior: Sequence[float] | None, weights: tuple[float, float],
               device: Device, dtype: type) -> None:
        self.classifier, self.encoder, self.decoder, self.likelihood = classifier, encoder, decoder, likelihood
        self.pixels, self.classes, self.latents = sizes
        at_least_one(pixels=self.pixels, classes=self.classes, latents=self.latents)
        self.labelled_share, self.label_weight = weights
        if not 0.0 <= self.labelled_share <= 1.0 or not self.label_weight >= 0.0:
            raise ValueError(f"labelled_share, label_weight: got {weights}, expected one in [0, 1] and one of at "
                             "least 0")
        p = np.full(self.classes, 1.0 / self.classes) if class_prior is None else np.asarray(class_prior, np.float64)
        if p.shape != (self.classes,) or not (p > 0.0).all() or abs(p.sum() - 1.0) > 1e-6:
            raise ValueError(f"class_prior: got {class_prior}, expected {self.classes} numbers > 0 that add up to 1")
        self.log_p = np.log(p)

    # ── the bounds ────────────────────────────────────────────────────────────────────────────────

    def conditional_terms(self, *, x: Array, y: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll = −log p(x|y, z), z ~ q(z|x, y), and kl of z        x (B, X), y (K·B, C), eps (K·B, Z) -> (K·B,) (K·B,)

        A bound on log p(x|y), for K labels of each image: y is the batch K times over, one-hot.
        """
        (mean, logvar), pull_encoder = self.encoder(x, y=y)
        z, pull_z = reparameterize(mean, logvar, eps=eps)
        code, pull_code = concat(z, y)
        outputs, pull_decoder = self.decoder(code)
        nll, pull_nll = self.likelihood(outputs, x=repeat(x, samples=len(y) // len(x))[0])
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz, _ = pull_code(pull_decoder(pull_nll(dnll)))
            dq_draw = pull_z(dz)
            dq_kl = pull_kl(dkl)
            pull_encoder(*(a + b for a, b in zip(dq_draw, dq_kl)), need_dx=False)

        return (nll, kl), pullback

    def labelled_terms(self, *, x: Array, labels: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll and kl of L(x, y) = −(nll + kl);   kl = KL(q(z|x, y) ‖ N(0, I)) − log p(y)    eps (B, Z) -> (B,) (B,)"""
        y = one_hot(labels, classes=self.classes, dtype=x.dtype)
        (nll, kl), pullback = self.conditional_terms(x=x, y=y, eps=eps)
        return (nll, kl - y @ self.log_prior(x)), pullback           # log p(y) is a constant

    def unlabelled_terms(self, *, x: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll and kl of U(x) = −(nll + kl), every class enumerated        x (B, X), eps (C, B, Z) -> (B,) (B,)"""
        # nll = Σ_y q(y|x) nll(y),   kl = Σ_y q(y|x) kl(y) + KL(q(y|x) ‖ p(y)).   What the three tell the classifier
        # adds up to  ∂U/∂logit(y) = q(y|x) (L(x, y) − log q(y|x) − U(x))
        C, B = self.classes, len(x)
        logits, pull_classifier = self.classifier(x)
        each, pull_each = self.conditional_terms(x=x, y=self._every_class(x), eps=eps.reshape(C * B, -1))
        (nll, pull_nll), (kl, pull_kl) = (expectation(logits, term.reshape(C, B).T) for term in each)
        kl_y, pull_y = categorical_kl(logits, log_prior=self.log_prior(x))

        def pullback(dnll: Array, dkl: Array) -> None:
            dlogits_nll, dnll_each = pull_nll(dnll)
            dlogits_kl, dkl_each = pull_kl(dkl)
            pull_classifier(dlogits_nll + dlogits_kl + pull_y(dkl), need_dx=False)            # q is used three times
            pull_each(dnll_each.T.ravel(), dkl_each.T.ravel())

        return (nll, kl + kl_y), pullback

    def class_nll(self, *, x: Array, labels: Array) -> tuple[Array, Pullback]:
        """−log q(y|x), the classifier's surprise at the labels        (B, X) (B,) -> (B,)"""
        logits, pull_classifier = self.classifier(x)
        nll, pull_nll = categorical_nll(logits, labels=labels)

        def pullback(dnll: Array) -> None:
            pull_classifier(pull_nll(dnll), need_dx=False)

        return nll, pullback

    def log_prior(self, x: Array) -> Array:
        """log p(y) where x lives, in its dtype        -> (C,)"""
        return array_module(x).asarray(self.log_p, dtype=x.dtype)

    def _every_class(self, x: Array) -> Array:
        """One-hot rows of class 0 for the whole batch, then of class 1, …        -> (C·B, C)"""
        labels = array_module(x).arange(self.classes * len(x)) // len(x)
        return one_hot(labels, classes=self.classes, dtype=x.dtype)

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        batch = as_batch(data)
        for key in self.pixels_of:
            array = batch.arrays[key]
            if array.ndim != 2 or array.shape[1] != self.seen or array.dtype.kind != "f" or not len(array):
                raise ValueError(f"{name}.{key}: got {array.dtype} {array.shape}, expected floats (N, {self.seen})")
            self.pixel_likelihood.check(array, f"{name}.{key}")
        check_labels(batch.labels, self.classes, f"{name}.labels")

    @property
    def seen(self) -> int:
        """pixels of an image"""
        return self.pixels

    @property
    def pixel_likelihood(self) -> Likelihood:
        """of the images"""
        return self.likelihood

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        batch = as_batch(batch)
        eps = rng.standard_normal((self.classes + 1, len(batch), self.latents), dtype=self.dtype)

        def share(model: M2, rows: slice) -> tuple[Array, ...]:
            nll, kl, surprise = model._step(batch[rows], eps[:, rows], 1.0 / len(batch))
            return -(nll + kl), nll, kl, surprise

        return dict(zip(self.says, self.workers.step(share, len(batch))))

    def _step(self, part: Batch, eps: Array, weight: float) -> tuple[Array, Array, Array]:
        """Add the gradient of weight · Σ loss; return weight · Σ of nll and kl (U's, or L's) and cross-entropy."""
        share, dterm = self.labelled_share, np.full_like(part.x, weight, shape=len(part))
        if share < 1.0:                               # else no image is without a label: the classes need no sum
            (nll, kl), pull_others = self.unlabelled_terms(x=part.x, eps=eps[:-1])
            pull_others((1.0 - share) * dterm, (1.0 - share) * dterm)
        known, pull_labelled = self.labelled_terms(x=part.labelled, labels=part.labels, eps=eps[-1])
        pull_labelled(share * dterm, share * dterm)
        nll, kl = known if share == 1.0 else (nll, kl)
        surprise, pull_surprise = self.class_nll(x=part.labelled, labels=part.labels)
        pull_surprise(self.label_weight * dterm)
        return weight * nll.sum(), weight * kl.sum(), weight * surprise.sum()

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and kl of U(x): as if no label were known"""
        x = as_batch(batch).x
        drawn = [self.unlabelled_terms(x=x, eps=self._noise(rng, self.classes, len(x)))[0] for _ in range(samples)]
        return self.mean_of(drawn)

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log Σ_y p(x, y, z_y) / q(z_y|x, y) for K draws of a z for each class: no guess of y is needed    -> (K, B)"""
        x = as_batch(batch).x
        C, B, y = self.classes, len(x), self._every_class(x)
        q, _ = repeat_each(*self.encoder(x, y=y)[0], samples=samples)                # asked once for all draws
        z, _ = reparameterize(*q, eps=self._noise(rng, samples * C * B))

        def nll(z: Array) -> Array:
            told, _ = repeat(y, samples=len(z) // (C * B))
            return self.likelihood.of_draws(self.decoder(concat(z, told)[0])[0], x=x)

        log_ratio = standard_normal_log_prob(z)[0] - gaussian_log_prob(z, *q)[0] - by_rows(nll, z, multiple=C * B)
        return logsumexp(log_ratio.reshape(samples, C, B).swapaxes(1, 2) + self.log_prior(x))[0]

    # ── predictions ───────────────────────────────────────────────────────────────────────────────

    def class_log_prob(self, x: Array) -> Array:
        """log q(y|x)        (B, X) -> (B, C)"""
        return log_softmax(self.classifier(x)[0])[0]

    def classify(self, x: Array) -> Array:
        """The likeliest class        (B, X) -> (B,)"""
        return self.class_log_prob(x).argmax(axis=1)

    def encode(self, x: Array, labels: Array) -> tuple[Array, Array]:
        """mean and logvar of q(z|x, y)        (B, X) (B,) -> (B, Z) (B, Z)"""
        return self.encoder(x, y=one_hot(labels, classes=self.classes, dtype=x.dtype))[0]

    def decode(self, z: Array, labels: Array) -> Array:
        """E[x|y, z]        (B, Z) (B,) -> (B, X)"""
        y = one_hot(labels, classes=self.classes, dtype=z.dtype)
        return self.likelihood.mean(self.decoder(concat(z, y)[0])[0])

    def sample(self, n: int, rng: Generator, label: int | None = None) -> Array:
        """E[x|y, z] for n draws of z, all of this class; None: the classes in turn, 0, 1, …        -> (n, X)"""
        at_least_one(n=n)
        return self.decode(self._noise(rng, n), self._labels(n, label))

    def _labels(self, n: int, label: int | None) -> Array:
        if label is None:
            return self.device.xp.arange(n) % self.classes
        if not 0 <= label < self.classes:
            raise ValueError(f"label: got {label}, expected a class from 0 to {self.classes - 1}")
        return self.device.xp.full(n, label)

    def reconstruct(self, batch: Data, rng: Generator) -> Array:
        """E[x|y, z] with the likeliest y, and one draw z ~ q(z|x, y) per row        -> (B, X)"""
        x = as_batch(batch).x
        y = self.classify(x)
        return self.decode(reparameterize(*self.encode(x, y), eps=self._noise(rng, len(x)))[0], y)

    def analogies(self, x: Array) -> Array:
        """Each image's z with all C classes: E[x|y, z] at the mean of q(z|x, likeliest y)    (B, X) -> (B, C, X)"""
        z, every = self.encode(x, self.classify(x))[0], self.device.xp.arange(self.classes)
        each = [self.decode(z, np.broadcast_to(label, len(z))) for label in every]
        return np.stack(each, axis=1)

    def _noise(self, rng: Generator, *sizes: int) -> Array:
        return rng.standard_normal((*sizes, self.latents), dtype=self.dtype)
