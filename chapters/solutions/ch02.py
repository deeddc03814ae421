"""Solutions of chapter 2 · The linear layer, and why the bias gradient sums over the batch.

    python -m chapters.solutions.ch02
"""

# %% [markdown]
# # Solutions of chapter 2

# %%
import numpy as np

from chapters.ch02_linear import learn, linear
from minivae.chapter import options, parser
from minivae.gradcheck import gradcheck

opt, _ = options(parser("solutions/ch02", __doc__, epochs=30), None)
rng = np.random.default_rng(opt.seed)

# %% [markdown]
# ## Exercise 1
#
# > *Change this.*  Set `rate` to 0.06.  What happens, and which eigenvalue of $x^\top x / B$ decides it?
#
# Write the bias as one more row of $W$, with a pixel that is always 1: $\tilde x = (x, 1)$.  Then
# $\partial L / \partial \tilde W = \tfrac1B \tilde x^\top (\tilde x \tilde W - t)$, and with $H = \tilde x^\top \tilde x / B$ and $\tilde W^*$ a
# minimum, $H \tilde W^* = \tilde x^\top t / B$, one step of gradient descent is
#
# $$ \tilde W - \tilde W^* \;\leftarrow\; (I - \eta H)\, (\tilde W - \tilde W^*). $$
#
# Along the eigenvector of $H$ with eigenvalue $\lambda$ the error is multiplied by $1 - \eta\lambda$ in every step.  It shrinks if
# $|1 - \eta\lambda| < 1$, that is if $\eta < 2/\lambda$: the **largest** eigenvalue decides, and the loss explodes when
# $\eta > 2/\lambda_{\max}$.  (In minibatches $H$ changes from step to step around this one.)

# %%
digits = opt.digits()
some = slice(0, 1000 if opt.quick else None)
train, labels = digits.train[some].astype(np.float64), digits.train_labels[some]
with_one = np.column_stack([train, np.ones(len(train))])
values, vectors = np.linalg.eigh(with_one.T @ with_one / len(train))
limit = 2 / values[-1]
alike = abs(vectors[:, -1] @ with_one.mean(axis=0)) / np.linalg.norm(with_one.mean(axis=0))
print(f"the three largest eigenvalues: {values[-1]:.1f}, {values[-2]:.1f}, {values[-3]:.1f};   2/λ_max = {limit:.4f}")
print(f"the first eigenvector and the average image have a cosine of {alike:.3f}: all ink is positive")
assert alike > 0.99

t = np.eye(10)[labels]
for rate in (0.95 * limit, 1.05 * limit):             # all images at once: exactly the recursion above
    W, history = np.zeros((785, 10)), []
    for _ in range(60):
        error = with_one @ W - t
        history.append(0.5 * float((error**2).sum()) / len(t))
        W -= rate * with_one.T @ error / len(t)
    print(f"all images at once, rate {rate:.4f}: the loss goes from {history[0]:.3f} to {history[-1]:.3g} in 60 steps")
    assert (history[-1] < history[0]) == (rate < limit)

for rate in (0.02, 0.04, 0.06):
    *_, losses = learn(linear, train, labels, 2, np.random.default_rng(opt.seed), rate=rate)
    print(f"minibatches of 100, rate {rate}: the loss of two epochs is {losses[0]:.3g}, {losses[1]:.3g}")
    assert (losses[1] > 10 * losses[0]) if rate > limit else (losses[1] < losses[0])

# %% [markdown]
# ## Exercise 2
#
# > *Find this.*  For $y = x W + b$ with $x$ of shape $(K, B, I)$, what is $dW$?  Which sums appear?
#
# $y_{kno} = \sum_i x_{kni} W_{io} + b_o$.  $W_{io}$ appears in $y_{kno}$ for every $k$ and every $n$, with factor $x_{kni}$; $b_o$
# with factor 1.  Derivatives of several uses add:
#
# $$ dW_{io} = \sum_k \sum_n x_{kni}\, dy_{kno} = \sum_k \big(x_k^\top dy_k\big)_{io}, \qquad db_o = \sum_k \sum_n dy_{kno}, \qquad
#    dx_k = dy_k W^\top. $$
#
# The two sums are one: lay the $K$ blocks on top of each other, and $dW = \bar x^\top \overline{dy}$ with $\bar x$ of shape
# $(KB, I)$, one large product instead of $K$ small ones that are added afterwards.

# %%
def linear_of_many(x, W, b):                          # (K, B, I) (I, O) (O,) -> (K, B, O)
    """y = x W + b"""
    def pullback(dy):
        rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return dy @ W.T, rows.T @ drows, drows.sum(axis=0)

    return x @ W + b, pullback


x, W, b = rng.standard_normal((6, 4, 3)), rng.standard_normal((3, 5)), rng.standard_normal(5)
print(gradcheck(linear_of_many, x, W, b))
dy = rng.standard_normal((6, 4, 5))
assert np.allclose(linear_of_many(x, W, b)[1](dy)[1], np.einsum("kni,kno->io", x, dy))

# %% [markdown]
# ## Exercise 3
#
# > *Derive this.*  Let $y = x W W^\top$ ("tied weights").  $W$ is used twice: find $dW$ and check it.
#
# Give the two uses two names, $h = x W$ and $y = h V^\top$, and set $V = W$ at the end.
#
# * The second is a linear layer with the matrix $V^\top$: $d(V^\top) = h^\top dy$, so $dV = dy^\top h = dy^\top x W$; and $dh = dy\, V = dy\, W$.
# * The first: $dW = x^\top dh = x^\top dy\, W$, and $dx = dh\, W^\top = dy\, W W^\top$.
#
# Derivatives of several uses add, $\;dW = x^\top dy\, W + dy^\top x W = \big(x^\top dy + (x^\top dy)^\top\big)\, W$.

# %%
def tied(x, W):                                       # (B, I) (I, H) -> (B, I)
    """y = x W Wᵀ"""
    h = x @ W

    def pullback(dy):
        dh = dy @ W
        return dh @ W.T, x.T @ dh + dy.T @ h          # used on the way in and on the way out: add

    return h @ W.T, pullback


def tied_heard_once(x, W):
    y, pullback = tied(x, W)
    return y, lambda dy: (pullback(dy)[0], x.T @ (dy @ W))


x, W = rng.standard_normal((4, 5)), rng.standard_normal((5, 3))
print(gradcheck(tied, x, W))
dy = rng.standard_normal((4, 5))
both = x.T @ dy + (x.T @ dy).T
assert np.allclose(tied(x, W)[1](dy)[1], both @ W)
try:
    gradcheck(tied_heard_once, x, W)
except AssertionError as error:
    print(f"\nwith one use only:\n{error}")
else:
    raise AssertionError("half of the gradient passed")
