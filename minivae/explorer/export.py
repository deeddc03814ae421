"""What goes into the page: the decoder's rounded weights, where test images lie, and images to check the page with.

All numbers travel as one deflated stream of bytes; `spec`, a little JSON, says what lies in it.  Whole numbers are
written as 2q or −2q − 1 (zigzag), all low bytes before all high bytes: small numbers leave long runs of zeros.
"""

from __future__ import annotations

import base64
import copy
import json
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
from minivae.explorer.quantise import Rounded, chain_of, fitting, linear
from minivae.nn import Activation, Layer, Linear, Parameter, Sequential
from minivae.parts import Bernoulli, Gaussian, GaussianFixed, GaussianPixel, Likelihood, Logistic

HERE = Path(__file__).parent
TOLERANCE = 3e-3                       # of the mean error of a pixel by rounding: less than a grey level of 255
BUDGET = 245_000                       # bytes for the weights, if they can do with them: a page of less than 400 kB
AGREE = 1e-4                           # how close the page's images must come to the library's
CODES_PER_UNIT = 64                    # a posterior mean is written to 1/64: less than a pixel of the map
POINTS = 2000                          # test images on the map
CHECKED = 4                            # images that the page is checked with
SCRIPTS = ("decoder.js", "state.js", "pictures.js", "controls.js")            # in this order: one module in the page
MARK = '<meta name="generator" content="minivae explore">'


def explorer(model: Any, images: Any, labels: Any, shape: tuple[int, int], *, title: str) -> str:
    """The page, as HTML: the decoder of a trained model, and its latent space to move through.

    images   (N, X) whose posterior means are shown on the map, or None
    labels   (N,) for their colours, or None
    shape    (height, width) of an image, X = height · width
    Raises ValueError for a model whose decoder the page cannot run, and for images that do not fit.
    """
    chain, p_x = _on_the_host(model, shape)
    rng = np.random.default_rng(0)
    wide = np.float32(1.5) * rng.standard_normal((4096, model.latents), dtype=np.float32)     # where it should be right
    z = rng.standard_normal((1000, model.latents), dtype=np.float32)                          # where that is measured
    exact = p_x.mean(Sequential(*chain)(z)[0])

    def off(layers: list[Rounded]) -> np.ndarray:
        return np.abs(p_x.mean(chain_of(layers, chain)(z)[0]) - exact)

    layers = fitting(chain, wide, error=lambda layers: float(off(layers).mean()), tolerance=TOLERANCE, size=_bytes,
                     budget=BUDGET)
    checked = np.concatenate([0.0 * z[:1], z[:CHECKED - 1]])
    parts, weights = _weights(layers)
    spec = {"title": title, "shape": list(shape), "latents": model.latents, "mean": _mean(p_x),
            "layers": weights, "activations": [_activation(layer) for layer in chain if isinstance(layer, Activation)],
            "rounding": {"mean": float(off(layers).mean()), "largest": float(off(layers).max())}, "agree": AGREE}
    parts |= {"z": checked, "images": _images(p_x, chain_of(layers, chain), checked)}
    spec["rounding"]["bits"] = 8 * _bytes(layers) / sum(layer.whole.size for layer in layers)
    more, codes = _codes(model, images, labels)
    return _page(spec | more, parts | codes)


def _images(p_x: Likelihood, decoder: Sequential, z: np.ndarray) -> np.ndarray:
    """E[x|z], computed in float64: what the page should say."""
    return p_x.mean(decoder(z.astype(np.float64))[0]).astype(np.float32)


