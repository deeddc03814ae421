"""The training step of textbook.py, in few passes over the memory and none of it new: the solution of assignment 6."""

import numpy as np


class Linear:
    """y = x W + b, (B, I) -> (B, O).  A pullback writes dW and db: each layer is used once, nothing is to be added."""

    def __init__(self, W, b):
        self.W, self.b = W.copy(), b.copy()
        self.dW, self.db = np.zeros_like(W), np.zeros_like(b)

    def __call__(self, x, out=None):
        def pullback(dy, need_dx=True, out=None):
            np.matmul(x.T, dy, out=self.dW)
            np.sum(dy, axis=0, out=self.db)
            return np.matmul(dy, self.W.T, out=out) if need_dx else None

        y = np.matmul(x, self.W, out=out)
        y += self.b
        return y, pullback


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


def bernoulli_nll(logits, x, e=None, spare=None):
    """−log p(x|a) = Σ softplus(a) − x a, (B,);  ∂/∂a = sigmoid(a) − x

    One exponential for both: e = exp(−|a|), softplus(a) = max(a, 0) + log(1 + e), sigmoid(a) = (1 or e) / (1 + e).
    e, spare    memory to work in, else it is made; `e` is needed until the pullback is called
    """
    def pullback(dnll, out=None):
        d = np.add(e, 1, out=out)
        np.reciprocal(d, out=d)
        np.multiply(d, e, out=d, where=logits < 0)
        d -= x
        d *= dnll[:, None]
        return d

    e = np.abs(logits, out=e)
    np.negative(e, out=e)
    np.exp(e, out=e)
    spare = np.log1p(e, out=spare)
    nll = spare.sum(axis=1)
    np.maximum(logits, 0, out=spare)
    nll += spare.sum(axis=1)
    nll -= np.einsum("bx,bx->b", x, logits)
    return nll, pullback


class Adam:
    """Adam over flat vectors.  m and s are kept divided by 1 − β₁ and 1 − β₂, so that all constants meet in two numbers:

    m = β₁ m + g,  s = β₂ s + g²,  w = w − rate m / (√s + small)
    """

    def __init__(self, lr, size, beta1=0.9, beta2=0.999, small=1e-8):
        self.lr, self.beta1, self.beta2, self.small = lr, beta1, beta2, small
        self.m, self.s, self.spare = (np.zeros(size, np.float32) for _ in range(3))
        self.steps = 0

    def step(self, w, g):
        self.steps += 1
        m, s, spare = self.m, self.s, self.spare
        root = ((1 - self.beta2) / (1 - self.beta2**self.steps)) ** 0.5
        m *= self.beta1
        m += g
        s *= self.beta2
        np.multiply(g, g, out=spare)
        s += spare
        np.sqrt(s, out=spare)
        spare += self.small / root
        np.divide(m, spare, out=spare)
        spare *= self.lr * (1 - self.beta1) / (1 - self.beta1**self.steps) / root
        w -= spare


class VAE:
    """x -> trunk -> mean, logvar -> z -> hidden -> pixels: logits of x.

    All weights are views of one vector, all gradients of another; what a batch needs is kept for the next one.
    """

    def __init__(self, weights, lr=1e-3):
        names = ("trunk", "mean", "logvar", "hidden", "pixels")
        self.layers = {name: Linear(weights[f"{name}_W"], weights[f"{name}_b"]) for name in names}
        self.value = np.concatenate([w.ravel() for w in self.weights.values()])
        self.grad = np.zeros_like(self.value)
        start = 0
        for layer in self.layers.values():
            middle, end = start + layer.W.size, start + layer.W.size + layer.b.size
            layer.W, layer.b = self.value[start:middle].reshape(layer.W.shape), self.value[middle:end]
            layer.dW, layer.db = self.grad[start:middle].reshape(layer.W.shape), self.grad[middle:end]
            start = end
        self.adam = Adam(lr, self.value.size)
        self.rooms = {}

    @property
    def weights(self):
        """ "trunk_W" -> array, to read and to write into"""
        return {f"{name}_{key}": w for name, layer in self.layers.items() for key, w in (("W", layer.W), ("b", layer.b))}

    @property
    def grads(self):
        """The same names -> what `gradient` found"""
        return {f"{name}_{key}": g for name, layer in self.layers.items() for key, g in (("W", layer.dW), ("b", layer.db))}

    def room(self, name, *shape):
        """Memory for what is called so: the same again, as long as the batch has the same size."""
        if name not in self.rooms or self.rooms[name].shape != shape:
            self.rooms[name] = np.empty(shape, np.float32)
        return self.rooms[name]

    def gradient(self, x, eps):
        """The batch's means of nll and kl; the gradient of their sum is in `grads` afterwards."""
        (B, X), H = x.shape, self.layers["trunk"].b.size
        h, pull_trunk = self.layers["trunk"](x, self.room("h", B, H))
        np.maximum(h, 0, out=h)                        # where it is positive, a was: a itself is not needed
        mean, pull_mean = self.layers["mean"](h)
        logvar, pull_logvar = self.layers["logvar"](h)
        z, pull_z = reparameterize(mean, logvar, eps)
        g, pull_hidden = self.layers["hidden"](z, self.room("g", B, H))
        np.maximum(g, 0, out=g)
        logits, pull_pixels = self.layers["pixels"](g, self.room("logits", B, X))
        spare = self.room("spare", B, X)
        nll, pull_nll = bernoulli_nll(logits, x, self.room("e", B, X), spare)
        kl, pull_kl = gaussian_kl(mean, logvar)

        each = np.full(B, 1 / B, np.float32)
        dg = pull_pixels(pull_nll(each, out=spare), out=self.room("dg", B, H))
        dg *= g > 0
        dmean, dlogvar = pull_z(pull_hidden(dg))
        dmean_kl, dlogvar_kl = pull_kl(each)
        dh = pull_mean(dmean + dmean_kl, out=self.room("dh", B, H))
        dh += pull_logvar(dlogvar + dlogvar_kl, out=dg)
        dh *= h > 0
        pull_trunk(dh, need_dx=False)                  # nobody asks for the gradient of the data
        return nll.mean(), kl.mean()

    def update(self):
        """A step of Adam with the gradient that is in `grads`."""
        self.adam.step(self.value, self.grad)

    def train_step(self, x, eps):
        """Down the mean of nll + kl; returns both, as they were before the step."""
        nll, kl = self.gradient(x, eps)
        self.update()
        return {"nll": nll, "kl": kl}
