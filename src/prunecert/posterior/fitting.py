"""Training for a PAC-Bayes certificate: the bound itself is the objective.

Whatever happens here only decides which posterior is reached; what it costs is charged afterwards
(`kl_nats`). The network is evaluated with fresh Gaussian noise on its kept weights in every step
(reparameterised), the loss is the cross-entropy with probabilities clamped at P_MIN, scaled to
[0, 1], and the bound is the quadratic form of the PAC-Bayes-kl bound (both: Pérez-Ortiz,
Rivasplata, Shawe-Taylor, Szepesvári, "Tighter risk certificates for neural networks", JMLR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import log_softmax

from prunecert.models.loading import plain, tensor_specs
from prunecert.posterior.gaussian import MAX_EXPONENT, Posterior, choice_nats
from prunecert.training import Steps, train
from prunecert.types import InputError

P_MIN = 1e-5  # probabilities below it count as P_MIN: the loss stays bounded
FIRST_EXPONENT = 12  # variance 2^−12 to begin with
RATE = 10.0  # log variances move this many times as fast as weights
Granularity = Literal["tensor", "weight"]  # what has a variance of its own


class Randomized(nn.Module):
    """A copy of `module` that adds noise to its kept weights in every forward pass, and whose
    trained parameters are the means and the log variances.

    `prior` and `prunable` as in `Posterior`; zeros of prunable tensors stay zero. `n` is the size
    of the sample that the certificate will be about. Normalisations stay in eval mode: their
    statistics are not random, so they must stay as in the prior, and dropout is no part of Q.
    """

    def __init__(
        self,
        module: nn.Module,
        prior: Mapping[str, Tensor],
        prunable: tuple[str, ...],
        *,
        n: int,
        delta: float,
        variances: Granularity = "tensor",
        first_exponent: float = FIRST_EXPONENT,
    ) -> None:
        super().__init__()
        self.network = plain(module)
        self.n, self.delta, self.prunable = n, delta, prunable
        self.names = [k for k, p in self.network.named_parameters() if p.is_floating_point()]
        if missing := [name for name in self.names if name not in prior]:
            raise InputError(f"prior: no tensor '{missing[0]}'")
        self._rates = nn.ParameterList()  # log variances / RATE
        for index, name in enumerate(self.names):
            mean = self.network.get_parameter(name)
            kept = mean.detach() != 0 if name in prunable else torch.ones_like(mean).bool()
            self.register_buffer(f"kept_{index}", kept)
            self.register_buffer(f"prior_{index}", prior[name].detach().to(mean).clone())
            shape = mean.shape if variances == "weight" else ()
            start = torch.full(shape, -first_exponent * math.log(2) / RATE, device=mean.device)
            self._rates.append(nn.Parameter(start))
        self.fixed_nats = sum(choice_nats(self.posterior(prior)).values())  # whatever is trained

    def train(self, mode: bool = True) -> Randomized:
        """As any module, but the network inside stays in eval mode."""
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, *inputs: Any, **named: Any) -> Any:
        drawn = {
            name: kept * (mean + (log_variance / 2).exp() * torch.randn_like(mean))
            for name, mean, log_variance, kept, _ in self._random()
        }
        return functional_call(self.network, drawn, inputs, named)

    def gaussian_kl(self) -> Tensor:
        """The Gaussian part of KL(Q‖P) in nats at the best variance of P for this Q.

        With v = the mean over kept values of variance + (mean − prior)², it is
        ½[count · ln v − Σ ln variance]: least at a variance of v.
        """
        count = sum(int(kept.sum()) for *_, kept, _ in self._random())
        spread = torch.stack(
            [
                ((log_variance.exp() + (mean - prior).square()) * kept).sum()
                for _, mean, log_variance, kept, prior in self._random()
            ]
        ).sum()
        logs = torch.stack([(logv * kept).sum() for _, _, logv, kept, _ in self._random()]).sum()
        return (count * (spread / count).log() - logs) / 2

    def complexity(self) -> Tensor:
        """(KL + ln(2√n/delta))/n, the radius of the PAC-Bayes-kl bound."""
        fixed = self.fixed_nats + math.log(2 * math.sqrt(self.n) / self.delta)
        return (self.gaussian_kl() + fixed) / self.n

    def posterior(self, prior: Mapping[str, Tensor]) -> Posterior:
        """Q with its variances at the nearest power of two, and P with the variance that is best
        for it among the powers of two."""
        mean = self.network.state_dict()
        specs = [spec for spec in tensor_specs(self.network) if spec.alias_of is None]
        exponents: dict[str, int | Tensor] = {}
        for name, _, log_variance, _, _ in self._random():
            nearest = (-log_variance.detach().cpu() / math.log(2)).round().clamp(0, MAX_EXPONENT)
            exponents[name] = nearest.to(torch.uint8) if nearest.ndim else int(nearest)
        fixed = (
            {s.name: mean[s.name].detach().cpu().clone() for s in specs},
            {s.name: prior[s.name].detach().cpu() for s in specs},
            exponents,
        )
        free = Posterior(*fixed, 0, self.prunable)
        return Posterior(*fixed, best_prior_exponent(free), self.prunable)

    def _random(self) -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
        """Name, mean, log variance, kept and prior of every random tensor."""
        for index, name in enumerate(self.names):
            kept, prior = self.get_buffer(f"kept_{index}"), self.get_buffer(f"prior_{index}")
            yield (
                name,
                self.network.get_parameter(name),
                self._rates[index] * RATE,
                kept,
                prior,
            )


def best_prior_exponent(posterior: Posterior) -> int:
    """The exponent of P with the least KL for the means and variances of Q."""
    values = posterior.values
    spread = float((values.deviation**2 + (values.mean - values.prior) ** 2).sum())
    count = len(values.mean)

    def cost(exponent: int) -> float:
        return spread * 2.0**exponent - count * exponent * math.log(2)

    return min(range(MAX_EXPONENT + 1), key=cost)


def bounded_cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """−ln max(p, P_MIN) / ln(1/P_MIN), in [0, 1], mean over the rows."""
    own = log_softmax(outputs, dim=1).gather(1, labels[:, None])
    return -own.clamp(min=math.log(P_MIN)).mean() / -math.log(P_MIN)


def pac_bayes_objective(outputs: Tensor, labels: Tensor, module: nn.Module) -> Tensor:
    """What `train` minimises for a `Randomized` module: (√(L + c/2) + √(c/2))², which is at least
    kl⁻¹(L, c), for the bounded loss L and the radius c."""
    assert isinstance(module, Randomized)
    half = module.complexity() / 2
    return ((bounded_cross_entropy(outputs, labels) + half).sqrt() + half.sqrt()).square()


def fit_posterior(
    module: nn.Module,
    prior: Mapping[str, Tensor],
    prunable: tuple[str, ...],
    inputs: Any,
    labels: Tensor | None,
    *,
    n_bound: int,
    delta: float,
    steps: Steps | str,
    variances: Granularity = "tensor",
    first_exponent: float = FIRST_EXPONENT,
    batch_size: int = 128,
    learning_rate: float | None = None,
    seed: int = 0,
    on_step: Callable[[int, int, float], None] | None = None,
    device: str = "cpu",
) -> Posterior:
    """A posterior that starts at the weights of `module` and is trained on `inputs` and `labels`
    (as in `train`) for the smallest bound on a sample of `n_bound` rows.

    The rows trained on may hold those of the prior: Q may depend on anything. What may not is the
    count of errors in the bound, which is over the `n_bound` rows that the prior has not seen.
    `module` itself is left as it is.
    """
    random = Randomized(
        module,
        prior,
        prunable,
        n=n_bound,
        delta=delta,
        variances=variances,
        first_exponent=first_exponent,
    )
    train(
        random,
        inputs,
        labels,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer="adamw",
        seed=seed,
        objective=pac_bayes_objective,
        on_step=on_step,
        device=device,
    )
    return random.posterior(prior)
