"""Chapter 34 · Source separation.

The question     Two people speak at once, and two microphones hear both.  Nobody knows the room.  Who said what?
What is new      complex numbers; a matrix for every frequency that takes the mixture apart, row by row, in closed form; a VAE that
                 says how loud a voice is, and whose decoder is climbed by its inputs; scores in decibels.
What you'll see  an objective that never falls; spectrograms before and after; voices to listen to; and what a VAE of voices is
                 worth beside a model that knows none (ILRMA).

    python chapters/ch34_source_separation.py               ten mixtures of two, two of three: two minutes
    python chapters/ch34_source_separation.py --seeds 5     five networks, ten mixtures for each: README.md's table
"""

# %% [markdown]
# # 34 · Source separation
#
# At a party you listen to one voice among many, with two ears.  Here are as many microphones as speakers, and a room of which
# nobody knows anything.  In a spectrogram a room whose echoes are shorter than a frame is nearly a multiplication: in frequency
# $f$ and frame $n$ the microphones hear $x(f, n) = A(f)\, s(f, n)$, a complex matrix times the sources.  So somewhere there is a
# $W(f) = A(f)^{-1}$ that takes the mixture apart,
#
# $$ y(f, n) = W(f)\, x(f, n). $$
#
# Which one?  The one under whose $y$ the sources are most probable.  All depends on what one knows of sources.  *Independent low-rank
# matrix analysis* (ILRMA, Kitamura et al. 2016) knows that a sound is a few spectra that come and go.  The *multichannel VAE* (MVAE,
# Kameoka et al. 2019) knows what people sound like: a conditional VAE has learned it from clean speech, and $c$ says who speaks.
#
# We know the paper by its abstract, by what others say of it, and by its authors' program; what is ours is said in
# `minivae/separation/voice.py`.

# %%
from itertools import count

import numpy as np
from tqdm import tqdm

from minivae import plots
from minivae.backend import device
from minivae.chapter import options, parser
from minivae.data.spectra import FRAME, HOP, speech_frames
from minivae.data.spoken_digits import RATE
from minivae.distributions import complex_gaussian_nll
from minivae.evaluation import Estimate, evaluate
from minivae.gradcheck import gradcheck
from minivae.nn import Adam, cosine
from minivae.separation import Voice, demix, ilrma, mvae, project, project_back, separate, separation_scores
from minivae.sound import heard, istft, mixing_room, stft
from minivae.training import fit
from minivae.variants import SourceVAEConfig

BATCH, HIDDEN, LATENTS, SECONDS = 128, 128, 16, 4.0
MIXTURES, TRIPLES, BEGINNINGS = 10, 2, 4


# %% [markdown]
# ## By hand: how probable is a complex number
#
# A source's amplitude is a complex Gaussian, $y \sim \mathcal N_{\mathbb C}(0, v)$: real and imaginary part have variance $v / 2$ each and know
# nothing of each other, so no phase is likelier than another:
#
# $$ -\log p(y) = \frac{|y|^2}{v} + \log v + \log \pi, \qquad \frac{\partial}{\partial \log v} = 1 - \frac{|y|^2}{v}. \tag{1} $$
#
# All that a model of a source has to say is $v(f, n)$, how loud it is where.

# %%
def surprise_of(logvar, *, power):                      # (B, X) -> (B,)
    """Σ ( |y|²/v + log v + log π ),   v = exp(logvar)"""
    ratio = power * np.exp(-logvar)

    def pullback(d):
        return d[:, None] * (1.0 - ratio)

    return (ratio + logvar + np.log(np.pi)).sum(axis=1), pullback


