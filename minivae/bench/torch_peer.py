"""PyTorch's side, as a good user writes it: nn modules, binary_cross_entropy_with_logits, Adam.

torch                  eager, Adam as it comes
torch_fused            eager, Adam(fused=True)
torch_compile          the loss through torch.compile, Adam(fused=True)
torch_channels_last    eager, Adam as it comes, images and convolutions in channels_last (NHWC)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minivae.backend import Array
from minivae.bench.rows import LEARNING_RATE, Row, Work, batches, build, images, proof_inputs
from minivae.bench.torch_systems import SYSTEMS
from minivae.nn import Parameter

ROWS = 2000            # images × samples at once in the NLL: as quick as 1,000, and quicker than 5,000 and more
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
SIDE, LAST = 7, 64     # the smallest picture of the convolutional VAE and its channels


class Net(nn.Module):
    """The VAE of a row: images (B, 784) -> (logits, mean, logvar)."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        if row.hidden:
            f, sizes = ACTIVATIONS[row.activation], (784, *row.hidden)
            trunk = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), f())]
            sizes = (row.latents, *row.hidden[::-1], 784)
            decoder = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), f())][:-1]
        else:
            trunk = [nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
                     nn.Flatten(), nn.Linear(3136, 256), nn.ReLU()]
            decoder = [nn.Linear(row.latents, 256), nn.ReLU(), nn.Linear(256, 3136), nn.ReLU(),
                       nn.Unflatten(1, (LAST, SIDE, SIDE)), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(),
                       nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Flatten()]
        self.convolutional = not row.hidden
        self.trunk, self.decoder = nn.Sequential(*trunk), nn.Sequential(*decoder)
        width = row.hidden[-1] if row.hidden else 256
        self.mean, self.logvar = nn.Linear(width, row.latents), nn.Linear(width, row.latents)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The parameters of q(z|x)."""
        h = self.trunk(x.view(-1, 1, 28, 28) if self.convolutional else x)
        return self.mean(h), self.logvar(h)

    def loss(self, x: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        """The mean of −ELBO."""
        mean, logvar = self.encode(x)
        z = mean + torch.exp(0.5 * logvar) * eps
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = 0.5 * (mean**2 + logvar.exp() - logvar - 1).sum()
        return (nll + kl) / len(x)

    def paired(self, parameters: dict[str, Parameter]) -> Iterator[tuple[str, Parameter, nn.Parameter]]:
        """Our parameters beside PyTorch's: both list trunk, mean, logvar, decoder."""
        theirs = [p for part in (self.trunk, self.mean, self.logvar, self.decoder) for p in part.parameters()]
        yield from zip(parameters, parameters.values(), theirs, strict=True)


def to_torch(a: Array) -> Array:
    """Our layout of a parameter -> PyTorch's: (I, O) -> (O, I), (k, k, C, F) -> (F, C, k, k), pixels before channels"""
    if a.shape == (3136, 256):
        a = a.reshape(SIDE, SIDE, LAST, 256).transpose(2, 0, 1, 3).reshape(3136, 256)
    if a.shape in ((256, 3136), (3136,)):
        a = a.reshape(-1, SIDE, SIDE, LAST).transpose(0, 3, 1, 2).reshape(a.shape)
    return np.ascontiguousarray(a.transpose(3, 2, 0, 1) if a.ndim == 4 else a.T)


def from_torch(a: Array) -> Array:
    """And back."""
    if a.ndim == 4:
        return a.transpose(2, 3, 1, 0)
    a = a.T
    if a.shape == (3136, 256):
        return a.reshape(LAST, SIDE, SIDE, 256).transpose(1, 2, 0, 3).reshape(3136, 256)
    if a.shape in ((256, 3136), (3136,)):
        return a.reshape(-1, LAST, SIDE, SIDE).transpose(0, 2, 3, 1).reshape(a.shape)
    return a


def peer(row: Row, threads: int, *, fused: bool = False, compiled: bool = False,
         channels_last: bool = False) -> Work:
    """PyTorch's work for a row, from the library's weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if row.kind in SYSTEMS:
        return SYSTEMS[row.kind](row)
    net: Any = Net(row)
    parameters = build(row).arena.parameters
    for _, ours, theirs in net.paired(parameters):
        theirs.data.copy_(torch.from_numpy(to_torch(ours.value)))
    if row.kind == "decode":
        return _decode(net, row, compiled)
    if row.kind == "nll":
        return _nll(net, row)
    if channels_last:
        net.to(memory_format=torch.channels_last)
    loss: Callable[..., torch.Tensor] = torch.compile(net.loss) if compiled else net.loss
    adam = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE, fused=fused or None)
    order = cycle([torch.from_numpy(x) for x in batches(row)])

    def gradients(x: torch.Tensor, eps: torch.Tensor) -> None:
        adam.zero_grad()
        loss(x, eps).backward()

    def step() -> None:
        x = next(order)
        gradients(torch.bernoulli(x) if row.binarize else x, torch.randn(len(x), row.latents))
        adam.step()

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        gradients(torch.from_numpy(x), torch.from_numpy(eps[0]))
        return {name: from_torch(theirs.grad.numpy()) for name, _, theirs in net.paired(parameters)
                if theirs.grad is not None}

    return Work(step, prove)


def _decode(net: Net, row: Row, compiled: bool) -> Work:
    def probabilities(z: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(net.decoder(z))

    run, latents = torch.compile(probabilities) if compiled else probabilities, torch.from_numpy(proof_inputs(row)[1])

    @torch.inference_mode()
    def decode(z: torch.Tensor) -> torch.Tensor:
        return run(z)

    return Work(lambda: decode(latents), lambda x, z: {"probabilities": decode(torch.from_numpy(z)).numpy()})


def _nll(net: Net, row: Row) -> Work:
    """−log (1/K) Σₖ p(x, zₖ)/q(zₖ|x), a chunk of samples at a time so that memory does not grow with K."""
    x, K = torch.from_numpy(images()[:row.batch]), row.samples

    def log_weights(x: torch.Tensor, mean: torch.Tensor, logvar: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        z = mean + torch.exp(0.5 * logvar) * eps                                       # (K, B, Z)
        logits = net.decoder(z)
        nll = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(dim=-1)
        return -nll + 0.5 * (eps**2 + logvar - z**2).sum(dim=-1)                       # + log p(z) − log q(z|x)

    @torch.inference_mode()
    def bound(x: torch.Tensor, samples: int) -> float:
        at_once, total = min(samples, 100), 0.0
        for part in x.split(max(1, ROWS // at_once)):
            (mean, logvar), log_sum = net.encode(part), torch.full((len(part),), -math.inf)
            for done in range(0, samples, at_once):
                eps = torch.randn(min(at_once, samples - done), len(part), row.latents)
                log_sum = torch.logaddexp(log_sum, log_weights(part, mean, logvar, eps).logsumexp(dim=0))
            total += float((log_sum - math.log(samples)).sum())
        return total / len(x)

    @torch.inference_mode()
    def prove(x: Array, eps: Array) -> dict[str, Array]:
        images = torch.from_numpy(x)
        return {"log weights": log_weights(images, *net.encode(images), torch.from_numpy(eps)).numpy()}

    bound(x[:1], 1)
    return Work(lambda: bound(x, K), prove)


CONTENDERS: dict[str, Callable[[Row, int], Any]] = {
    "torch": peer,
    "torch_fused": lambda row, threads: peer(row, threads, fused=True),
    "torch_compile": lambda row, threads: peer(row, threads, fused=True, compiled=True),
    "torch_channels_last": lambda row, threads: peer(row, threads, channels_last=True),
}
