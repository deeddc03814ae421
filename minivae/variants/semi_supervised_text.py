"""M2 for sentences: a few have a label, and the others teach the classifier all the same.

    y ~ p(y)                      a class
    z ~ N(0, I)                   all else
    x ~ p(x|y, z)                 word after word: an LSTM that is told the word before, begins with z and y, and (the
                                  conditional one) hears y at every step, as in Xu et al. 2017
    q(y|x), q(z|x, y)             two LSTMs that read x

The bounds are those of M2 (`semi_supervised`; Kingma et al. 2014, eq. 6 and 7), an image now a sentence:

    log p(x, y)  ≥  L(x, y)  =  E_q(z|x,y)[ log p(x|y, z) ]  −  KL( q(z|x, y) ‖ N(0, I) )  +  log p(y)
    log p(x)     ≥  U(x)     =  Σ_y q(y|x) L(x, y)  +  H( q(y|x) )

All classes are enumerated.  Who hears what: writer and encoder L and U; the classifier U, and the cross-entropy of the
labels; the vectors of the words, which all three share, everything.  A step goes down, with u the share without labels,

    mean_B( −u U(x) − (1 − u) L(labelled, labels) − α log q(labels | labelled) )

on a batch as M2's.  Two things are done to L and U in a step, and to nothing that is reported (Bowman et al. 2016,
section 3): the KL of z weighs less at first, rising from 0 to 1 (warm_up), and the writer is told some words before as
UNKNOWN (forget), else it need not listen to z, nor to y, to know what comes next.

Shapes: B sentences of T codes, C classes, Z latents.  C·B rows are the batch C times over.  Nats.
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
from minivae.nn import Data, Model, Optimizer, Parameter
from minivae.ops import concat, log_softmax, logsumexp, one_hot
from minivae.parts.sentences import Reading, Writer, codes_in, in_parts, shortened, told_before

AT_ONCE = 50               # sentences, where all are only looked at: their logits are C · T · V numbers each


class TextM2(Model):
    """Trains on x (B, T), labelled (B, T), labels (B,) in 0 … C − 1; is judged on the same names.

    classifier       x -> logits of q(y|x)
    encoder          (x, y) -> mean and logvar of q(z|x, y)
    writer           p(x|y, z)
    sizes            codes V, classes C, latents Z
    class_prior      p(y), C numbers that add up to 1; None: all alike
    labelled_share   1 − u: which part of the sentences has a label
    label_weight     α, of the cross-entropy
    warm_up          steps in which the weight of the KL of z rises from 0 to 1; 0: it is 1
    forget           which part of the words the writer is told as UNKNOWN in a step
    """

    needs: tuple[str, ...] = ("x", "labelled", "labels")
    pixels_of: tuple[str, ...] = ()
    says: tuple[str, ...] = ("elbo", "nll", "kl", "cross_entropy")     # of a step: U's, and of the labels

    def __init__(self, classifier: Reading, encoder: Reading, writer: Writer, *, sizes: tuple[int, int, int],
                 device: Device, dtype: type = np.float32, optimizer: Optimizer | None = None,
                 class_prior: Sequence[float] | None = None, labelled_share: float = 0.0, label_weight: float = 1.0,
                 warm_up: int = 0, forget: float = 0.0) -> None:
        self.classifier, self.encoder, self.writer = classifier, encoder, writer
        self.words, self.classes, self.latents = sizes
        at_least_one(words=self.words, classes=self.classes, latents=self.latents)
        for name, number, most in (("labelled_share", labelled_share, 1.0), ("forget", forget, 1.0),
                                   ("label_weight", label_weight, np.inf), ("warm_up", warm_up, np.inf)):
            if not 0.0 <= number <= most:
                raise ValueError(f"{name}: got {number}, expected a number in [0, {most}]")
        self.labelled_share, self.label_weight = labelled_share, label_weight
        self.warm_up, self.forget = warm_up, forget
        p = np.full(self.classes, 1.0 / self.classes) if class_prior is None else np.asarray(class_prior, np.float64)
        if p.shape != (self.classes,) or not (p > 0.0).all() or abs(p.sum() - 1.0) > 1e-6:
            raise ValueError(f"class_prior: got {class_prior}, expected {self.classes} numbers > 0 that add up to 1")
        self.log_p = np.log(p)
        self.learns(m2=self.parameters(), optimizers={"m2": optimizer} if optimizer else None, device=device,
                    dtype=dtype, uses=8 * self.classes)                # a row is a sentence: many products of few rows

    def parameters(self, prefix: str = "") -> dict[str, Parameter]:
        """Each once: the vectors of the words are classifier's, encoder's and writer's."""
        found: dict[int, tuple[str, Parameter]] = {}
        for name, p in super().parameters(prefix).items():
            found.setdefault(id(p), (name, p))
        return dict(found.values())

    # ── the bounds ────────────────────────────────────────────────────────────────────────────────

    def conditional_terms(self, *, x: Array, y: Array, told: Array, eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll = −log p(x|y, z), z ~ q(z|x, y), and kl of z        x (B, T), y (K·B, C), eps (K·B, Z) -> (K·B,) (K·B,)

        For K labels of each sentence: y is the batch K times over, one-hot.  told: what the writer is told of x.
        """
        (mean, logvar), pull_encoder = self.encoder(x=x, y=y)
        z, pull_z = reparameterize(mean, logvar, eps=eps)
        code, pull_code = concat(z, y)
        nll, pull_writer = self.writer(code, x=x, told=told, y=self.heard(y))
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dnll: Array, dkl: Array) -> None:
            dz, _ = pull_code(pull_writer(dnll))
            dq_draw = pull_z(dz)
            dq_kl = pull_kl(dkl)
            pull_encoder(*(a + b for a, b in zip(dq_draw, dq_kl)))

        return (nll, kl), pullback

    def labelled_terms(self, *, x: Array, labels: Array, told: Array,
                       eps: Array) -> tuple[tuple[Array, Array], Pullback]:
        """nll and the KL of z of L(x, y) = −(nll + kl) + log p(y)        eps (B, Z) -> (B,) (B,)"""
        y = one_hot(labels, classes=self.classes, dtype=eps.dtype)
        return self.conditional_terms(x=x, y=y, told=told, eps=eps)

    def unlabelled_terms(self, *, x: Array, told: Array,
                         eps: Array) -> tuple[tuple[Array, Array, Array], Pullback]:
        """nll, and KLs of z and of y, of U(x) = −(nll + kl + kl_y), all classes enumerated    eps (C, B, Z) -> (B,) × 3

        nll = Σ_y q(y|x) nll(y),   kl = Σ_y q(y|x) kl(y),   kl_y = KL( q(y|x) ‖ p(y) )
        """
        C, B = self.classes, len(x)
        logits, pull_classifier = self.classifier(x=x)
        each, pull_each = self.conditional_terms(x=x, y=self.every_class(eps), told=told, eps=eps.reshape(C * B, -1))
        (nll, pull_nll), (kl, pull_kl) = (expectation(logits, term.reshape(C, B).T) for term in each)
        kl_y, pull_y = categorical_kl(logits, log_prior=self.log_prior(eps))

        def pullback(dnll: Array, dkl: Array, dkl_y: Array) -> None:
            dlogits_nll, dnll_each = pull_nll(dnll)
            dlogits_kl, dkl_each = pull_kl(dkl)
            pull_classifier(dlogits_nll + dlogits_kl + pull_y(dkl_y))                        # q is used three times
            pull_each(dnll_each.T.ravel(), dkl_each.T.ravel())

        return (nll, kl, kl_y), pullback

    def class_nll(self, *, x: Array, labels: Array) -> tuple[Array, Pullback]:
        """−log q(y|x), the classifier's surprise at the labels        (B, T) (B,) -> (B,)"""
        logits, pull_classifier = self.classifier(x=x)
        nll, pull_nll = categorical_nll(logits, labels=labels)

        def pullback(dnll: Array) -> None:
            pull_classifier(pull_nll(dnll))

        return nll, pullback

    def heard(self, y: Array) -> Array | None:
        """What every step of the writer hears: y, or (the vanilla one) nothing"""
        return y if self.writer.lstm.condition else None

    def log_prior(self, like: Array) -> Array:
        """log p(y) where `like` lives, in its dtype        -> (C,)"""
        return array_module(like).asarray(self.log_p, dtype=like.dtype)

    def every_class(self, eps: Array) -> Array:
        """One-hot rows of class 0 for the whole batch, then of class 1, …        eps (C, B, Z) -> (C·B, C)"""
        C, B = eps.shape[:2]
        return one_hot(array_module(eps).arange(C * B) // B, classes=C, dtype=eps.dtype)

    # ── what the training loop and the evaluation ask of every model ─────────────────────────────

    def check(self, data: Data, name: str = "x") -> None:
        super().check(data, name)
        batch = as_batch(data)
        for key in ("x", "labelled"):
            codes_in(batch.arrays[key], f"{name}.{key}", self.words)
        check_labels(batch.labels, self.classes, f"{name}.labels")

    def train_step(self, batch: Data, rng: Generator) -> dict[str, Array]:
        batch = as_batch(batch)
        batch = batch.but(x=shortened(batch.x), labelled=shortened(batch.labelled))
        eps = self._noise(rng, self.classes + 1, len(batch))
        told = [told_before(x, forget=rng.random(x.shape, dtype=self.dtype) < self.forget if self.forget else None)
                for x in (batch.x, batch.labelled)]
        weight = min(1.0, self.optimizer.steps / self.warm_up) if self.warm_up else 1.0

        def share(model: TextM2, rows: slice) -> tuple[Array, ...]:
            return model._step(batch[rows], [t[rows] for t in told], eps[:, rows], weight, 1.0 / len(batch))

        return dict(zip(self.says, self.workers.step(share, len(batch))))

    def _step(self, part: Batch, told: list[Array], eps: Array, kl_weight: float, weight: float) -> tuple[Array, ...]:
        """Add the gradient of weight · Σ loss; return weight · Σ of U, its nll and KLs, and cross-entropy."""
        share, dterm = self.labelled_share, np.full_like(eps, weight, shape=len(part))
        (nll, kl, kl_y), pull_others = self.unlabelled_terms(x=part.x, told=told[0], eps=eps[:-1])
        d = (1.0 - share) * dterm
        pull_others(d, kl_weight * d, d)
        _, pull_labelled = self.labelled_terms(x=part.labelled, labels=part.labels, told=told[1], eps=eps[-1])
        pull_labelled(share * dterm, kl_weight * share * dterm)
        surprise, pull_surprise = self.class_nll(x=part.labelled, labels=part.labels)
        pull_surprise(self.label_weight * dterm)
        nll, kl = weight * nll.sum(), weight * (kl + kl_y).sum()
        return -(nll + kl), nll, kl, weight * surprise.sum()

    def terms(self, batch: Data, rng: Generator, samples: int = 1) -> tuple[Array, Array]:
        """nll and kl of U(x): as if no label were known; every word is told"""
        x = as_batch(batch).x
        drawn = [self.mean_of([self._terms(part, rng) for _ in range(samples)]) for part in in_parts(x, AT_ONCE)]
        nll, kl = (np.concatenate(term) for term in zip(*drawn))
        return nll, kl

    def _terms(self, x: Array, rng: Generator) -> tuple[Array, Array]:
        (nll, kl, kl_y), _ = self.unlabelled_terms(x=x, told=told_before(x),
                                                   eps=self._noise(rng, self.classes, len(x)))
        return nll, kl + kl_y

    def log_weights(self, batch: Data, rng: Generator, samples: int = 1) -> Array:
        """log Σ_y p(x, y, z_y) / q(z_y|x, y) for K draws of a z for each class: no guess of y is needed    -> (K, B)"""
        each = [np.stack([self._log_weight(part, rng) for _ in range(samples)])
                for part in in_parts(as_batch(batch).x, AT_ONCE)]
        return np.concatenate(each, axis=1)

    def _log_weight(self, x: Array, rng: Generator) -> Array:
        C, B, eps = self.classes, len(x), self._noise(rng, self.classes, len(x))
        y = self.every_class(eps)
        q, _ = self.encoder(x=x, y=y)
        z, _ = reparameterize(*q, eps=eps.reshape(C * B, -1))
        nll, _ = self.writer(concat(z, y)[0], x=x, told=told_before(x), y=self.heard(y))
        log_ratio = standard_normal_log_prob(z)[0] - gaussian_log_prob(z, *q)[0] - nll
        return logsumexp(log_ratio.reshape(C, B).T + self.log_prior(eps))[0]

    # ── predictions ───────────────────────────────────────────────────────────────────────────────

    def class_log_prob(self, x: Array) -> Array:
        """log q(y|x)        (B, T) -> (B, C)"""
        return np.concatenate([log_softmax(self.classifier(x=part)[0])[0] for part in in_parts(x, AT_ONCE)])

    def classify(self, x: Array) -> Array:
        """The likeliest class        (B, T) -> (B,)"""
        return self.class_log_prob(x).argmax(axis=1)

    def encode(self, x: Array, labels: Array) -> tuple[Array, Array]:
        """mean and logvar of q(z|x, y)        (B, T) (B,) -> (B, Z) (B, Z)"""
        return self.encoder(x=x, y=one_hot(labels, classes=self.classes, dtype=self.dtype))[0]

    def decode(self, z: Array, labels: Array, *, steps: int = 30, rng: Generator | None = None) -> Array:
        """A sentence for each z: drawn, or (no rng) word by word the likeliest        (B, Z) (B,) -> (B, steps)"""
        y = one_hot(labels, classes=self.classes, dtype=z.dtype)
        return self.writer.speak(concat(z, y)[0], steps=steps, rng=rng, y=self.heard(y))

    def sample(self, n: int, rng: Generator, label: int | None = None, *, steps: int = 30) -> Array:
        """n sentences of this class; None: of the classes in turn, 0, 1, …        -> (n, steps)"""
        at_least_one(n=n)
        if label is not None and not 0 <= label < self.classes:
            raise ValueError(f"label: got {label}, expected a class from 0 to {self.classes - 1}")
        xp = self.device.xp
        return self.decode(self._noise(rng, n), xp.arange(n) % self.classes if label is None else xp.full(n, label),
                           steps=steps, rng=rng)

    def _noise(self, rng: Generator, *sizes: int) -> Array:
        return rng.standard_normal((*sizes, self.latents), dtype=self.dtype)
