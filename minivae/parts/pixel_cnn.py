"""A gated PixelCNN: a prior of pictures whose pixels are numbers 0 … K − 1, one pixel after another.

    log p(c | above) = Σᵢ log p(cᵢ | c₁ … cᵢ₋₁, above)         row by row, each from left to right

Every factor is a softmax that a network computes; the network of pixel i must not see pixel i, nor a later one.  One
stack of masked convolutions would have a *blind spot*: earlier pixels to the right that no path reaches.  So there are
two:

    v   the vertical stack: at pixel (i, j) it knows of rows above i, as far to both sides as one likes
    h   the horizontal one: it knows of the row's earlier pixels, and is told what v knows

    a = conv(v) + s,   v ← gated(a)        b = conv(h) + 1×1(a) + t,   h ← h + 1×1(gated(b))

with `ops.gated`.  s and t are what is told of each pixel: by a picture above, the codes of a coarser level, and by the
class of the picture, if it is known.  A class has a picture too, of vectors that learn, and every gate hears them
through a 1×1 convolution (van den Oord et al. 2016, eq. 5; the same at every pixel, their eq. 4, would leave it to the
borders to say where one is).  The two add.
van den Oord et al. 2016, section 2 and figure 2; Razavi et al. 2019, section 3.2.

Shapes: B pictures of H × W codes, K numbers, C channels; labels (B,).  Nats.
"""

from __future__ import annotations

import numpy as np

from minivae.backend import Array, Generator, Pullback, at_least_one
from minivae.distributions import categorical_nll
from minivae.nn import Activation, Conv2d, Embedding, Layer, MaskedConv2d, Sequential, Several, he
from minivae.ops import gated, relu, split, upsample

REACH = 2                  # so far does the first convolution see; the others see one pixel
ABOVE = tuple((-down, right) for down in (2, 1) for right in (-2, -1, 0, 1, 2))
LEFT = ((0, -2), (0, -1))
ABOVE_AND_HERE = tuple((down, right) for down in (-1, 0) for right in (-1, 0, 1))
LEFT_AND_HERE = ((0, -1), (0, 0))


class GatedBlock(Layer):
    """(v, h) -> (v, h), told s and t        (B, H, W, C) (B, H, W, C) (B, H, W, 2C) (B, H, W, 2C)

    `_above` and `_beside` are its halves: when pictures are drawn, a row needs the one once, each pixel the other.
    """

    def __init__(self, channels: int, *, rng: Generator) -> None:
        self.channels = channels
        self.vertical = MaskedConv2d(channels, 2 * channels, taps=ABOVE_AND_HERE, rng=rng)
        self.horizontal = MaskedConv2d(channels, 2 * channels, taps=LEFT_AND_HERE, rng=rng)
        self.down = Conv2d(2 * channels, 2 * channels, kernel=1, rng=rng)
        self.mix = Conv2d(channels, channels, kernel=1, rng=rng)

    def _above(self, v: Array, s: Array) -> tuple[tuple[Array, Array], Pullback]:
        """v after this block, and what it tells h        -> (B, H, W, C) (B, H, W, 2C)"""
        a, pull_vertical = self.vertical(v)
        a += s
        told, pull_down = self.down(a)
        y, pull_gate = gated(a)

        def pullback(dv: Array, dtold: Array, need_dp: bool = True) -> tuple[Array, Array]:
            da = pull_gate(dv)
            da += pull_down(dtold, need_dp=need_dp)                             # a was used twice
            return pull_vertical(da, need_dp=need_dp), da

        return (y, told), pullback

    def _beside(self, h: Array, told: Array, t: Array) -> tuple[Array, Pullback]:
        """h after this block        -> (B, H, W, C)"""
        b, pull_horizontal = self.horizontal(h)
        b += told
        b += t
        g, pull_gate = gated(b)
        y, pull_mix = self.mix(g)
        y += h

        def pullback(dh: Array, need_dp: bool = True) -> tuple[Array, Array]:
            db = pull_gate(pull_mix(dh, need_dp=need_dp))
            before = pull_horizontal(db, need_dp=need_dp)
            before += dh                                                         # h was used twice
            return before, db                                                    # told and t heard db

        return y, pullback

    def __call__(self, v: Array, h: Array, s: Array, t: Array) -> tuple[tuple[Array, Array], Pullback]:
        (v, told), pull_above = self._above(v, s)
        h, pull_beside = self._beside(h, told, t)

        def pullback(dv: Array, dh: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Array, ...]:
            dh, db = pull_beside(dh, need_dp=need_dp)
            dv, da = pull_above(dv, db, need_dp=need_dp)
            return dv, dh, da, db

        return (v, h), pullback


