"""The Chinese restaurant process: which component an example belongs to, when nobody says how many there are.

Guests come one after another.  Each sits down at a table with probability proportional to the number of guests that
sit there already, or at a new one, with probability proportional to α:

    P(cᵢ = c | the others)   =  n_c / (N − 1 + α),        P(cᵢ is new | the others)  =  α / (N − 1 + α)

That is a mixture with weights drawn from a Dirichlet process, and the weights integrated out.  The joint probability
does not depend on the order in which the guests came, so that each may be taken for the last one: that makes Gibbs
sampling easy.  About α log N tables are in use.

    log P(c₁ … c_N)  =  K log α + Σ_c log Γ(n_c) + log Γ(α) − log Γ(N + α)        for K tables in use

Aldous 1985; Neal 2000, algorithm 8 for the sweep.  Whole numbers on the host: nothing here is differentiated.
"""

from __future__ import annotations

import numpy as np


def crp_log_prob(seats: np.ndarray, *, concentration: float) -> float:
    """log P of who sits with whom, in nats        seats (N,), the number of everybody's table

    Raises ValueError for a concentration that is not above 0.
    """
    from scipy.special import gammaln  # which takes long to load, and only this one asks for it

    check_concentration(concentration)
    _, sizes = np.unique(seats, return_counts=True)
    together = len(sizes) * np.log(concentration) + gammaln(sizes).sum()
    return float(together + gammaln(concentration) - gammaln(len(seats) + concentration))


def crp_sweep(log_p: np.ndarray, seats: np.ndarray, *, guests: np.ndarray, concentration: float,
              gumbel: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Let some guests choose their tables again, one after another: the seats of all, and the tables newly opened.

        P(cᵢ = c | the others, xᵢ)  ∝  n_c p_c(xᵢ),        P(cᵢ is new | the others, xᵢ)  ∝  α p₀(xᵢ)

    log_p    (B, T + 1): log p_c(xᵢ) of the T tables there can be, and last of a new one
    seats    (N,): everybody's table, −1 for guests who have not come yet
    guests   (B,): who of the N they are, each once
    gumbel   (B, T + 1): Gumbel noise.  The largest of log-weight + noise is a draw
    A table that nobody sits at any more is free for who wants a new one; while none is free, there is no new one.  What
    is new is as p₀ says to those who come next, too.
    """
    seats, log_p, opened = seats.copy(), log_p.copy(), list[int]()
    tables = log_p.shape[1] - 1
    counts = np.bincount(seats[seats >= 0], minlength=tables)
    for i, guest in enumerate(guests):
        if seats[guest] >= 0:
            counts[seats[guest]] -= 1                              # n_c counts the others
        weights = np.append(counts, concentration if counts.min() == 0 else 0.0)
        with np.errstate(divide="ignore"):
            table = int(np.argmax(np.log(weights) + log_p[i] + gumbel[i]))
        if table == tables:
            table = int(counts.argmin())
            opened.append(table)
            log_p[:, table] = log_p[:, tables]
        seats[guest] = table
        counts[table] += 1
    return seats, opened


def check_concentration(concentration: float) -> None:
    """Raise ValueError unless it is above 0."""
    if not concentration > 0:
        raise ValueError(f"concentration: got {concentration}, expected a number > 0")
