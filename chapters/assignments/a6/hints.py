"""What the numbers of assignment 6 are made of: it stays with the instructor."""

import numpy as np


def gradient(g, B):
    return {"sizes": {"the batch size B": B}, "instead": {"the one of a batch before, added to this one's": 2.0 * g}}


def layer(B):
    return {"sizes": {"the batch size B": B}}


def nll(logits, x):
    softplus = np.logaddexp(0.0, logits)
    return {"terms": {"softplus a": softplus.sum(axis=1), "x a": -(x * logits).sum(axis=1)},
            "sizes": {"the number of pixels X": x.shape[1]},
            "instead": {"without max(a, 0): log(1 + e) alone is the softplus of −|a|":
                        (np.log1p(np.exp(-np.abs(logits))) - x * logits).sum(axis=1)}}


def dlogits(logits, x, dnll):
    d, e = dnll[:, None], np.exp(-np.abs(logits))
    p = np.exp(-np.logaddexp(0.0, -logits))
    return {"terms": {"sigmoid a": p * d, "x": -x * d}, "factors": {"dnll": d},
            "sizes": {"the batch size B": len(x), "the number of pixels X": x.shape[1]},
            "instead": {"with e / (1 + e) where the logit is positive too: there it is 1 / (1 + e)": (e / (1 + e) - x) * d,
                        "with 1 / (1 + e) where the logit is negative too: there it is e / (1 + e)": (1 / (1 + e) - x) * d}}


def update(moved, updates):
    """Adam's corrections after so many updates; ε matters to no digit here"""
    first, second = 1 - 0.9**updates, 1 - 0.999**updates
    return {"instead": {"without the correction of m, 1 − β₁ᵗ": moved * first,
                        "without the correction of s, 1 − β₂ᵗ": moved / np.sqrt(second),
                        "without both corrections, 1 − β₁ᵗ and 1 − β₂ᵗ": moved * first / np.sqrt(second),
                        "with a gradient that counts 1 and not 1 − β₁": moved / 0.1,
                        "with a square that counts 1 and not 1 − β₂": moved * np.sqrt(0.001)}}