class Blocks(Several):
    """(v, h) -> h, block after block; each is told its s and t, one after the other        s (B, H, W, 4·C·blocks)"""

    def __call__(self, v: Array, h: Array, s: Array) -> tuple[Array, Pullback]:
        shares, pull_split = split(s, sizes=[2 * block.channels for block in self.layers for _ in range(2)])
        pulls = []
        for i, block in enumerate(self.layers):
            (v, h), pull = block(v, h, *shares[2 * i:2 * i + 2])
            pulls.append(pull)
        nothing = np.zeros_like(v)                     # nobody hears the last v

        def pullback(dh: Array, need_dx: bool = True, need_dp: bool = True) -> tuple[Array, Array, Array]:
            dv, dshares = nothing, list[Array]()
            for pull in reversed(pulls):
                dv, dh, *dshare = pull(dv, dh, need_dp=need_dp)
                dshares[:0] = dshare
            return dv, dh, pull_split(*dshares)

        return h, pullback


class PixelCNN(Layer):
    """−log p(codes | above, label)        codes (B, H, W), above (B, H/f, W/f), labels (B,) -> (B,)

    codes      K, the numbers that a pixel can be
    upper      the numbers that a pixel of the picture above can be: 1, and all of them 0, if nothing is above
    classes    how many there are, of which one is told; 0: none is, and labels are None
    size       of the picture above, (H/f, W/f), if a class is told
    channels   C, of both stacks
    blocks     how many gated blocks: v sees so many rows further
    """

    def __init__(self, codes: int, *, upper: int = 1, classes: int = 0, size: tuple[int, int] = (1, 1),
                 channels: int = 32, blocks: int = 4, rng: Generator) -> None:
        at_least_one(codes=codes, upper=upper, channels=channels, blocks=blocks)
        self.codes, self.classes = codes, classes
        self.embed = Embedding(codes, channels, rng=rng)
        self.upper = Embedding(upper, channels, rng=rng)
        self.given = Sequential(Conv2d(channels, channels, kernel=3, padding=1, rng=rng, init=he), Activation(relu),
                                Conv2d(channels, 4 * channels * blocks, kernel=1, rng=rng))
        self.first_above = MaskedConv2d(channels, channels, taps=ABOVE, rng=rng)
        self.first_left = MaskedConv2d(channels, channels, taps=LEFT, rng=rng)
        self.blocks = Blocks(*(GatedBlock(channels, rng=rng) for _ in range(blocks)))
        self.head = Sequential(Activation(relu), Conv2d(channels, 2 * channels, kernel=1, rng=rng, init=he),
                               Activation(relu), Conv2d(2 * channels, codes, kernel=1, rng=rng))
        if classes:
            self.kind = Embedding(classes, size[0] * size[1] * channels, rng=rng)
            self.kind.table.value[...] = 0.0           # it says nothing yet
            self.say = Conv2d(channels, 4 * channels * blocks, kernel=1, rng=rng)

    def logits(self, *, codes: Array, above: Array, labels: Array | None = None) -> tuple[Array, Pullback]:
        """log p(cᵢ = k | earlier, above, label), up to a constant  (B, H, W) (B, H/f, W/f) (B,) -> (B, H, W, K)

        Raises ValueError unless there are labels where there are classes.
        """
        e, pull_embed = self.embed(codes=codes)
        s, pull_told = self._told(above, codes.shape[1], labels)
        v, pull_above = self.first_above(e)
        h, pull_left = self.first_left(e)
        h, pull_blocks = self.blocks(v, h, s)
        logits, pull_head = self.head(h)

        def pullback(dlogits: Array, need_dp: bool = True) -> None:
            dh = pull_head(dlogits, need_dp=need_dp)
            dv, dh, ds = pull_blocks(dh, need_dp=need_dp)
            pull_embed(pull_above(dv, need_dp=need_dp) + pull_left(dh, need_dp=need_dp), need_dp=need_dp)
            pull_told(ds, need_dp=need_dp)

        return logits, pullback

    def _told(self, above: Array, height: int, labels: Array | None) -> tuple[Array, Pullback]:
        """What every block is told at every pixel, of the picture above and of the class

        (B, H/f, W/f) (B,) -> (B, H, W, 4·C·blocks)
        """
        if (labels is not None) != (self.classes > 0):
            raise ValueError(f"labels: got {'none' if labels is None else 'some'}, and this prior is told one of "
                             f"{self.classes} classes")
        u, pull_upper = self.upper(codes=above)
        large, pull_upsample = upsample(u, factor=height // above.shape[1])
        s, pull_given = self.given(large)

        def pullback(ds: Array, need_dp: bool = True) -> None:
            pull_upper(pull_upsample(pull_given(ds, need_dp=need_dp)), need_dp=need_dp)

        if labels is None:
            return s, pullback
        k, pull_kind = self._said(labels, above.shape, height)

        def pullback_too(ds: Array, need_dp: bool = True) -> None:
            pullback(ds, need_dp=need_dp)
            pull_kind(ds, need_dp=need_dp)

        return s + k, pullback_too

    def _said(self, labels: Array, shape: tuple[int, ...], height: int) -> tuple[Array, Pullback]:
        """What every block is told of the class, at every pixel; shape (B, H/f, W/f)  (B,) -> (B, H, W, 4·C·blocks)"""
        k, pull_kind = self.kind(codes=labels)
        large, pull_upsample = upsample(k.reshape(*shape, -1), factor=height // shape[1])
        s, pull_say = self.say(large)

        def pullback(ds: Array, need_dp: bool = True) -> None:
            pull_kind(pull_upsample(pull_say(ds, need_dp=need_dp)), need_dp=need_dp)

        return s, pullback

    def __call__(self, *, codes: Array, above: Array, labels: Array | None = None) -> tuple[Array, Pullback]:
        logits, pull_logits = self.logits(codes=codes, above=above, labels=labels)
        B, H, W, K = logits.shape
        nll, pull_nll = categorical_nll(logits.reshape(B * H * W, K), labels=codes.reshape(-1))

        def pullback(dnll: Array, need_dx: bool = True, need_dp: bool = True) -> None:
            pull_logits(pull_nll(np.repeat(dnll, H * W)).reshape(logits.shape), need_dp=need_dp)

        return nll.reshape(B, H * W).sum(axis=1), pullback

    def sample(self, above: Array, rng: Generator, *, shape: tuple[int, int], labels: Array | None = None) -> Array:
        """A picture of this shape for each one above, pixel by pixel        (B, H/f, W/f), labels (B,) -> (B, H, W)

        Only what the next pixel needs is computed: of each convolution what it sees, for one place.
        """
        B, (H, W), table = len(above), shape, self.embed.table.value
        shares = np.split(self._told(above, H, labels)[0], len(self.blocks.layers), axis=-1)
        codes, e = np.zeros_like(above, shape=(B, H, W)), np.zeros_like(table, shape=(B, H, W, table.shape[1]))
        states = [_State(block, s, e) for block, s in zip(self.blocks.layers, shares)]
        for i in range(H):
            v = self.first_above(e[:, max(0, i - REACH):i + 1])[0][:, -1]
            for state in states:
                v = state.row(i, v)
            for j in range(W):
                h = self.first_left(e[:, i:i + 1, max(0, j - REACH):j + 1])[0][:, 0, -1]
                for state in states:
                    h = state.pixel(i, j, h)
                logits = self.head(h[:, None, None])[0][:, 0, 0]
                waiting = rng.standard_exponential(logits.shape, dtype=logits.dtype)      # of exponential clocks with
                codes[:, i, j] = (logits - np.log(waiting + 1e-30)).argmax(axis=1)        # these rates one rings first
                e[:, i, j] = table[codes[:, i, j]]
        return codes


class _State:
    """What a block knows of the pictures that are drawn, so far."""

    def __init__(self, block: GatedBlock, s: Array, like: Array) -> None:
        self.block, self.C = block, block.channels
        self.s, self.t = s[..., :2 * self.C], s[..., 2 * self.C:]
        self.v, self.h, self.told = np.zeros_like(like), np.zeros_like(like), np.zeros_like(self.s)

    def row(self, i: int, v: Array) -> Array:
        """v of row i before the block -> after it        (B, W, C)"""
        self.v[:, i] = v
        rows = slice(max(0, i - 1), i + 1)
        (v, told), _ = self.block._above(self.v[:, rows], self.s[:, rows])
        self.told[:, i] = told[:, -1]
        return v[:, -1]

    def pixel(self, i: int, j: int, h: Array) -> Array:
        """h of pixel (i, j) before the block -> after it        (B, C)"""
        self.h[:, i, j] = h
        here = slice(None), slice(i, i + 1), slice(max(0, j - 1), j + 1)
        return self.block._beside(self.h[here], self.told[here], self.t[here])[0][:, 0, -1]