# %% [markdown]
# ## By hand: the best row of $W$
#
# Mixture and sources are $N$ frames of $J$ numbers in each frequency.  By the change of variables (a complex matrix turns two real
# numbers for each complex one, hence the 2),
#
# $$ \log p(x) = 2N \sum_f \log |\det W(f)| - \sum_{j, f, n} \Big( \log v_j + \frac{|y_j|^2}{v_j} + \log \pi \Big). \tag{2} $$
#
# Look at one frequency and one row, $w_j^{\mathsf H}$, and hold the others.  With $V_j = \frac 1N \sum_n x x^{\mathsf H} / v_j$, what it can change is
#
# $$ N \big( 2 \log |\det W| - w_j^{\mathsf H} V_j w_j \big). $$
#
# The determinant is linear in a row: $\partial \log \det W / \partial W_{ji} = (W^{-1})_{ij}$.  So the slope is zero where $V_j w_j = W^{-1} e_j$, or
#
# $$ w_j = (W V_j)^{-1} e_j. \tag{3} $$
#
# $W$ on the right holds $w_j$ as well, but column $j$ of $W^{-1}$ is what is orthogonal to the *other* rows: $w_j$ decides on its length
# alone.  The length follows from $w_j^{\mathsf H} V_j w_j = w_j^{\mathsf H} W^{-1} e_j = 1$.  This is *iterative projection* (Ono 2011): no step size, and a row can only
# get better.

# %%
def best_row(W, x, v, j):                               # (J, J), (J, N), (N,) -> (J, J)
    """W with row j where (2) is largest, in one frequency"""
    V = x / v @ x.conj().T / x.shape[1]
    w = np.linalg.inv(W @ V)[:, j]
    W = W.copy()
    W[j] = (w / np.sqrt((w.conj() @ V @ w).real)).conj()
    return W


def checked(rng):
    """The slope at the maximum by finite differences, and the largest differences from minivae's"""
    def noise(*shape):
        return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

    logvar, power = rng.standard_normal((3, 4)), rng.gamma(1.0, 1.0, (3, 4))
    print(gradcheck(surprise_of, logvar, power=power, name="−log N_C(y; 0, v)"))
    W, x, v = noise(2, 2), noise(2, 50), rng.uniform(0.2, 3.0, 50)
    best, h = best_row(W, x, v, 0), 1e-5

    def objective(W):
        return 100.0 * np.log(np.abs(np.linalg.det(W))) - (np.abs(W[0] @ x) ** 2 / v).sum()

    directions = [h * np.outer([1.0, 0.0], d) for d in ([1, 0], [1j, 0], [0, 1], [0, 1j])]
    slope = max(abs(objective(best + d) - objective(best - d)) / (2.0 * h) for d in directions)
    theirs = project(W[None], x[:, None], v[None], row=0)[0]
    off = np.abs(surprise_of(logvar, power=power)[0] - complex_gaussian_nll(logvar, power=power)[0]).max()
    return slope, max(off, np.abs(best - theirs).max()), objective(best) - objective(W)


# %% [markdown]
# How loud a source is, nobody can say: $W$ and $v$ may share that out as they like.  In the end row $j$ is multiplied by $(W^{-1})_{mj}$, so that
# $y_j$ is the source *as microphone $m$ hears it*, and the sources add up to what it heard (projection back).
#
# ## A VAE of voices
#
# An example is a frame of clean speech: 257 powers $|s(f)|^2$, in units of the recording's mean.  Encoder and decoder are told who
# speaks; the decoder's outputs are log-variances, and (1) is the likelihood.  Nothing else is new, it is trained as any other.

