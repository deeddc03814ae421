"""Solutions of chapter 34 · Source separation.

    python -m chapters.solutions.ch34
"""

# %% [markdown]
# # Solutions of chapter 34

# %%
import numpy as np
from scipy.linalg import eigh

from chapters import ch34_source_separation as chapter
from minivae.chapter import options, parser
from minivae.evaluation import evaluate
from minivae.separation import beginnings, ilrma, log_likelihood, mvae, separation_scores
from minivae.sound import heard, mixing_room

opt, _ = options(parser("solutions/ch34", __doc__, epochs=20, data="auto"), None)
rng = np.random.default_rng(opt.seed)
spoken = opt.recordings()
PAIRS = ((0, 1),) if opt.quick else ((0, 1), (2, 5), (3, 4), (1, 2))


def sdr(model, x, images, speakers):
    """Mean SDR of the MVAE"""
    X = chapter.spectrogram(x)
    found, _ = mvae(X, model, starts=beginnings(X, rng=np.random.default_rng(0)), speakers=speakers, sweeps=chapter.sweeps(opt, 40))
    return separation_scores(chapter.as_waves(found, x), images).sdr.mean()


# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  `LATENTS = 64`, `HIDDEN = 512`.  The bound of the test frames rises.  Does the separation get better as well?  What can a
# > decoder do that has learned too well?
#
# The separation hears of the decoder one thing alone: which variances it *can* say.  A decoder of one voice that can also say the sum of two
# voices, for some $z$, has nothing to tell the mixture from a voice with: the likelihood of $W = I$ is then nearly as high as that of the truth.
# The bound does not punish it, since it asks only that voices have a $z$, and says nothing of what else has one.  The prior would, a little,
# and the objective (2) does not hold it.  That is what it could do.  Does it?

# %%
sizes = {"of the chapter": (chapter.LATENTS, chapter.HIDDEN), "larger": (64, 512)}
for name, (chapter.LATENTS, chapter.HIDDEN) in sizes.items():
    model, frames = chapter.voices_of(spoken, opt, opt.seed)
    bound, decibels = evaluate(model, frames).elbo, []
    model = chapter.on_the_host(model)
    for k, pair in enumerate(PAIRS):
        x, images = chapter.mixture_of(spoken.test, pair, opt, np.random.default_rng([7, k]))
        decibels.append(sdr(model, x, images, pair))
    print(f"{name}: bound {bound} nats, SDR of {len(PAIRS)} mixtures {np.mean(decibels):.1f} dB")
    assert np.isfinite(decibels).all()
chapter.LATENTS, chapter.HIDDEN = sizes["of the chapter"]

# %% [markdown]
# Not here: the bound rises from 700 to 749 nats, and the four mixtures come out with 15.5 dB instead of 14.7, no worse, and of four mixtures no proof of
# better.  As long as one of the beginnings is good, the objective still finds it.  It is with $W = I$ as the only beginning that one would look for harm.

# %% [markdown]
# ## Exercise 2
#
# > *Break this.*  Give `mixing_room` `taps=4096`, eight frames long, `fading=8000`, a second, and `reverberation=1.0`.  Which line of the text above
# > is no longer true?  What becomes of SIR and of SAR, and why of both?
#
# $x(f, n) = A(f)\, s(f, n)$.  What was said eight frames ago still sounds, so that frame $n$ of the mixture holds frames $n, n - 1, \ldots$ of the sources,
# and no matrix of one frame takes it apart: much of the other voice is left, and SIR falls.  SAR falls as far.  $W$ is as long as a frame, and to
# weigh the microphones against each other changes how the tail of the *own* voice sounds.  BSS-eval forgives filters of up to 512
# samples; what is later in the tail is in its eyes made up.

# %%
for name, how in {"half a frame": {}, "eight frames": {"taps": 4096, "fading": 8000, "reverberation": 1.0}}.items():
    found = []
    for k, pair in enumerate(PAIRS):
        draw = np.random.default_rng([9, k])
        dry = np.stack([chapter.sentence(spoken.test, who, int(chapter.RATE * 1.5), draw) for who in pair])
        images = heard(dry, mixing_room(2, rng=draw, **how))
        x = images.sum(axis=1)
        best = max((ilrma(chapter.spectrogram(x), rng=np.random.default_rng(seed), sweeps=chapter.sweeps(opt, 50)) for seed in range(2)),
                   key=lambda separation: separation.objective[-1])
        scores = separation_scores(chapter.as_waves(best, x), images[0])
        found.append([scores.sdr.mean(), scores.sir.mean(), scores.sar.mean()])
    print(f"{name}: SDR, SIR, SAR {np.mean(found, axis=0).round(1)} dB of ILRMA")
    assert np.isfinite(found).all()

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  With $J = 2$ both rows can be found at once: show that the best $w_1, w_2$ solve $V_1 w = \lambda V_2 w$, the generalised
# > eigenvectors of $V_1$ and $V_2$.  (At the optimum $w_2^{\mathsf H} V_1 w_1 = 0$ and $w_1^{\mathsf H} V_2 w_2 = 0$: why?)
#
# Where no row can be bettered, (3) holds for both: $W V_1 w_1 = e_1$ and $W V_2 w_2 = e_2$.  Row 2 of the first says $w_2^{\mathsf H} V_1 w_1 = 0$, row 1 of the second
# $w_1^{\mathsf H} V_2 w_2 = 0$, and its conjugate $w_2^{\mathsf H} V_2 w_1 = 0$.  In two dimensions what is orthogonal to $w_2$ is a line, so $V_1 w_1$ and $V_2 w_1$ both lie on it:
# $V_1 w_1 = \lambda_1 V_2 w_1$; in the same way for $w_2$.  There are two eigenvectors, and two ways to call one of them the first: the objective is larger for the order with
# $\lambda_1 < \lambda_2$, since with lengths $w_j^{\mathsf H} V_j w_j = 1$ the second term of (2) is the same for both and the determinant is not.

# %%
x = rng.standard_normal((2, 1, 60)) + 1j * rng.standard_normal((2, 1, 60))
v = rng.uniform(0.2, 3.0, (2, 1, 60))
V = [(x[:, 0] / v[j] @ x[:, 0].conj().T) / 60 for j in range(2)]
values, vectors = eigh(V[0], V[1])
W = np.stack([vectors[:, j] / np.sqrt((vectors[:, j].conj() @ V[j] @ vectors[:, j]).real) for j in range(2)]).conj()[None]
at_once, stepwise = log_likelihood(W, x, v), np.eye(2, dtype=complex)[None]
for _ in range(200):
    for row in range(2):
        stepwise = chapter.project(stepwise, x, v[row], row=row)
print(f"at once {at_once:.6f}, row by row {log_likelihood(stepwise, x, v):.6f} nats; eigenvalues {values.round(3)}")
assert abs(at_once - log_likelihood(stepwise, x, v)) < 1e-6
other = np.stack([vectors[:, 1 - j] / np.sqrt((vectors[:, 1 - j].conj() @ V[j] @ vectors[:, 1 - j]).real) for j in range(2)]).conj()[None]
assert log_likelihood(other, x, v) < at_once
