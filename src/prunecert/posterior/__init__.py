"""PAC-Bayes posteriors on pruned networks: their cost, draws from them, errors, and training.

`Posterior` is Q and P together; `kl_nats` and `log_ratio_nats` say what Q costs, `draw` and
`draw_errors` make and judge networks, `fit_posterior` trains one.
"""

from prunecert.posterior.errors import draw_errors
from prunecert.posterior.fitting import (
    FIRST_EXPONENT,
    Randomized,
    best_prior_exponent,
    fit_posterior,
    pac_bayes_objective,
)
from prunecert.posterior.gaussian import (
    MAX_EXPONENT,
    Posterior,
    draw,
    draw_noise,
    kl_nats,
    kl_parts,
    log_ratio_nats,
    network_at,
)

__all__ = [
    "FIRST_EXPONENT",
    "MAX_EXPONENT",
    "Posterior",
    "Randomized",
    "best_prior_exponent",
    "draw",
    "draw_errors",
    "draw_noise",
    "fit_posterior",
    "kl_nats",
    "kl_parts",
    "log_ratio_nats",
    "network_at",
    "pac_bayes_objective",
]
