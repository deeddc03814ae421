"""Demixing: as many microphones as sources, and in every frequency a square matrix that takes the mixture apart.

    x(f, n)                              what the microphones hear, complex, frequency f, frame n
    y(f, n) = W(f) x(f, n)               the sources, as many as microphones
    y_j(f, n) ~ N_C(0, v_j(f, n))        complex Gaussians, whose variances v a model of the source knows

By the change of variables (a complex matrix counts twice: it turns real and imaginary parts)

    log p(x) = 2N Σ_f log |det W(f)|  −  Σ_{j,f,n} ( log v_j + |y_j|² / v_j + log π )

Row j of W is w_jᴴ.  With all other rows held, what it may change is N (2 log |det W| − w_jᴴ V_j w_j) with
V_j = (1/N) Σ_n x xᴴ / v_j, and its maximum is known in closed form (iterative projection: Ono 2011):

    w_j ← (W V_j)⁻¹ e_j,        w_j ← w_j / √(w_jᴴ V_j w_j)

so that one row after another is moved, and the likelihood never falls.

Where a frequency holds next to nothing, or microphones hear the same, V_j has no inverse and the likelihood no maximum.
`ridge` is the remedy: microphones are told to have a noise of that power, too, which adds −N Σ_f ridge ‖W(f)‖² to the
objective and ridge · I to V_j; nothing else changes.

NumPy on the host, complex128.  Shapes: J sources and microphones, F frequencies, N frames; x, y (J, F, N), W (F, J, J).
"""

from __future__ import annotations

import math

import numpy as np

from minivae.backend import Array

LOG_PI = math.log(math.pi)


def demix(W: Array, x: Array) -> Array:
    """y(f, n) = W(f) x(f, n)        (F, J, J) (J, F, N) -> (J, F, N)"""
    y: Array = np.matmul(W, x.swapaxes(0, 1)).swapaxes(0, 1)
    return y


def log_likelihood(W: Array, x: Array, variances: Array, *, ridge: float = 0.0) -> float:
    """log p(x), in nats, less what the ridge charges        W (F, J, J), x and variances (J, F, N)"""
    power = np.abs(demix(W, x)) ** 2
    determinant = np.linalg.slogdet(W)[1].sum()
    surprise = (np.log(variances) + power / variances).sum() + power.size * LOG_PI
    charge = ridge * (np.abs(W) ** 2).sum()
    return float(x.shape[-1] * (2.0 * determinant - charge) - surprise)


def project(W: Array, x: Array, variance: Array, *, row: int, ridge: float = 0.0) -> Array:
    """W with this row where the likelihood is largest, the others held        W (F, J, J), variance (F, N) -> (F, J, J)

    Iterative projection, Ono 2011.  Raises LinAlgError for a V that has no inverse: give it a ridge.
    """
    heard, (J, _, N) = x.swapaxes(0, 1), x.shape
    V = (heard / variance[:, None]) @ heard.conj().swapaxes(1, 2) / N + ridge * np.eye(J)
    w = np.linalg.solve(W @ V, np.broadcast_to(np.eye(J)[:, row:row + 1], (len(W), J, 1)))
    size = np.sqrt((w.conj() * (V @ w)).sum(axis=1, keepdims=True).real)
    W = W.copy()
    W[:, row] = (w / size)[:, :, 0].conj()             # row j is w_jᴴ
    return W


def project_back(W: Array, *, microphone: int = 0) -> Array:
    """W whose sources are as loud as this microphone hears them        (F, J, J) -> (F, J, J)

    The likelihood does not know how loud a source is, W and v could share that out otherwise.  But x = A y with
    A = W⁻¹, so that of x_m source j is A_mj y_j: row j is multiplied by A_mj, and the rows add up to x_m.
    Murata et al. 2001.
    """
    return W * np.linalg.inv(W)[:, microphone, :, None]
