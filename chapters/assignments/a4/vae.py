"""A variational autoencoder of black-and-white images, put together from chapters 2 to 10.

B images x of X pixels, Z latents, everything in nats.  A piece returns its value and its pullback, which carries the
derivative of the loss back to its inputs.
"""

from copy import deepcopy

import numpy as np


def activate(x):
    """tanh x"""
    y = np.tanh(x)

    def pullback(dy):
        return dy * (1.0 - y * y)

    return y, pullback


def reparameterize(mean, logvar, rng):
    """A draw z of N(mean, exp(logvar)), (B, Z)"""
    noise = np.exp(0.5 * logvar) * rng.standard_normal(mean.shape)

    def pullback(dz):
        return dz, 0.5 * noise * dz

    return mean + noise, pullback


def gaussian_kl(mean, logvar):
    """KL( N(mean, exp(logvar)) ‖ N(0, I) ), (B,)"""
    var = np.exp(logvar)

    def pullback(dkl):
        return mean * dkl[:, None], 0.5 * (var - 1.0) * dkl[:, None]

    return 0.5 * (mean**2 + var - logvar - 1.0).sum(axis=1), pullback


def bernoulli_nll(logits, x):
    """−log p(x|z) of black and white pixels, (B,)"""
    def pullback(dnll):
        return (sigmoid(logits) - x) * dnll[:, None]

    return (np.logaddexp(0.0, logits) - x * logits).sum(axis=1), pullback


def sigmoid(a):
    """1 / (1 + exp(−a))"""
    return 0.5 + 0.5 * np.tanh(0.5 * a)


class Adam:
    """Kingma and Ba 2014, algorithm 1"""

    def __init__(self, lr, beta1=0.9, beta2=0.999):
        self.lr, self.beta1, self.beta2 = lr, beta1, beta2
        self.steps, self.m, self.v = 0, {}, {}

    def step(self, weights, grads):
        self.steps += 1
        for name, g in grads.items():
            self.m[name] = self.beta1 * self.m.get(name, 0.0) + (1.0 - self.beta1) * g
            self.v[name] = self.beta2 * self.v.get(name, 0.0) + (1.0 - self.beta2) * g**2
            m = self.m[name] / (1.0 - self.beta1**self.steps)
            v = self.v[name] / (1.0 - self.beta2**self.steps)
            weights[name] -= self.lr * m / (np.sqrt(v) + 1e-8)


class VAE:
    """x -> trunk -> mean, logvar -> z -> hidden -> logits of x"""

    def __init__(self, pixels, hidden, latents, rng, lr=1e-3, beta=1.0):
        self.latents, self.beta, self.adam = latents, beta, Adam(lr)
        self.weights, self.grads = {}, {}
        for name, rows, columns in (("trunk", pixels, hidden), ("mean", hidden, latents), ("logvar", hidden, latents),
                                    ("hidden", latents, hidden), ("pixels", hidden, pixels)):
            self.weights[f"W_{name}"] = rng.standard_normal((rows, columns)) / np.sqrt(rows)
            self.weights[f"b_{name}"] = np.zeros(columns)
        self.weights["b_pixels"] -= 2.0                # most of a picture is paper

    def dense(self, name, x):
        """x W + b; the pullback adds to self.grads"""
        W, b = self.weights[f"W_{name}"], self.weights[f"b_{name}"]

        def pullback(dy):
            for key, d in ((f"W_{name}", x.T @ dy), (f"b_{name}", dy.sum(axis=0))):
                self.grads[key] = self.grads.get(key, 0.0) + d
            return dy @ W.T

        return x @ W + b, pullback

    def encode(self, x):
        """q(z|x): mean and logvar, (B, Z) each"""
        a, pull_a = self.dense("trunk", x)
        h, pull_h = activate(a)
        mean, pull_mean = self.dense("mean", h)
        logvar, pull_logvar = self.dense("logvar", h)

        def pullback(dmean, dlogvar):
            pull_a(pull_h(pull_mean(dmean) + pull_logvar(dlogvar)))

        return (mean, logvar), pullback

    def decode(self, z):
        """p(x|z): logits, (B, X)"""
        a, pull_a = self.dense("hidden", z)
        h, pull_h = activate(a)
        logits, pull_logits = self.dense("pixels", h)
        return logits, lambda dlogits: pull_a(pull_h(pull_logits(dlogits)))

    def terms(self, x, rng):
        """The terms of −ELBO = nll + kl, (B,) each, for one draw of z"""
        (mean, logvar), pull_encoder = self.encode(x)
        z, pull_z = reparameterize(mean, logvar, rng)
        logits, pull_decoder = self.decode(z)
        nll, pull_nll = bernoulli_nll(logits, x)
        kl, pull_kl = gaussian_kl(mean, logvar)

        def pullback(dnll, dkl):
            dmean, dlogvar = pull_z(pull_decoder(pull_nll(dnll)))
            dmean_kl, dlogvar_kl = pull_kl(dkl)
            pull_encoder(dmean + dmean_kl, dlogvar + dlogvar_kl)

        return (nll, kl), pullback

    def train_step(self, x, rng):
        """A step of Adam down the batch's mean of nll + beta kl; returns the mean ELBO, nll and kl before it"""
        (nll, kl), pullback = self.terms(x, rng)
        self.grads = {}
        dnll = np.full(len(x), 1.0 / len(x))
        dkl = np.full(len(x), self.beta / len(x))
        pullback(dnll, dkl)
        self.adam.step(self.weights, self.grads)
        return {"elbo": -(nll + kl).mean(), "nll": nll.mean(), "kl": kl.mean()}

    def log_weights(self, x, rng, samples):
        """log p(x, z) − log q(z|x) for draws z of q(z|x), (samples, B)"""
        mean, logvar = self.encode(x)[0]
        rows = []
        for _ in range(samples):
            z, _ = reparameterize(mean, logvar, rng)
            log_p = -0.5 * (z**2).sum(axis=1) - bernoulli_nll(self.decode(z)[0], x)[0]
            log_q = -0.5 * ((z - mean) ** 2 / np.exp(logvar) + logvar).sum(axis=1)
            rows.append(log_p - log_q)
        return np.stack(rows)

    def nll(self, x, rng, samples):
        """An estimate of −log p(x) from importance weights, (B,)"""
        log_w = self.log_weights(x, rng, samples)
        return np.log(samples) - np.logaddexp.reduce(log_w, axis=0)

    def sample(self, n, rng):
        """E[x|z] for n draws z of N(0, I), (n, X)"""
        return sigmoid(self.decode(rng.standard_normal((n, self.latents)))[0])

    def state(self):
        """All that is needed to go on training, as a copy"""
        adam = self.adam
        return deepcopy({"weights": self.weights, "m": adam.m, "v": adam.v, "steps": adam.steps})

    def load(self, state):
        """Go on from such a state"""
        state = deepcopy(state)
        self.weights, self.adam.m, self.adam.v = state["weights"], state["m"], state["v"]
        self.adam.steps = state["steps"]
