"""What goes into the page: the decoder's rounded weights, where test images lie, and images to check the page with.

All numbers travel as one deflated stream of bytes; `spec`, a little JSON, says what lies in it.  Whole numbers are
written as 2q or −2q − 1 (zigzag), their low parts before their high ones: small numbers leave long runs of zeros.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from minivae import plots
from minivae.backend import to_numpy
from minivae.distributions import gaussian_kl_by_latent
from minivae.evaluation import over_parts
from minivae.explorer.ink import ink_of, on_the_host, slopes
from minivae.explorer.prior import Mixture, prior_of
from minivae.explorer.quantise import PER_OCTAVE, Rounded, aim_at, chain_of, fitting
from minivae.explorer.steps import WEIGHTED, chain_of_layers, scale_and_shift, shapes, steps, through, with_values
from minivae.nn import BatchNorm, Layer, Linear
from minivae.parts import GaussianFixed, GaussianPixel, Likelihood

HERE = Path(__file__).parent
PAGE = 395_000                         # bytes that the page may have, if the weights can do with what is left of them
TOLERANCE = 8e-3                       # of the mean error of a pixel by rounding, for which the page grows: two of 255
AGREE = 1e-4                           # how close the page's images must come to the library's
CODES_PER_UNIT = 64                    # a posterior mean is written to 1/64: less than a pixel of the map
DRAWS = 4096                           # latents that the rounding is judged by
NUMBERS_OF_POINTS = 10_000             # their latents together: fewer points if there are more than five
NUMBERS = 2**25                        # that they may give in the widest layer
POINTS = 2000                          # test images on the map
CHECKED, OF_THEM = 4, 6144             # images that the page is checked with, or fewer that are of so many numbers
SCRIPTS = ("steps.js", "decoder.js", "prior.js", "state.js", "pictures.js", "controls.js")     # in this order: a module
MARK = '<meta name="generator" content="minivae explore">'


def explorer(model: Any, images: Any, labels: Any, shape: tuple[int, ...], *, title: str, low: float = 0.0,
             high: float = 1.0) -> str:
    """The page, as HTML: the decoder of a trained model, and its latent space to move through.

    images      (N, X) whose posterior means are shown on the map, or None
    labels      (N,) for their colours, or None
    shape       (height, width) of an image, or (height, width, 3) in colour: X numbers together
    low, high   the pixels that are drawn as blank paper and as full ink (photographs: as black and as white)
    Raises ValueError for a model whose decoder or prior the page cannot run, and for images that do not fit.
    """
    _check(model, shape, low, high)
    prior, chain, p_x = prior_of(model), chain_of_layers(model.decoder), on_the_host(model.likelihood)
    chain, p_x = _without_variances(chain, p_x, model.pixels)
    rng = np.random.default_rng(0)
    wide = prior.draw(_affordable(chain, model.latents), rng, wide=1.5)                       # where it should be right
    z = prior.draw(1000, rng)                                                                 # where that is measured
    checked = np.concatenate([prior.centre()[None], z])[:max(1, min(CHECKED, OF_THEM // model.pixels))]
    outputs = _through(chain, z)
    mean, ink = ink_of(p_x, outputs, low, high)
    exact = ink(outputs)

    def page(layers: list[Rounded] | None) -> str:
        run = chain if layers is None else chain_of(layers, chain).layers
        said, arrays = _steps(chain, layers, model.latents)
        parts = {"z": checked, "images": ink(_through(run, checked.astype(np.float64)))}
        return _page(spec | {"steps": said, "rounding": layers and _rounding(layers, off(layers))},
                     arrays | parts | points)

    def off(layers: list[Rounded]) -> np.ndarray:
        return np.abs(ink(_through(chain_of(layers, chain).layers, z)) - exact)

    spec, points = _points(model, prior, images, labels)
    spec |= {"title": title, "shape": list(shape), "latents": model.latents, "mean": mean, "agree": AGREE}
    room = int(0.75 * (PAGE - 1500 - len(page(None).encode())))     # base64: three bytes in four characters; and words
    aim = aim_at(chain, wide, lambda outputs: slopes(ink, outputs, model.pixels))
    return page(fitting(aim, error=lambda layers: float(off(layers).mean()), tolerance=TOLERANCE, size=_bytes,
                        budget=room))


def _check(model: Any, shape: tuple[int, ...], low: float, high: float) -> None:
    """Raise ValueError unless the page can show a model's images."""
    if model.latents < 2:
        raise ValueError(f"model: it has {model.latents} latent, expected at least 2: the page shows a plane")
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
        raise ValueError(f"shape: got {shape}, expected (height, width), or (height, width, 3) for colour")
    if math.prod(shape) != model.pixels:
        raise ValueError(f"shape: got {'×'.join(map(str, shape))}, expected a picture of {model.pixels} pixels")
    if not low < high:
        raise ValueError(f"low, high: got {low} and {high}, expected the smaller one first")
    if odd := [name for name, parameter in model.parameters().items()
               if not np.isfinite(to_numpy(parameter.value)).all()]:
        raise ValueError(f"model: {', '.join(odd)} holds a NaN or an infinity")


