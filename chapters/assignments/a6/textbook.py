"""A training step of a VAE as a textbook writes it: all of it is right, and it is slow.

    model = VAE(weights)                     {"trunk_W": (X, H), "trunk_b": (H,), …}, float32
    told = model.train_step(x, eps)          x: (B, X) black and white pixels, eps: (B, Z) of N(0, I), float32

Every formula stands as the chapters derive it, every gradient is right.
"""

import numpy as np


class Linear:
    """y = x W + b, (B, I) -> (B, O).  A pullback adds to dW and db."""

    def __init__(self, W, b):
        self.W, self.b = W.copy(), b.copy()
        self.zero_grad()

    def zero_grad(self):
        self.dW, self.db = np.zeros_like(self.W), np.zeros_like(self.b)

    def __call__(self, x):
        def pullback(dy):
            self.dW += x.T @ dy
            self.db += dy.sum(axis=0)
            return dy @ self.W.T

        return x @ self.W + self.b, pullback


def relu(x):
    """y = max(x, 0)"""
    def pullback(dy):
        return dy * (x > 0)

    return np.maximum(x, 0), pullback


def reparameterize(mean, logvar, eps):
    """z = μ + σ ε"""
    noise = np.exp(0.5 * logvar) * eps

    def pullback(dz):
        return dz, 0.5 * noise * dz

    return mean + noise, pullback


def gaussian_kl(mean, logvar):
    """KL( N(μ, σ²) ‖ N(0, I) ) = ½ Σ (μ² + σ² − log σ² − 1), (B,)"""
    var = np.exp(logvar)

    def pullback(dkl):
        return mean * dkl[:, None], 0.5 * (var - 1) * dkl[:, None]

    return 0.5 * (mean**2 + var - logvar - 1).sum(axis=1), pullback


def bernoulli_nll(logits, x):
    """−log p(x|a) = Σ softplus(a) − x a, (B,);  ∂/∂a = sigmoid(a) − x"""
    def pullback(dnll):
        e = np.exp(-np.abs(logits))
        sigmoid = np.where(logits >= 0, 1, e) / (1 + e)
        return (sigmoid - x) * dnll[:, None]

    softplus = np.maximum(logits, 0) + np.log1p(np.exp(-np.abs(logits)))
    return (softplus - x * logits).sum(axis=1), pullback


class Adam:
    """m = β₁ m + (1 − β₁) g,  s = β₂ s + (1 − β₂) g²,  w = w − lr m̂ / (√ŝ + ε)"""

    def __init__(self, lr, beta1=0.9, beta2=0.999, small=1e-8):
        self.lr, self.beta1, self.beta2, self.small = lr, beta1, beta2, small
        self.m, self.s, self.steps = {}, {}, 0

    def step(self, weights, grads):
        self.steps += 1
        for name, g in grads.items():
            if name not in self.m:
                self.m[name], self.s[name] = np.zeros(g.shape), np.zeros(g.shape)
            self.m[name] = self.beta1 * self.m[name] + (1 - self.beta1) * g
            self.s[name] = self.beta2 * self.s[name] + (1 - self.beta2) * g**2
            m_hat = self.m[name] / (1 - self.beta1**self.steps)
            s_hat = self.s[name] / (1 - self.beta2**self.steps)
            weights[name] -= self.lr * m_hat / (np.sqrt(s_hat) + self.small)


class VAE:
    """x -> trunk -> mean, logvar -> z -> hidden -> pixels: logits of x.  Each layer is used once."""

    def __init__(self, weights, lr=1e-3):
        names = ("trunk", "mean", "logvar", "hidden", "pixels")
        self.layers = {name: Linear(weights[f"{name}_W"], weights[f"{name}_b"]) for name in names}
        self.adam = Adam(lr)

    @property
    def weights(self):
        """ "trunk_W" -> array, to read and to write into"""
        return {f"{name}_{key}": w for name, layer in self.layers.items() for key, w in (("W", layer.W), ("b", layer.b))}

    @property
    def grads(self):
        """The same names -> what `gradient` found"""
        return {f"{name}_{key}": g for name, layer in self.layers.items() for key, g in (("W", layer.dW), ("b", layer.db))}

    def gradient(self, x, eps):
        """The batch's means of nll and kl; the gradient of their sum is in `grads` afterwards."""
        a, pull_trunk = self.layers["trunk"](x)
        h, pull_h = relu(a)
        mean, pull_mean = self.layers["mean"](h)
        logvar, pull_logvar = self.layers["logvar"](h)
        z, pull_z = reparameterize(mean, logvar, eps)
        b, pull_hidden = self.layers["hidden"](z)
        g, pull_g = relu(b)
        logits, pull_pixels = self.layers["pixels"](g)
        nll, pull_nll = bernoulli_nll(logits, x)
        kl, pull_kl = gaussian_kl(mean, logvar)

        for layer in self.layers.values():
            layer.zero_grad()
        dnll = dkl = np.full(len(x), 1 / len(x))
        dz = pull_hidden(pull_g(pull_pixels(pull_nll(dnll))))
        dmean, dlogvar = pull_z(dz)
        dmean_kl, dlogvar_kl = pull_kl(dkl)
        pull_trunk(pull_h(pull_mean(dmean + dmean_kl) + pull_logvar(dlogvar + dlogvar_kl)))
        return nll.mean(), kl.mean()

    def update(self):
        """A step of Adam with the gradient that is in `grads`."""
        self.adam.step(self.weights, self.grads)

    def train_step(self, x, eps):
        """Down the mean of nll + kl; returns both, as they were before the step."""
        nll, kl = self.gradient(x, eps)
        self.update()
        return {"nll": nll, "kl": kl}
