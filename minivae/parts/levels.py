"""An autoencoder of several levels, each a picture of words of a codebook, coarser and coarser.

Every level has an encoder `down`, which halves the picture below it, and `up`, which doubles one.  Down first, without
words; then from the coarsest to the finest: a level's vectors z are computed from its own picture and from what the
coarser words say of it; the nearest words e take their place; `up` takes these and what was said, and tells the next
level.  What the finest `up` says is the image.

    h₁ = down₁(x),  h₂ = down₂(h₁)                        two levels
    e₂ = nearest(to_code₂(h₂)),             s₁ = up₂(e₂)
    e₁ = nearest(to_code₁([h₁, s₁])),       x̂ = up₁([e₁, s₁])

So the finer level sees the image *and* the coarser words, and the decoder both pictures of words.
Razavi et al. 2019, algorithm 1.   Shapes: B images of H × W pixels, D numbers in a word.
"""

from __future__ import annotations

from minivae.backend import Array, Pullback
from minivae.nn import Layer, Several
from minivae.ops import concat
from minivae.parts.codebook import Codebook

Codes = list[Array]        # of every level, the finest first: (B, 14, 14), (B, 7, 7)
Held = list[tuple[Array, Array]]


class Level(Layer):
    """One level: its picture is half as high and wide as the one below it.

    down       encoder, of the picture below                       (B, 2H, 2W, ·) -> (B, H, W, C)
    to_code    vectors, of that and of what coarser levels say     (B, H, W, C + S) -> (B, H, W, D)
    up         decoder, of words and of what coarser levels say    (B, H, W, D + S) -> (B, 2H, 2W, ·)
    """

    def __init__(self, down: Layer, to_code: Layer, up: Layer, codebook: Codebook) -> None:
        self.down, self.to_code, self.up, self.codebook = down, to_code, up, codebook


class Levels(Several):
    """The autoencoder, but for the likelihood; the finest level first."""

    def __call__(self, x: Array, *, held: Held | None = None) -> tuple[tuple[Array, Array], Pullback]:
        """What the finest `up` says, and Σ ‖z − e‖² of all levels        (B, H, W, ·) -> (B, H, W, ·) (B,)

        held   (e, e − z) of every level, to be kept (Codebook)
        """
        pictures, pulls_down = self._down(x)
        told, aparts, pulls = pictures[-1][..., :0], list[Array](), list[Pullback]()
        for i, level in reversed(list(enumerate(self.layers))):       # nobody tells the coarsest
            (told, apart), pull = self._level(level, pictures[i], told, held[i] if held else None)
            aparts.insert(0, apart)
            pulls.insert(0, pull)

        def pullback(dy: Array, dcommitment: Array, need_dx: bool = True, need_dp: bool = True) -> Array | None:
            dpictures, dtold = [], dy
            for pull in pulls:                         # the finest first
                dpicture, dtold = pull(dtold, dcommitment, need_dp=need_dp)
                dpictures.append(dpicture)
            dpicture = dpictures.pop()
            for pull in reversed(pulls_down[1:]):
                dpicture = pull(dpicture, need_dp=need_dp) + dpictures.pop()      # two uses: its level's, and `down`
            return pulls_down[0](dpicture, need_dx=need_dx, need_dp=need_dp)

        return (told, sum(aparts[1:], aparts[0])), pullback

    def _down(self, x: Array) -> tuple[list[Array], list[Pullback]]:
        """The picture of every level, the finest first, each computed from the one before."""
        pictures, pulls = [], []
        for level in self.layers:
            x, pull = level.down(x)
            pictures.append(x)
            pulls.append(pull)
        return pictures, pulls

    def _level(self, level: Level, picture: Array, told: Array,
               held: tuple[Array, Array] | None) -> tuple[tuple[Array, Array], Pullback]:
        both, pull_both = concat(picture, told)
        z, pull_z = level.to_code(both)
        (e, apart), pull_e = level.codebook(z, held=held)
        words, pull_words = concat(e, told)
        y, pull_up = level.up(words)

        def pullback(dy: Array, dapart: Array, need_dp: bool = True) -> tuple[Array, Array]:
            de, dtold = pull_words(pull_up(dy, need_dp=need_dp))
            dpicture, dtold_too = pull_both(pull_z(pull_e(de, dapart, need_dp=need_dp), need_dp=need_dp))
            return dpicture, dtold + dtold_too         # told was used twice

        return (y, apart), pullback

    def encode(self, x: Array) -> list[Array]:
        """z of every level, the finest first        (B, H, W, ·) -> [(B, H/2, W/2, D), (B, H/4, W/4, D), …]"""
        pictures, _ = self._down(x)
        told, zs = pictures[-1][..., :0], list[Array]()
        for level, picture in zip(reversed(self.layers), reversed(pictures)):
            z, _ = level.to_code(concat(picture, told)[0])
            zs.insert(0, z)
            if level is not self.layers[0]:            # what the finest one says is the image: nobody asks here
                told, _ = level.up(concat(level.codebook.look_up(level.codebook.nearest(z)), told)[0])
        return zs

    def decode(self, codes: Codes) -> Array:
        """What the finest `up` says of these numbers        [(B, H/2, W/2), (B, H/4, W/4), …] -> (B, H, W, ·)"""
        words = [level.codebook.look_up(numbers) for level, numbers in zip(self.layers, codes)]
        told = words[-1][..., :0]
        for level, e in zip(reversed(self.layers), reversed(words)):
            told, _ = level.up(concat(e, told)[0])
        return told