def _without_variances(chain: list[Layer], p_x: Likelihood, pixels: int) -> tuple[list[Layer], Likelihood]:
    """Without the outputs that the mean of p(x|z) does not need: [mean, logvar], and nobody will see the variance."""
    last = chain[-1]
    if not isinstance(p_x, GaussianPixel) or not isinstance(last, Linear):
        return chain, p_x
    return [*chain[:-1], with_values(last, W=last.W.value[:, :pixels], b=last.b.value[:pixels])], GaussianFixed()


def _affordable(chain: Sequence[Layer], latents: int) -> int:
    """How many draws the rounding is judged by: what they give in the widest layer must fit into memory."""
    return min(DRAWS, max(512, NUMBERS // max(map(math.prod, shapes(chain, latents)))))


def _through(chain: Sequence[Layer], x: np.ndarray) -> np.ndarray:
    for layer in chain:
        x = through(layer, x)
    return x


def _steps(chain: Sequence[Layer], layers: Sequence[Rounded] | None,
           latents: int) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Every step as steps.js is told of it, and the arrays of step i, such as Wi and bi.  (None: not the weights.)"""
    said, arrays, new = steps(chain, latents), {}, iter(layers or ())
    for i, (layer, step) in enumerate(zip(chain, said)):
        if isinstance(layer, BatchNorm):
            arrays[f"scale{i}"], arrays[f"shift{i}"] = scale_and_shift(layer, step["to"][-1])
        elif isinstance(layer, WEIGHTED) and layers is not None:
            one = next(new)
            step["step"] = float(one.step)
            arrays |= _weights(one, i)
    return said, arrays


def _weights(one: Rounded, i: int) -> dict[str, np.ndarray]:
    return {f"W{i}": one.whole, f"octaves{i}": one.octaves, f"b{i}": one.b}


def _bytes(layers: Sequence[Rounded]) -> int:
    """What the weights take, deflated."""
    return sum(len(_deflate(_weights(layer, 0))[1]) for layer in layers)


def _rounding(layers: Sequence[Rounded], off: np.ndarray) -> dict[str, Any]:
    """What the page says of it."""
    weights = sum(layer.whole.size for layer in layers)
    return {"mean": float(off.mean()), "largest": float(off.max()), "weights": weights, "per_octave": PER_OCTAVE,
            "bits": 8 * _bytes(layers) / weights}


def _points(model: Any, prior: Mixture, images: Any, labels: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What is to be seen on the plane: the prior, and where test images lie."""
    spec, arrays = _codes(model, prior, images, labels)
    if prior.standard:
        return spec | {"prior": None}, arrays
    low, high = prior.extent()
    said = {"components": len(prior.pi), "mean": prior.centre().tolist(), "low": low.tolist(), "high": high.tolist()}
    return spec | {"prior": said}, arrays | {"pi": prior.pi, "means": prior.mean, "stds": prior.std}


def _codes(model: Any, prior: Mixture, images: Any, labels: Any,
           ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Where test images lie, what each latent says about them, and which two latents say most."""
    if images is None:
        return {"kl": None, "plane": [0, 1], "points": 0, "classes": [], "colours": []}, {}
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: got {len(labels)} for {len(images)} images, expected one for each")
    images = np.asarray(to_numpy(images), dtype=np.float32)
    answers = over_parts(model, images, lambda part, rng: tuple(map(to_numpy, model.encode(part))))
    mean, logvar = (np.concatenate(part).astype(np.float64) for part in zip(*answers))
    kl = gaussian_kl_by_latent(mean, logvar)[0] if prior.standard else prior.nats_by_latent(mean, logvar,
                                                                                            np.random.default_rng(0))
    kl = kl.mean(axis=0)
    shown = plots.spread(np.arange(len(mean)), min(POINTS, max(500, NUMBERS_OF_POINTS // model.latents)))
    some = np.zeros(len(shown)) if labels is None else to_numpy(labels)[shown]
    classes, of = np.unique(some, return_inverse=True)
    spec = {"kl": [round(float(nats), 3) for nats in kl], "plane": sorted(int(j) for j in np.argsort(-kl)[:2]),
            "points": len(shown), "per_unit": CODES_PER_UNIT,
            "colours": [plots.TEN[k % 10] for k in range(len(classes))],
            "classes": [] if labels is None else [str(label) for label in classes]}
    return spec, {"codes": np.rint(mean[shown] * CODES_PER_UNIT).clip(-32767, 32767).astype(np.int32),
                  "labels": of.astype(np.int32)}


def _deflate(parts: Mapping[str, np.ndarray]) -> tuple[list[dict[str, Any]], bytes]:
    """Where each part lies, and all of them in one deflated stream."""
    directory: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    for name, array in parts.items():
        kind, new = _zigzag(array) if array.dtype.kind == "i" else ("float32", [array.astype("<f4").tobytes()])
        directory.append({"name": name, "kind": kind, "count": array.size, "at": sum(map(len, pieces))})
        pieces += new
    return directory, _short(pieces)


def _short(pieces: Sequence[bytes]) -> bytes:
    """Deflated for noise: every piece in blocks of its own, for each has its own frequencies, and of repetitions only
    runs are looked for.  Of rounded weights that saves a tenth, and nine tenths of the time."""
    stream = zlib.compressobj(9, strategy=zlib.Z_RLE)
    return b"".join(stream.compress(piece) + stream.flush(zlib.Z_SYNC_FLUSH) for piece in pieces) + stream.flush()


def _zigzag(array: np.ndarray) -> tuple[str, list[bytes]]:
    """q ≥ 0 as 2q, q < 0 as −2q − 1.  "whole": first every low byte, then every high one; "pairs", if that is shorter:
    first the lowest four bits of two numbers in every byte, then what is left of each number."""
    folded = np.where(array < 0, -2 * array - 1, 2 * array).astype(np.uint16).ravel()
    whole = [(folded & 255).astype(np.uint8).tobytes(), (folded >> 8).astype(np.uint8).tobytes()]
    if folded.max(initial=0) >= 4096:
        return "whole", whole
    four = np.append(folded & 15, np.zeros(folded.size % 2, np.uint16))
    pairs = [(four[::2] | four[1::2] << 4).astype(np.uint8).tobytes(), (folded >> 4).astype(np.uint8).tobytes()]
    return ("pairs", pairs) if len(_short(pairs)) < len(_short(whole)) else ("whole", whole)


def _page(spec: dict[str, Any], parts: Mapping[str, np.ndarray]) -> str:
    """The template with everything in its place."""
    directory, data = _deflate(parts)
    text = json.dumps(spec | {"parts": directory}, allow_nan=False, separators=(",", ":"))
    fill = {"title": escape(spec["title"]), "mark": MARK, "spec": text.replace("<", "\\u003c"),
            "data": base64.b64encode(data).decode(), "css": _read("page.css"),
            "theme": _read("theme.js"), "js": "\n".join(map(_read, SCRIPTS))}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: fill[found[1]], _read("page.html"))


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