def _on_the_host(model: Any, shape: tuple[int, int]) -> tuple[list[Layer], Likelihood]:
    """The decoder's layers and p(x|z) in NumPy, less the outputs that the mean of p(x|z) does not need."""
    if model.latents < 2:
        raise ValueError(f"model: it has {model.latents} latent, expected at least 2: the page shows a plane")
    if shape[0] * shape[1] != model.pixels:
        raise ValueError(f"shape: got {shape[0]}×{shape[1]}, expected a picture of {model.pixels} pixels")
    if odd := [name for name, array in model.arena.arrays().items() if not np.isfinite(array).all()]:
        raise ValueError(f"model: {', '.join(odd)} holds a NaN or an infinity")
    layers: Sequence[Any] = getattr(model.decoder, "layers", ())
    for layer in layers or (model.decoder,):
        if not isinstance(layer, (Linear, Activation)):
            raise ValueError(f"model: its decoder has a {type(layer).__name__}; the page can run only decoders of "
                             "Linear layers and activations (so none with convolutions)")
    chain: list[Layer] = [linear(_host(layer.W), _host(layer.b)) if isinstance(layer, Linear) else layer
                          for layer in layers]
    p_x = copy.deepcopy(model.likelihood)
    for parameter in p_x.parameters().values():
        parameter.value = _host(parameter)
    if isinstance(p_x, GaussianPixel):                 # [mean, logvar]: nobody will see the variance
        last = chain[-1]
        assert isinstance(last, Linear)
        chain[-1], p_x = linear(last.W.value[:, :model.pixels], last.b.value[:model.pixels]), GaussianFixed()
    return chain, p_x


def _host(parameter: Parameter) -> np.ndarray:
    return to_numpy(parameter.value).astype(np.float32)


def _mean(p_x: Likelihood) -> dict[str, Any]:
    """How outputs become E[x|z]: a name that decoder.js knows, and its constants."""
    if isinstance(p_x, Bernoulli):
        return {"name": "bernoulli"}
    if isinstance(p_x, Gaussian):
        return {"name": "gaussian"}
    if isinstance(p_x, Logistic):
        shared = [float(parameter.value) for parameter in p_x.parameters().values()]
        return {"name": "logistic", "logscale": shared[0] if shared else None}     # None: the other half of the outputs
    raise ValueError(f"model: the page does not know the mean of a {type(p_x).__name__}")


def _activation(layer: Activation) -> dict[str, Any]:
    return {"name": layer.op.__name__, **layer.constants}


def _weights(layers: Sequence[Rounded]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    parts: dict[str, np.ndarray] = {}
    for i, layer in enumerate(layers):
        parts |= {f"W{i}": layer.whole, f"b{i}": layer.b}
    return parts, [{"inputs": layer.whole.shape[0], "outputs": layer.whole.shape[1], "step": float(layer.step)}
                   for layer in layers]


def _bytes(layers: Sequence[Rounded]) -> int:
    """What the weights take, deflated."""
    return len(_deflate(_weights(layers)[0])[1])


def _codes(model: Any, images: Any, labels: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Where test images lie, what each latent says about them, and which two latents say most."""
    if images is None:
        return {"kl": None, "plane": [0, 1], "points": 0, "classes": [], "colours": []}, {}
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels: got {len(labels)} for {len(images)} images, expected one for each")
    images = np.asarray(to_numpy(images), dtype=np.float32)
    answers = over_parts(model, images, lambda part, rng: tuple(map(to_numpy, model.encode(part))))
    mean, logvar = (np.concatenate(part).astype(np.float64) for part in zip(*answers))
    kl = gaussian_kl_by_latent(mean, logvar)[0].mean(axis=0)
    shown = plots.spread(np.arange(len(mean)), POINTS)
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
    directory, raw = [], b""
    for name, array in parts.items():
        whole = array.dtype.kind == "i"
        directory.append({"name": name, "kind": "whole" if whole else "float32", "count": array.size, "at": len(raw)})
        raw += _zigzag(array) if whole else array.astype("<f4").tobytes()
    return directory, zlib.compress(raw, 9)


def _zigzag(whole: np.ndarray) -> bytes:
    """q ≥ 0 as 2q, q < 0 as −2q − 1: first every low byte, then every high one."""
    folded = np.where(whole < 0, -2 * whole - 1, 2 * whole).astype(np.uint16)
    return (folded & 255).astype(np.uint8).tobytes() + (folded >> 8).astype(np.uint8).tobytes()


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
