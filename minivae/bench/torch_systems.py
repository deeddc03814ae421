"""PyTorch's side of the systems of several networks: the same networks, as a good user writes their steps."""

from __future__ import annotations

import math
from itertools import cycle
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from minivae.backend import Array
from minivae.bench.rows import Row, Work, batches
from minivae.bench.systems import build_system, moving, seen
from minivae.bench.torch_layers import Twins, same
from minivae.parts import pixel_cnn

LOG_2PI = math.log(2.0 * math.pi)
SIDE = 28


# ── VAE/GAN ───────────────────────────────────────────────────────────────────────────────────────

def vae_gan(row: Row) -> Work:
    """Three losses of one forward pass; each network is asked for the gradient of its own."""
    model, twins = build_system(row), Twins()
    trunk, mean, logvar = (twins.of(part) for part in (model.encoder.trunk, model.encoder.mean, model.encoder.logvar))
    decoder, features, head = (twins.of(part) for part in (
        model.decoder, model.discriminator.trunk, model.discriminator.head))
    players = [[*trunk.parameters(), *mean.parameters(), *logvar.parameters()], [*decoder.parameters()],
               [*features.parameters(), *head.parameters()]]
    optimizers = [torch.optim.RMSprop(player, lr=3e-4, alpha=0.9) for player in players]
    order = cycle([torch.from_numpy(x) for x in batches(row)])

    def gradients(x: torch.Tensor, eps: torch.Tensor, eps_p: torch.Tensor) -> None:
        B, h = len(x), trunk(x)
        m, v = mean(h), logvar(h)
        outputs = decoder(torch.cat([m + torch.exp(0.5 * v) * eps, eps_p]))
        f, f_made = features(x), features(torch.sigmoid(outputs))
        a, a_made = head(f), head(f_made)
        kl = 0.5 * (m**2 + v.exp() - v - 1).sum() / B
        likeness = 0.5 * ((f_made[:B] - f)**2).sum() / B
        game = (F.softplus(-a).sum() + F.softplus(a_made).sum()) / B
        losses = kl + likeness, model.gamma * likeness + F.softplus(-a_made).sum() / B, game
        F.binary_cross_entropy_with_logits(outputs[:B].detach(), x, reduction="sum")     # it is told, too
        for loss, player in zip(losses, players):
            for p, grad in zip(player, torch.autograd.grad(loss, player, retain_graph=loss is not game)):
                p.grad = grad

    def step() -> None:
        x = next(order)
        gradients(x, *torch.randn(2, len(x), row.latents))
        for optimizer in optimizers:
            optimizer.step()

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        gradients(torch.from_numpy(x), *torch.from_numpy(eps))
        return twins.gradients(moving(model, row))

    return Work(step, prove)


# ── VQ-VAE-2 ──────────────────────────────────────────────────────────────────────────────────────