# %%
def voices_of(spoken, opt, seed):
    """The model of voices, trained on the recordings that are for training; and its frames for testing"""
    data = speech_frames(spoken)
    frames, hidden = data.part("train"), 16 if opt.quick else HIDDEN
    rate = cosine(1e-3, steps=opt.epochs * -(-len(frames) // BATCH))
    model = SourceVAEConfig(data.train.shape[1], len(spoken.speakers), (hidden,), LATENTS).build(
        seed=seed, on=opt.device, optimizer=Adam(rate), powers=data.train)
    fit(model, frames, epochs=opt.epochs, batch_size=BATCH, seed=seed, progress=not opt.quick)
    return model, data.part("test")


def on_the_host(model):
    """The same model for separation, whose complex numbers stay on the host"""
    C, hidden = model.speakers, model.decoder.layers[0].b.value.size
    twin = SourceVAEConfig(model.frequencies, C, (hidden,), model.latents).build(on=device("cpu"))
    for name, array in model.arena.arrays().items():
        twin.arena.parameters[name].value[...] = array
    return twin


# %% [markdown]
# ## Mixtures
#
# A person says digits, none of which was trained on, one after another for four seconds; two or three people do so at once.  The
# room is made up: to every microphone each voice comes a few samples late, with a tail of noise that fades away, 32 ms in all, half a frame.

# %%
def sentence(spoken, speaker, samples, rng):
    """Test recordings of one speaker, one after another, with pauses"""
    said = [np.zeros(0)]
    for i in rng.permutation(np.flatnonzero(spoken.speaker == speaker)):
        wave = spoken.waves[i].astype(float)
        said += [wave / np.sqrt((wave**2).mean()), np.zeros(rng.integers(200, 1200))]
    return np.resize(np.concatenate(said), samples)


def mixture_of(spoken, speakers, opt, rng):
    """What each microphone hears (J, samples), and of that each voice at the first one (J, samples)"""
    samples = int(RATE * (1.5 if opt.quick else SECONDS))
    dry = np.stack([sentence(spoken, who, samples, rng) for who in speakers])
    images = heard(dry, mixing_room(len(speakers), rng=rng))
    loudest = np.abs(images.sum(axis=1)).max() / 0.9
    return images.sum(axis=1) / loudest, images[0] / loudest


def spectrogram(waves):
    """(J, samples) -> (J, F, N), of mean power 1"""
    x = stft(waves, window=FRAME, hop=HOP)
    return x / np.sqrt((np.abs(x) ** 2).mean())


def as_waves(separation, x):
    """The sources, as loud as the mixture"""
    size = np.sqrt((np.abs(stft(x, window=FRAME, hop=HOP)) ** 2).mean())
    return istft(size * separation.sources, samples=x.shape[1], window=FRAME, hop=HOP)


# %% [markdown]
# ## The alternation
#
# With voices, three kinds of steps follow each other, and each is a step up (2):
#
# | | |
# |---|---|
# | $w_j$ | by (3), row by row |
# | $g_j$, how loud the voice is, $v_j = g_j\, \sigma^2(f; z_n, c)$ | the mean of $\lvert y_j \rvert^2 / \sigma^2$, in closed form |
# | $z_n$, a code for every frame (and $c$, if nobody says who speaks) | the gradient of (1), pulled back through the decoder to its *inputs*: `need_dp=False`, and its weights hear nothing.  Every frame has a stride of its own, is moved only if that helped, and tries a longer one next time |
#
# ILRMA has patterns $v = TV$ instead of voices, and multiplies where we climb.  Below, every single step of both on one mixture.
# The objectives are two models' and cannot be compared; what matters is that neither ever falls.

# %%
def steps_of(x, model, speakers, opt):
    """The objective after every step: of ILRMA, and of voices that start where it stopped"""
    told = {"ILRMA": [], "MVAE": []}
    found = ilrma(x, rng=np.random.default_rng(opt.seed), sweeps=sweeps(opt, 50), watch=lambda *now: told["ILRMA"].append(now))
    W = project_back(found.W)
    voices = [Voice(model, np.abs(y) ** 2, speaker=who) for y, who in zip(demix(W, x), speakers)]
    separate(x, voices, W=W, sweeps=sweeps(opt, 40), watch=lambda *now: told["MVAE"].append(now))
    return told


def sweeps(opt, usual):
    return 3 if opt.quick else usual


def draw_steps(told):
    fig, axes = plots.figure(1, len(told), width=4.6 * len(told), height=3.2)
    for ax, (name, steps) in zip(axes, told.items()):
        values = np.array([value for _, value in steps]) / 1e3
        ax.plot(np.arange(1, len(values) + 1), values, color=plots.COLOURS[7], lw=1.0)
        for kind, colour in (("learn", plots.COLOURS[1]), ("project", plots.COLOURS[0])):
            at = [i for i, (step, _) in enumerate(steps) if step == kind]
            ax.plot(np.array(at) + 1, values[at], ".", ms=4, color=colour, label=kind)
        ax.set(title=name, xlabel="step")
    axes[0].set_ylabel("log p(x), thousands of nats")
    axes[-1].legend()
    return fig


# %% [markdown]
# ## Where to begin
#
# It can only climb, so all hangs on where it begins.  A decoder that has to explain two voices at once can do it, badly, and once it
# does it stays there.  But (2) can be compared between beginnings of one model, so there are several, and the highest is kept:
# $W = I$, and four ILRMAs, each from other patterns.  ILRMA depends on its first patterns as much, and the best of the four *by its
# own objective* is a rival, too.
#
# ## How good is it?
#
# The estimate is split into the true voice (in any filter of 512 samples: nobody asks for the room to be undone), what is left of the
# others, and what is neither.  SDR is the voice against all else, SIR against the others, SAR what was made up, all in
# decibels (Vincent et al. 2006): at 10 dB what is wrong has a tenth of the voice's power, at 20 dB a hundredth.

# %%
def separated(x, model, speakers, opt, seed):
    """Every method's sources, by name: (J, samples) each"""
    X, rng = spectrogram(x), np.random.default_rng([seed, 34])
    tries = [ilrma(X, rng=rng, sweeps=sweeps(opt, 50)) for _ in range(BEGINNINGS)]
    best = max(tries, key=lambda separation: separation.objective[-1])
    starts = [np.eye(len(X), dtype=complex)[None].repeat(X.shape[1], axis=0), *(project_back(one.W) for one in tries)]

    def climbed(starts, who):
        return mvae(X, model, starts=starts, speakers=who, sweeps=sweeps(opt, 40))[0]

    found = {"ILRMA": tries[0], f"ILRMA, best of {BEGINNINGS}": best, "MVAE, from W = I alone": climbed(starts[:1], speakers),
             "MVAE, from the first ILRMA": climbed(starts[1:2], speakers), "MVAE, not told who speaks": climbed(starts, None),
             "MVAE": climbed(starts, speakers)}
    return {name: as_waves(separation, x) for name, separation in found.items()}


def scores_of(estimates, images, x):
    """SDR, SIR and SAR of every method, averaged over the voices; and of the mixture as it is: (3,) each"""
    every = {"the mixture": np.repeat(x[:1], len(images), axis=0)} | estimates
    found = {name: separation_scores(waves, images) for name, waves in every.items()}
    return {name: np.array([each.sdr.mean(), each.sir.mean(), each.sar.mean()]) for name, each in found.items()}


def over_mixtures(spoken, model, opt, seed, *, voices, mixtures):
    """scores of each method, {name: (mixtures, 3)}"""
    found = {}
    for k in tqdm(range(mixtures), unit="mixture", desc=f"{voices} voices", disable=opt.quick):
        rng = np.random.default_rng([seed, voices, k])
        speakers = rng.permutation(len(spoken.speakers))[:voices].tolist()
        x, images = mixture_of(spoken.test, speakers, opt, rng)
        for name, row in scores_of(separated(x, model, speakers, opt, k), images, x).items():
            found.setdefault(name, []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def table(found, what):
    """(In the mixture nothing is made up: its SAR says how exactly a computer adds, and is left out.)"""
    print(f"\n{what:34} {'SDR':>14} {'SIR':>14} {'SAR':>14}   (dB)")
    for name, rows in found.items():
        cells = [str(Estimate.of(column)) if len(rows) > 1 else f"{column[0]:.2f}" for column in rows.T]
        print(f"{name:34} " + " ".join(f"{cell:>14}" for cell in (cells[:2] if name == "the mixture" else cells)))


def gain(found, than):
    """Mixture by mixture, how much more SDR the MVAE has"""
    return Estimate.of(found["MVAE"][:, 0] - found[than][:, 0])


# %% [markdown]
# ## What comes out
#
# Dark is loud.  Voices are combs of harmonics; in the mixture they cross, and where one pauses the other goes on.

# %%
def draw_spectrograms(x, images, estimates, names):
    def power(wave):
        return np.abs(stft(wave, window=FRAME, hop=HOP)) ** 2

    panels = {"microphone 1": power(x[0]), "microphone 2": power(x[1])}
    for title, waves in (("", images), ("ILRMA: ", estimates["ILRMA"]), ("MVAE: ", estimates["MVAE"])):
        waves = waves[separation_scores(waves, images).order]
        panels |= {f"{title}{name}{'' if title else ', as microphone 1 hears it'}": power(wave) for name, wave in zip(names, waves)}
    return plots.spectrograms(panels, rate=RATE, hop=HOP, columns=2)


def draw_scores(found):
    fig, ax = plots.figure(width=4.6, height=4.2)
    rival = next(name for name in found if name.startswith("ILRMA, best"))
    pairs = {name: found[name][:, 0] for name in ("ILRMA", rival)}
    for (name, sdr), colour, marker in zip(pairs.items(), (plots.COLOURS[5], plots.COLOURS[0]), "os"):
        ax.plot(sdr, found["MVAE"][:, 0], marker, color=colour, label=name)
    ends = np.concatenate([*pairs.values(), found["MVAE"][:, 0]])
    ax.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=plots.COLOURS[7], lw=0.8, ls=":")
    ax.set(xlabel="SDR of ILRMA, dB", ylabel="SDR of the MVAE, dB", title="a point for each mixture")
    ax.legend(loc="lower right")
    return fig


def play(opt, x, images, estimates, names):
    opt.save_sound(x, RATE, "mixture", alt=f"{' and '.join(names)} at once, as two microphones hear them")
    for method in ("ILRMA", "MVAE"):
        waves = estimates[method][separation_scores(estimates[method], images).order]
        for i, name, wave in zip(count(1), names, waves):
            opt.save_sound(0.9 * wave / np.abs(wave).max(), RATE, f"{method.lower()}_{i}", alt=f"{name}, as {method} finds it")


def over_seeds(spoken, opt, seeds):
    """README's table: a network and ten mixtures for each seed; ± over seeds"""
    means = {}
    for seed in range(opt.seed, opt.seed + seeds):
        model, _ = voices_of(spoken, opt, seed)
        found = over_mixtures(spoken, on_the_host(model), opt, seed, voices=2, mixtures=MIXTURES)
        for name, rows in found.items():
            means.setdefault(name, []).append(rows.mean(axis=0))
    means = {name: np.array(rows) for name, rows in means.items()}
    table(means, f"{MIXTURES} mixtures for each of {seeds} seeds")
    record(opt, spoken, means, seeds=seeds)
    for name in list(means)[1:-1]:
        print(f"seed by seed, the MVAE's SDR less that of {name}: {gain(means, name)} dB")


def record(opt, spoken, found, seeds=1):
    """For the ledger, (mixtures or seeds, 3) of each method"""
    sdr = {name: rows[:, 0] for name, rows in found.items()}
    opt.record("separation", {f"{name}, SDR": sdr[name] for name in sdr} | {"MVAE less ILRMA": sdr["MVAE"] - sdr["ILRMA"]}, accepted,
               data="spoken_digits" if spoken.speakers[0] != "made_a" else "made_voices", seeds=seeds)


def accepted(found):
    """What is asked of it."""
    more = found["MVAE less ILRMA"]
    return {"more SDR than ILRMA, by more than two standard errors": more.mean > 2 * more.standard_error}


# %% [markdown]
# ## What comes of it
#
# The points of the picture lie in two heaps.  Where ILRMA takes a mixture apart, the MVAE does it as well, not better: four seconds are
# enough for patterns to find out what they need to know.  Where ILRMA fails, it has one voice in some frequencies and the other in the
# rest, and its own objective does not notice: over five networks and fifty mixtures (`--seeds 5`) the best of four ILRMAs by it has
# $14.3 \pm 1.0$ dB of SDR, the first one $14.7 \pm 0.8$.  The likelihood under voices does notice: it knows which frequencies sound together in
# one mouth.  The MVAE has $15.7 \pm 0.8$ dB, seed by seed $0.92 \pm 0.24$ more than ILRMA; half of that is its verdict on where to
# begin.  With $W = I$ as the only beginning it is worse than ILRMA, $10.4 \pm 0.6$: a decoder can say two voices at once.  And whether
# anybody says who speaks makes no difference.

# %%
def main(argv=None):
    arguments = parser("ch34", __doc__, epochs=20, data="auto")
    arguments.add_argument("--seeds", type=int, default=1, help="more than one: the table over so many networks (default: 1)")
    opt, args = options(arguments, argv)
    slope, off, rise = checked(np.random.default_rng(opt.seed))
    print(f"at the best row the slope is {slope:.0e}, the objective {rise:.1f} nats higher than before; ours and minivae's differ "
          f"by at most {off:.0e}\n")
    spoken = opt.recordings()
    if args.seeds > 1:
        over_seeds(spoken, opt, args.seeds)
        return

    print(spoken)
    model, frames = voices_of(spoken, opt, opt.seed)
    print(f"{len(frames):,} test frames: {evaluate(model, frames, seed=opt.seed)}")
    model = on_the_host(model)
    speakers = [0, len(spoken.speakers) - 1]
    names = [spoken.speakers[who] for who in speakers]
    x, images = mixture_of(spoken.test, speakers, opt, np.random.default_rng(opt.seed))
    told = steps_of(spectrogram(x), model, speakers, opt)
    falls = {name: min(np.diff([value for _, value in steps])) for name, steps in told.items()}
    print("\nthe least rise of a step, in nats: " + ", ".join(f"{name} {fall:.2g}" for name, fall in falls.items()))
    opt.save(draw_steps(told), "steps", alt="Two curves, log p(x) of ILRMA and of the MVAE after every step, learning and projecting: both rise "
             "steeply, then slowly.")
    estimates = separated(x, model, speakers, opt, opt.seed)
    opt.save(draw_spectrograms(x, images, estimates, names), "spectrograms", alt="Spectrograms in two columns: what the two microphones hear; "
             "below, each voice alone, as ILRMA finds it, and as the MVAE finds it.")
    play(opt, x, images, estimates, names)
    two = over_mixtures(spoken, model, opt, opt.seed, voices=2, mixtures=1 if opt.quick else MIXTURES)
    table(two, f"{len(two['MVAE'])} mixtures of two voices")
    for name in list(two)[1:-1]:
        more = gain(two, name)
        print(f"mixture by mixture, the MVAE's SDR less that of {name}: {more if len(two[name]) > 1 else f'{more.mean:.2f}'} dB")
    opt.save(draw_scores(two), "scores", alt="A point for each mixture: the SDR of ILRMA, from one beginning and the best of several, against that "
             f"of the MVAE; {(two['MVAE'][:, 0] > two[list(two)[2]][:, 0] + 1).sum()} of {len(two['MVAE'])} lie more than 1 dB above the diagonal.")
    if not opt.quick:
        table(over_mixtures(spoken, model, opt, opt.seed, voices=3, mixtures=TRIPLES), f"{TRIPLES} mixtures of three voices")
    rival = list(two)[2]
    print(f"\nSeen: voices come out with {two['MVAE'][:, 0].mean():.1f} dB of SDR, where the mixture has {two['the mixture'][:, 0].mean():.1f},"
          f"\nILRMA {two['ILRMA'][:, 0].mean():.1f} and, {rival.removeprefix('ILRMA, ')}, {two[rival][:, 0].mean():.1f}; the least rise of a step is {min(falls.values()):.1f} nats.")


if __name__ == "__main__":
    main()

# %% [markdown]
# ## Exercises
#
# 1. *Change this.*  `LATENTS = 64`, `HIDDEN = 512`.  The bound of the test frames rises.  Does the separation get better as well?  What can a
#    decoder do that has learned too well?
# 2. *Break this.*  Give `mixing_room` `taps=4096`, eight frames long, `fading=8000`, a second, and `reverberation=1.0`.  Which line of the text above
#    is no longer true?  What becomes of SIR and of SAR, and why of both?
# 3. *Derive this.*  With $J = 2$ both rows can be found at once: show that the best $w_1, w_2$ solve $V_1 w = \lambda V_2 w$, the generalised
#    eigenvectors of $V_1$ and $V_2$.  (At the optimum $w_2^{\mathsf H} V_1 w_1 = 0$ and $w_1^{\mathsf H} V_2 w_2 = 0$: why?)
