"""The page of the experiment in Markdown: what agrees with the paper, what does not, what helps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from prunecert.api.issuing import Issued
from prunecert.api.pruning_steps import ROUNDING_STEP
from prunecert.bounds.sketching import capacity_term, kept_fraction
from prunecert.certificate import percent, rounded_up
from prunecert.paper.experiment import Paper, published_d
from prunecert.paper.over_training import PUBLISHED, THEOREM, TICKET, holdout_bound
from prunecert.types import CapacityMeasure, NotApplicable, Result

DIFFERENCES = (
    "The text bounds the norm of what pruning removes (Latała's Gamma); the code never evaluates "
    "that bound: all its curves use the measured norm.",
    "The code multiplies the propagated error by factors kappa that no theorem has, and does not "
    "check the condition of the propagation lemma.",
    "The code uses the propagated error itself as the margin; compression needs twice that.",
    "The text keeps diagonal entries, the code prunes all. Biases are neither pruned nor bounded.",
    "What the code calls the (1, 2) norm in Bartlett's bound is the Frobenius norm.",
    "The pattern figure shows rows of one layer only (the first of largest fan-in), the text both.",
    "On CIFAR-10 the code takes margins on augmented images, as largest input norm the largest "
    "over single pixels, and restarts the learning-rate schedule every epoch, so it never drops.",
)


def page(found: Paper, command: str, files: Sequence[tuple[str, str]]) -> str:
    """The whole page; `files` are (path, title) of its figures."""
    parts = [
        f"# The seed paper on {found.setting.name.upper()}, reproduced",
        "Guha, Dubey and Huo, *Generalization Bounds for Magnitude-Based Pruning via Sparse "
        "Matrix Sketching*, arXiv:2305.18789v2. Every number on this page was printed by\n\n"
        f"    {command}",
        _setting(found),
        "## In short\n\n" + _listed(summary(found)),
        "## Three forms of the bound, side by side\n\n" + _forms(found),
        "## Every bound of the trained network\n\n" + _bounds(found),
        "## Pruning error and pattern over d\n\n" + _over_d(found),
        "## The assumptions, layer by layer\n\n"
        + _listed(v.sentence for at in found.diagnosis.layers for v in at.verdicts),
        "## Pruning criteria compared\n\n" + _criteria(found),
        "## How many rows a sketch needs\n\n" + _recovery(found),
        "## Where our figures agree with the paper\n\n" + _listed(agreements(found)),
        "## Where the published code and text differ\n\n" + _listed(DIFFERENCES),
        "## Figures\n\n" + "\n\n".join(f"![{title}]({path})" for path, title in files),
    ]
    return "\n\n".join(parts) + "\n"


def summary(found: Paper) -> list[str]:
    """What a reader should take away; also what the command prints."""
    last, (name, best) = found.last, found.best
    published = last.as_coded[PUBLISHED]
    assert isinstance(published, CapacityMeasure)
    return [
        f"After {last.epoch} epochs the network errs on {last.train_error:.2%} of the training "
        f"sample and on {last.test_errors} of {found.data.test.n:,} test images.",
        f"The paper's bound, as published: {published.value:.4g} ({100 * published.value:.4g} %), "
        f"at d = {published.details['d']:.3g}: order-only{_vacuous(published.value)}.",
        f"A hold-out certifies the same network at "
        f"{percent(holdout_bound(last, found.data.test.n))} (delta 0.05).",
        f"Best certificate from training data alone: {percent(best.risk_bound)} "
        f"({name}: {best.record.errors:,} errors in {best.record.n:,}, "
        f"{best.record.code_bits:,} bits).",
        f"At d = {found.setting.diagnosed_d:g} the output moves by at most "
        f"{rounded_up(_change(found).measured)} on {found.diagnosis.sample}; the tightest bound on "
        f"that says {_tightest(_change(found))}; with the kept weights rounded to "
        f"{ROUNDING_STEP:.4g}, {rounded_up(_rounded(found).measured)} and "
        f"{_tightest(_rounded(found))}.",
        f"{len(_failing(found))} of {_properties(found)} checks of assumptions "
        "(layer by layer) are missed.",
    ]


def _change(found: Paper) -> Any:
    change = found.diagnosis.change
    assert change is not None  # the network is a chain
    return change


def _tightest(change: Any) -> str:
    return rounded_up(min(change.statements.values()))


def _vacuous(value: float) -> str:
    return " and vacuous" if value >= 1 else ""


def _rounded(found: Paper) -> Any:
    change = found.diagnosis.rounded
    assert change is not None
    return change


def _failing(found: Paper) -> list[Any]:
    return [v for at in found.diagnosis.layers for v in at.verdicts if not v.near]


def _properties(found: Paper) -> int:
    return sum(len(at.verdicts) for at in found.diagnosis.layers)


def _setting(found: Paper) -> str:
    chosen, data = found.setting, found.data
    quick = " It is a quick run: shorter training, coarser grids." if chosen.quick else ""
    return (
        f"Network `{chosen.model}` with biases and ReLU, plain SGD at rate "
        f"{chosen.learning_rate:g}, batches of {chosen.batch_size}, weight decay "
        f"{chosen.weight_decay:g}, {chosen.epochs[-1]} epochs, inputs in [−1, 1]; trained and "
        f"bounded on {data.train.n:,} images, {chosen.held_back:.0%} held back.{quick}"
    )


def _forms(found: Paper) -> str:
    last = found.last
    theorem = last.corrected[THEOREM]
    terms = theorem.details if isinstance(theorem, CapacityMeasure) else {}
    holds = "its condition holds" if terms.get("holds") else "its condition does not hold"
    left = f"probability left {terms.get('probability_left', 0.0):.2g}"
    d = f"d = {published_d(last):.3g}"
    rows = [
        ("as published in code, trained network", "order-only", _said(last.as_coded[PUBLISHED]), d),
        ("as in the theorem", "order-only", _said(theorem), f"{holds}, {left}"),
        _certified("explicit: that network pruned at that d", found.explicit),
        _certified(f"explicit, the smallest here: {found.best[0]}", found.best[1]),
        ("ticket, as in the extension", "order-only", _said(last.corrected[TICKET]), ""),
        _certified(
            f"ticket, explicit: a mask over seeded {found.setting.criteria_model}", found.ticket
        ),
    ]
    said = (
        "The explicit ones are about what a code of these bits decodes to; their hold-out is "
        f"another statement about the same network. Rungs are of {found.setting.criteria_model}."
        "\n\n"
    )
    rows = [(*row, "") if len(row) == 4 else row for row in rows]
    return said + _table(("form", "kind", "value", "from", "hold-out"), rows)


def _certified(form: str, issued: Issued) -> tuple[str, ...]:
    record, line = issued.record, issued.record.baselines.holdout
    assert line is not None
    counted = f"{record.errors:,} errors, {record.code_bits:,} bits"
    return form, "certified", percent(issued.risk_bound), counted, percent(line.risk_bound)


def _bounds(found: Paper) -> str:
    last = found.last
    rows = [
        (
            name,
            _said(last.as_coded[name]),
            _said(last.corrected[name]),
            _said(last.at_quantile.get(name)),
        )
        for name in last.as_coded
    ]
    reasons: dict[str, list[str]] = {}
    for name, result in last.corrected.items():
        if isinstance(result, NotApplicable):
            reasons.setdefault(result.reason, []).append(name)
    listed = _listed(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    said = (
        "All are order-only. A dash: it does not apply, as the list below says. At the 10 % "
        "margin the norm bounds divide by it, and the seed paper's form prunes up to it and pays "
        "for the margins below.\n\n"
    )
    table = _table(("bound", "as coded", "corrected", "at the 10 % margin"), rows)
    return said + table + "\n\n" + listed


def _said(result: Result | None) -> str:
    return f"{result.value:.4g}" if isinstance(result, CapacityMeasure) else "—"


def _over_d(found: Paper) -> str:
    points = found.over_d.points
    chosen = points[:: max(1, len(points) // 5)]
    layer = found.over_d.coded_layer
    rows = [
        (
            f"{p.d:.3g}",
            f"{kept_fraction(p.d):.3f}",
            f"{p.kept.min():.3f} – {p.kept.max():.3f}",
            rounded_up(p.change.true_class, 3),
            rounded_up(p.change.statements["output-change-at-input"], 3),
            rounded_up(p.change.statements["output-change-with-biases"], 3),
            f"{p.published:.3g}",
            f"{p.most[layer].max()}",
        )
        for p in chosen
    ]
    head = ("d", "chi", "kept", "moved", "at inputs", "with biases", "published", "most nonzeros")
    said = (
        f"Kept: the least and the most of all layers. Moved: largest change of the true logit on "
        f"{found.over_d.rows}. Then two proven bounds on it, at the inputs and with biases, "
        "and the paper's value as published (order-only). Most nonzeros: of a row or column of "
        f"{found.over_d.chain.names[layer]}.\n\n"
    )
    return said + _table(head, rows)


def _criteria(found: Paper) -> str:
    rows = [
        (
            p.criterion,
            f"{p.network.sparsity:.2%}",
            f"{p.issued.record.errors:,}",
            f"{p.issued.record.code_bits:,}",
            percent(p.issued.risk_bound),
            percent(p.holdout),
        )
        for p in found.pruned
    ]
    said = (
        f"Network `{found.setting.criteria_model}`, {found.setting.criteria_training} of training, "
        f"{found.setting.retraining} after each rung; delta 0.05 for each number.\n\n"
    )
    return said + _table(("criterion", "zeros", "errors", "bits", "code", "hold-out"), rows)


def _recovery(found: Paper) -> str:
    blocks = []
    for rows in found.recovery["tables"].values():
        if rows:
            head = tuple(rows[0])
            cells = [tuple(_cell(row[key]) for key in head) for row in rows]
            blocks.append(_table(tuple(key.replace("_", " ") for key in head), cells))
    return "\n\n".join(blocks)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return "none" if value is None else f"{value:,.4g}" if isinstance(value, float) else str(value)


def agreements(found: Paper) -> list[str]:
    """The paper's findings as THEORY 1.11 lists them, each against ours."""
    points, last = found.over_d.points, found.last
    misses = [float(np.abs(p.kept - kept_fraction(p.d)).max()) for p in points]
    worst = points[int(np.argmax(misses))]
    ratios = [
        p.change.statements["output-change-with-biases"] / p.change.true_class for p in points
    ]
    published = [p.published / p.change.true_class for p in points]
    shapes = [w.shape for w in found.over_d.chain.weights]
    ends = [
        capacity_term([o for o, _ in shapes], [i for _, i in shapes], d, found.data.train.n)
        for d in (10.0, 0.0)
    ]
    value = last.as_coded[PUBLISHED]
    assert isinstance(value, CapacityMeasure)
    return [
        f"Kept fractions lie within {100 * max(misses):.1f} points of chi (worst at d = "
        f"{worst.d:.2g}); the paper has a few points.",
        f"What is said of the change of the output exceeds the measured one by factors from "
        f"{min(ratios):.0f} to {max(ratios):.0f} (with biases), from {min(published):.0f} to "
        f"{max(published):.0f} (as published); the paper has two to three orders of magnitude.",
        f"The capacity term runs from {ends[0]:.1f} at d = 10 to {ends[1]:.1f} at d = 0; the "
        "paper's from about 12 to above 40.",
        f"The published bound is {value.value:.3g} where 1 is trivial; the paper calls its own "
        "bound vacuous.",
    ]


# --------------------------------------------------------------------------- Markdown


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