class Words:
    """A codebook that follows the vectors by moving averages."""

    def __init__(self, codebook: Any) -> None:
        self.sums, self.counts = (torch.from_numpy(p.value.copy()) for p in (codebook.sums, codebook.counts))

    def words(self) -> torch.Tensor:
        """(K, D)"""
        n = self.counts.sum()
        return self.sums / ((self.counts + 1e-5) * (n / (n + len(self.counts) * 1e-5)))[:, None]

    def nearest(self, z: torch.Tensor) -> torch.Tensor:
        """(B, D, H, W) -> (B, H, W)"""
        words, flat = self.words(), z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        return torch.cdist(flat, words).argmin(dim=1).view(len(z), *z.shape[2:])

    def look_up(self, codes: torch.Tensor) -> torch.Tensor:
        """(B, H, W) -> (B, D, H, W)"""
        return F.embedding(codes, self.words()).permute(0, 3, 1, 2)

    def tally(self, z: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What chose each word: the sum and the count."""
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        chose = F.one_hot(codes.view(-1), len(self.counts)).to(z.dtype)
        return chose.T @ flat, chose.sum(dim=0)

    def follow(self, sums: torch.Tensor, counts: torch.Tensor) -> None:
        """One step of the moving averages."""
        self.sums.mul_(0.99).add_(sums, alpha=0.01)
        self.counts.mul_(0.99).add_(counts, alpha=0.01)


class Autoencoder:
    """The levels of a VQ-VAE, the finest first."""

    def __init__(self, model: Any, twins: Twins) -> None:
        self.down, self.to_code, self.up = ([twins.of(getattr(level, part)) for level in model.levels.layers]
                                            for part in ("down", "to_code", "up"))
        self.words = [Words(level.codebook) for level in model.levels.layers]
        self.logvar = twins.weight(model.likelihood.logvar, same, same)
        self.modules = nn.ModuleList([*self.down, *self.to_code, *self.up])

    def pictures(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Of every level, each from the one before."""
        pictures = [x]
        for down in self.down:
            pictures.append(down(pictures[-1]))
        return pictures[1:]

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
        """What is decoded, the commitment, and z and codes of every level, the finest first."""
        pictures, commitment, zs, codes = self.pictures(x), x.new_zeros(()), list[torch.Tensor](), list[torch.Tensor]()
        told = pictures[-1][:, :0]                     # nobody tells the coarsest
        for i in reversed(range(len(pictures))):
            z = self.to_code[i](torch.cat([pictures[i], told], dim=1))
            with torch.no_grad():
                numbers = self.words[i].nearest(z)
                e = self.words[i].look_up(numbers)
            commitment = commitment + ((z - e)**2).sum()
            e = z + (e - z).detach()                   # straight through
            told = self.up[i](torch.cat([e, told], dim=1))
            zs.insert(0, z.detach())
            codes.insert(0, numbers)
        return told, commitment, zs, codes

    def nll(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Σ over the batch"""
        return 0.5 * ((x - y)**2 * torch.exp(-self.logvar) + self.logvar + LOG_2PI).sum()


def vq_vae(row: Row) -> Work:
    """A step of the autoencoder and of its words; every twentieth draws dead words from the batch."""
    model, twins = build_system(row), Twins()
    net = Autoencoder(model, twins)
    adam = torch.optim.Adam([*net.modules.parameters(), net.logvar], lr=1e-3)
    order, steps = cycle([torch.from_numpy(x).view(-1, 1, SIDE, SIDE) for x in batches(row)]), iter(range(1, 2**62))

    def gradients(x: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        adam.zero_grad()
        y, commitment, zs, codes = net(x)
        ((net.nll(y, x) + model.beta * commitment) / len(x)).backward()
        return [words.tally(z, c) for words, z, c in zip(net.words, zs, codes)]

    def step() -> None:
        x = next(order)
        if next(steps) % 20 == 0:
            with torch.no_grad():
                for words, z in zip(net.words, net(x[:16])[2]):
                    _restart(words, z)
        found = gradients(x)
        adam.step()
        for words, tally in zip(net.words, found):
            words.follow(*tally)

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        parameters = moving(model, row)
        found = gradients(torch.from_numpy(x).view(-1, 1, SIDE, SIDE))
        sums = {name: found[int(name.split(".")[1])][name.endswith("counts")].numpy()
                for name in parameters if ".codebook." in name}
        return twins.gradients(parameters) | sums

    return Work(step, prove)


def _restart(words: Words, z: torch.Tensor) -> None:
    flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
    drawn, dead = flat[torch.randint(len(flat), words.counts.shape)], words.counts < 1.0
    usual = words.counts.mean().clamp(min=1.0)
    words.sums.copy_(torch.where(dead[:, None], usual * drawn, words.sums))
    words.counts.copy_(torch.where(dead, usual, words.counts))


# ── its priors ────────────────────────────────────────────────────────────────────────────────────

class Prior(nn.Module):
    """A gated PixelCNN."""

    def __init__(self, layer: pixel_cnn.PixelCNN, twins: Twins) -> None:
        super().__init__()
        self.embed, self.upper, self.given, self.first_above, self.first_left, self.head = (
            twins.of(part) for part in (layer.embed, layer.upper, layer.given, layer.first_above, layer.first_left,
                                        layer.head))
        self.blocks = [[twins.of(part) for part in (block.vertical, block.horizontal, block.down, block.mix)]
                       for block in layer.blocks.layers]
        self.parts = nn.ModuleList(part for block in self.blocks for part in block)

    def forward(self, codes: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
        """Σ −log p(codes | above)        (B, H, W) (B, H/f, W/f)"""
        e = self.embed(codes).permute(0, 3, 1, 2)
        u = F.interpolate(self.upper(above).permute(0, 3, 1, 2), scale_factor=codes.shape[1] // above.shape[1])
        v, h = self.first_above(e), self.first_left(e)
        for (vertical, horizontal, down, mix), s in zip(self.blocks, self.given(u).chunk(len(self.blocks), dim=1)):
            s_above, t = s.chunk(2, dim=1)
            a = vertical(v) + s_above
            b = horizontal(h) + down(a) + t
            v, h = _gated(a), h + mix(_gated(b))
        return F.cross_entropy(self.head(h), codes, reduction="sum")


def _gated(x: torch.Tensor) -> torch.Tensor:
    a, g = x.chunk(2, dim=1)
    return torch.tanh(a) * torch.sigmoid(g)


def priors(row: Row) -> Work:
    """A step of both priors; the codes are those of an autoencoder that stays as it is."""
    model, twins = build_system(row), Twins()
    net = Autoencoder(model, twins)
    both = nn.ModuleList(Prior(prior, twins) for prior in model.priors.layers)
    adam = torch.optim.Adam(both.parameters(), lr=1e-3)
    order = cycle([torch.from_numpy(x).view(-1, 1, SIDE, SIDE) for x in batches(row)])

    def gradients(x: torch.Tensor) -> None:
        adam.zero_grad()
        with torch.no_grad():
            y, _, _, codes = net(x)
            net.nll(y, x)                              # it is told, too
        above = [*codes[1:], torch.zeros_like(codes[-1])]
        (sum(prior(c, a) for prior, c, a in zip(both, codes, above)) / len(x)).backward()

    def step() -> None:
        gradients(next(order))
        adam.step()

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        gradients(torch.from_numpy(x).view(-1, 1, SIDE, SIDE))
        return twins.gradients(moving(model, row))

    return Work(step, prove)


# ── an LSTM ───────────────────────────────────────────────────────────────────────────────────────

def lstm(row: Row) -> Work:
    """The states of an LSTM over all words, averaged, and a softmax."""
    model, twins = build_system(row), Twins()
    reader, head = model.network_of.reader, model.network_of.then
    words, net, linear = twins.of(reader.words), twins.of(reader.lstm), twins.of(head)
    adam = torch.optim.Adam([*words.parameters(), *net.parameters(), *linear.parameters()], lr=1e-3)
    order = cycle([(torch.from_numpy(part.x), torch.from_numpy(part.y)) for part in seen(row)])

    def gradients(x: torch.Tensor, y: torch.Tensor) -> None:
        adam.zero_grad()
        F.cross_entropy(linear(net(words(x.T))[0].mean(dim=0)), y).backward()

    def step() -> None:
        gradients(*next(order))
        adam.step()

    def prove(x: Array, eps: Array) -> dict[str, Array]:
        gradients(*(torch.from_numpy(part) for part in (seen(row)[0].x, seen(row)[0].y)))
        return twins.gradients(moving(model, row))

    return Work(step, prove)


SYSTEMS = {"vae_gan": vae_gan, "vq_vae": vq_vae, "pixel_cnn": priors, "lstm": lstm}
