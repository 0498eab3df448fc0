"""The negative binomial and its zero-inflated form: in 50 digits (paper, eq. 4-6, as printed), and by scipy."""

from __future__ import annotations

import mpmath
import numpy as np
from scipy import stats

_DIGITS = 50


def nb_log_prob(x: int, mu: mpmath.mpf, theta: mpmath.mpf) -> mpmath.mpf:
    """Log of Γ(x+θ) / (Γ(θ) x!) · (θ/(θ+µ))^θ · (µ/(θ+µ))^x."""
    gammas = mpmath.loggamma(x + theta) - mpmath.loggamma(theta) - mpmath.loggamma(x + 1)
    return gammas + theta * mpmath.log(theta / (theta + mu)) + x * mpmath.log(mu / (theta + mu))


def log_prob(x: int, log_mu: float, log_theta: float, zi_logit: float | None) -> float:
    """Log-probability at exactly the given numbers; ``zi_logit`` None = no zero inflation."""
    with mpmath.workdps(_DIGITS):
        nb = nb_log_prob(x, mpmath.exp(log_mu), mpmath.exp(log_theta))
        if zi_logit is None:
            return float(nb)
        dropped = 1 / (1 + mpmath.exp(-mpmath.mpf(zi_logit)))
        kept = 1 / (1 + mpmath.exp(mpmath.mpf(zi_logit)))
        return float(mpmath.log((dropped if x == 0 else 0) + kept * mpmath.exp(nb)))


def cell_nll(counts: np.ndarray, mu: np.ndarray, theta: np.ndarray, logits: np.ndarray | None) -> np.ndarray:
    """Minus the log-likelihood of each cell's counts, summed over genes, by scipy's negative binomial."""
    nb = stats.nbinom.logpmf(counts, theta, theta / (theta + mu))
    if logits is None:
        return -nb.sum(axis=1)
    kept = nb - np.logaddexp(0, logits)
    dropped = np.where(counts == 0, -np.logaddexp(0, -logits), -np.inf)
    return -np.logaddexp(dropped, kept).sum(axis=1)
