"""A diagnosis as `results.json` has it: rows, effect sizes, figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prunecert.api.diagnosing import Diagnosis, LayerFindings
from prunecert.api.pruning_steps import ROUNDING_STEP
from prunecert.bounds.table import STEPS
from prunecert.certificate import rounded_up
from prunecert.diagnostics import RESTS_ON

DRAWN = 6  # layers in a figure; the tables have all
NORMS = (
    "removed-norm-latala",
    "removed-norm-gaussian",
    "removed-norm-bernstein",
    "removed-norm-cumulants",
    "removed-norm-redraws",
)
PATTERNS = ("pattern-as-in-paper", "pattern-gaussian", "pattern-poisson-binomial")
CHANGES = tuple(name for name in STEPS if name.startswith("output-change"))
WITH_DELTA = {*NORMS[1:], *PATTERNS[1:]}


def results(found: Diagnosis, command: str) -> dict[str, Any]:
    """`results.json`, from which the page is made; `command` made it."""
    bounds = [*_network_bounds(found), *(row for at in found.layers for row in _bounds(found, at))]
    return {
        "title": f"What pruning at d = {found.d:g} is predicted to do, and does",
        "summary": [*rests_on(), exceeded_sentence(found, bounds), change_sentence(found)],
        "networks": [_network_row(found)],
        "bounds": bounds,
        "diagnostics": [row for at in found.layers for row in _diagnostics(found, at)],
        "figures": _figures(found),
        "commands": [{"what": "everything on this page", "command": command}],
    }


def rests_on() -> list[str]:
    """One sentence per set of assumptions: the statements that would be off without them."""
    sets = dict.fromkeys(RESTS_ON.values())
    free = [name for name in (*NORMS, *PATTERNS) if name not in RESTS_ON]
    return [
        *(
            f"On weights that are {_listed(which)} rest: "
            f"{', '.join(name for name, on in RESTS_ON.items() if on == which)}."
            for which in sets
        ),
        f"On no assumption about the weights rest: {', '.join(free)}.",
    ]


def _listed(words: Sequence[str]) -> str:
    named = [{"zero mean": "of mean zero", "gaussian": "Gaussian"}.get(w, w) for w in words]
    return " and ".join(part for part in (", ".join(named[:-1]), named[-1]) if part)


def exceeded_sentence(found: Diagnosis, bounds: Sequence[Mapping[str, Any]]) -> str:
    """How many statements at delta this draw exceeds: chance alone gives a few."""
    counts = []
    for kind in ("certified", "conditional"):
        rows = [row for row in bounds if row["delta"] is not None and row["kind"] == kind]
        exceeded = sum("exceeded" in row["details"] for row in rows)
        counts.append(f"{exceeded} of {len(rows)} {kind}")
    return (
        f"This draw exceeds {' and '.join(counts)} statements; up to a share {found.delta:g} of "
        "all draws may exceed a statement that holds."
    )


def change_sentence(found: Diagnosis) -> str:
    """The change of the output beside its tightest bound, or why it is not known."""
    change = found.change
    if change is None:
        return f"Change of the output: not applicable: {found.no_change}."
    name, least = min(change.statements.items(), key=lambda item: item[1])
    return (
        f"On {found.sample} the output moves by at most {rounded_up(change.measured)} "
        f"(true logit: {rounded_up(change.true_class)}); the tightest bound says "
        f"{rounded_up(least)} ({name})."
    )


# --------------------------------------------------------------------------- tables


def _network_row(found: Diagnosis) -> dict[str, Any]:
    network = found.network
    parameters = {name for name, _ in network.architecture.module.named_parameters()}
    tensors = [tensor for name, tensor in network.tensors.items() if name in parameters]
    total = sum(tensor.numel() for tensor in tensors)
    nonzeros = sum(int((tensor != 0).sum()) for tensor in tensors)
    return {
        "name": network.name,
        "sparsity": round(1 - nonzeros / total, 6),
        "parameters": total,
        "nonzeros": nonzeros,
        "d": found.d,
        "seed": found.seed,
        "sha256": network.sha256,
    }


def _network_bounds(found: Diagnosis) -> Iterator[dict[str, Any]]:
    """The kept fraction and the change of the output; layers that do not vary, with the reason."""
    kept = STEPS["kept-fraction"].function(found.d)
    yield _row(found, "kept-fraction", None, kept, found.kept)
    for name in CHANGES:
        value = reason = None
        if found.change is None:
            reason = found.no_change
        else:
            value, reason = found.change.statements.get(name), found.change.reasons.get(name)
        measured = found.change.measured if found.change else None
        yield _row(found, name, None, value, measured, reason)
    if found.rounded is not None:
        for name, value in found.rounded.statements.items():
            row = _row(found, name, None, value, found.rounded.measured)
            yield row | {"details": row["details"] | {"also rounded to": ROUNDING_STEP}}
    for layer, reason in found.left_out.items():
        for name in (*NORMS, *PATTERNS):
            yield _row(found, name, layer, None, None, reason)


def _bounds(found: Diagnosis, at: LayerFindings) -> Iterator[dict[str, Any]]:
    """One row for each statement about one layer."""
    steps, far = at.steps, {verdict.property for verdict in at.far}
    kept, removed, most = steps.kept_fraction, steps.removed_norm, steps.most_kept
    said = {
        "kept-fraction": (kept["kept-fraction"], kept["measured"]),
        **{name: (removed.get(name), removed["measured"]) for name in NORMS},
        "removed-norm-measured": (removed["measured"], removed["measured"]),
        "rounding-norm": (steps.rounding["rounding-norm"], steps.rounding["measured"]),
        **{name: (most.get(name), most["measured"]) for name in PATTERNS},
        "sketch-rows": (steps.sketch_rows["pattern-gaussian"], steps.sketch_rows["measured"]),
    }
    for name, (value, measured) in said.items():
        row = _row(found, name, at.name, value, measured, steps.reasons.get(name))
        missing = [which for which in RESTS_ON.get(name, ()) if which in far]
        details: dict[str, Any] = {"not near here": ", ".join(missing)} if missing else {}
        if name in steps.most_in:
            details |= dict(zip(("in a row", "in a column"), steps.most_in[name]))
        if name == "rounding-norm":
            details |= {"step": ROUNDING_STEP}
        if name in WITH_DELTA and steps.exceeds(name):
            details |= {"exceeded": True}
        yield row | {"details": row["details"] | details}
    if at.name in found.alone:
        change = found.alone[at.name]
        for name, value in change.statements.items():
            row = _row(found, name, at.name, value, change.measured)
            yield row | {"details": row["details"] | {"pruned": "only this layer"}}


def _row(
    found: Diagnosis,
    name: str,
    layer: str | None,
    value: float | None,
    measured: float | None,
    reason: str | None = None,
) -> dict[str, Any]:
    """`value` None does not apply for `reason`; one beyond float64 neither."""
    spec = STEPS[name]
    if value is not None and not math.isfinite(value):
        value, reason = None, "its value is beyond float64"
    details: dict[str, Any] = {}
    if value is None:
        details = {"reason": reason}
    elif RESTS_ON.get(name):
        details = {"rests on": ", ".join(RESTS_ON[name])}
    return {
        "network": found.network.name,
        "layer": layer,
        "name": name,
        "kind": "not-applicable" if value is None else spec.kind,
        "value": value,
        "measured": measured,
        "unit": spec.unit,
        "sample": found.sample if name in CHANGES else None,
        "delta": found.delta if name in WITH_DELTA else None,
        "details": details,
    }


def _diagnostics(found: Diagnosis, at: LayerFindings) -> Iterator[dict[str, Any]]:
    """What each assumption is found to be, then every effect size."""
    entries, places = at.entries, at.places
    for verdict in at.verdicts:
        miss = verdict.term.miss if math.isfinite(verdict.term.miss) else None
        name = f"{verdict.property}: {'near' if verdict.near else 'not near'}"
        yield _measured(found, at, name, miss, f"measured over predicted. {verdict.sentence}")
    effects = {
        "mean in standard deviations": (entries.mean_in_deviations, "zero mean"),
        "Kolmogorov distance": (entries.kolmogorov, "gaussian"),
        "Kolmogorov p-value": (entries.p_value, f"on {entries.p_value_entries:,} entries"),
        "excess kurtosis": (entries.excess_kurtosis, "gaussian: 0"),
        "tail ratio beyond 3 sigma": (entries.tail_ratio, "gaussian: 1"),
        "spread of row energies": (places.rows.spread, "independent: 0"),
        "spread of column energies": (places.columns.spread, "independent: 0"),
        "largest singular value over the edge": (places.edge_ratio, "independent: 1"),
        "dead rows": (at.steps.dead_rows["measured"], "of the mask in use"),
        "dead rows, sorted": (at.steps.dead_rows["sorted"], "of sorted magnitude pruning"),
        "removed norm, sorted": (at.steps.removed_norm["sorted"], "of sorted magnitude pruning"),
        "most kept, sorted": (at.steps.most_kept["sorted"], "of sorted magnitude pruning"),
    }
    for name, (value, note) in effects.items():
        yield _measured(found, at, name, value, note)


def _measured(
    found: Diagnosis, at: LayerFindings, name: str, value: float | None, note: str
) -> dict[str, Any]:
    network = found.network.name
    return {"network": network, "layer": at.name, "name": name, "value": value, "note": note}


# --------------------------------------------------------------------------- figures


def _figures(found: Diagnosis) -> dict[str, Any]:
    """Of the layers furthest from Gaussian, in the order of the network."""
    furthest = sorted(found.layers, key=lambda at: -at.entries.kolmogorov)[:DRAWN]
    layers = [at for at in found.layers if at in furthest]  # the very objects: no equality
    if not layers:
        return {}
    drawn = {
        "entries": _entries_figure(layers),
        "removed-norm": _norms_figure(found, layers),
        "singular-values": _singular_values_figure(layers),
        "pattern": _pattern_figure(found, layers),
    }
    if len(layers) < len(found.layers):
        which = f"The {len(layers)} of {len(found.layers)} layers furthest from Gaussian."
        for figure in drawn.values():
            figure["note"] = f"{which} {figure['note']}"
    return drawn


def _entries_figure(layers: Sequence[LayerFindings]) -> dict[str, Any]:
    lines = {at.name: [list(axis) for axis in zip(*at.entries.quantiles)] for at in layers}
    longest = max((x for x, _ in lines.values()), key=len)
    return {
        "title": "Are the entries Gaussian? Quantiles of each layer",
        "x": {"label": "Gaussian quantile"},
        "y": {"label": "quantile of the weights, in standard deviations"},
        "series": [
            _series("Gaussian", longest, longest),
            *(_series(name, x, y) for name, (x, y) in lines.items()),
        ],
        "note": "Steeper than the Gaussian line at the ends: heavy tails.",
    }


def _norms_figure(found: Diagnosis, layers: Sequence[LayerFindings]) -> dict[str, Any]:
    names = [at.name for at in layers]
    shown = {name: STEPS[name].kind for name in NORMS} | dict.fromkeys(
        ("measured", "sorted"), "measured"
    )
    return {
        "title": f"Spectral norm of what pruning removes at d = {found.d:g}",
        "x": {"label": "layer"},
        "y": {"label": "spectral norm", "scale": "log", "risk": False},
        "series": [
            _series(who, names, [at.steps.removed_norm.get(who) for at in layers], kind, "points")
            for who, kind in shown.items()
        ],
        "note": f"Each statement at delta {found.delta:g}. Sorted: magnitude pruning that keeps as "
        "many weights.",
    }


def _singular_values_figure(layers: Sequence[LayerFindings]) -> dict[str, Any]:
    most = list(range(1, max(len(at.leading) for at in layers) + 1))
    return {
        "title": "Are the entries independent? Leading singular values of each layer",
        "x": {"label": "singular value, largest first"},
        "y": {"label": "over the Marchenko–Pastur edge"},
        "series": [
            _series("edge", most, [1.0] * len(most)),
            *(_series(at.name, most[: len(at.leading)], list(at.leading)) for at in layers),
        ],
        "note": "Independent entries have none beyond the edge: what is above it is a direction.",
    }


def _pattern_figure(found: Diagnosis, layers: Sequence[LayerFindings]) -> dict[str, Any]:
    """Shares of a line, so that rows and columns of every length stand on one axis."""
    lines = [(at, axis) for at in layers for axis in (1, 0)]  # along a row, along a column
    names = [f"{at.name}: {'rows' if axis else 'columns'}" for at, axis in lines]

    def most(who: str) -> Callable[[LayerFindings, int], float | None]:
        def share(at: LayerFindings, axis: int) -> float | None:
            both = at.steps.most_in.get(who)
            return None if both is None else both[1 - axis] / at.steps.shape[axis]

        return share

    chi = STEPS["kept-fraction"].function(found.d)
    shown: list[tuple[str, str, Callable[[LayerFindings, int], float | None]]] = [
        ("mean, Gaussian", "order-only", lambda at, axis: chi),
        ("mean, measured", "measured", lambda at, axis: float(at.kept.mean())),
        ("fewest, measured", "measured", lambda at, axis: float(at.kept.mean(axis).min())),
        ("most, measured", "measured", most("measured")),
        ("most, pattern-gaussian", "conditional", most("pattern-gaussian")),
        ("most, pattern-poisson-binomial", "certified", most("pattern-poisson-binomial")),
        ("most, sorted", "measured", most("sorted")),
    ]
    return {
        "title": f"Share of a row and of a column that stays at d = {found.d:g}",
        "x": {"label": "layer"},
        "y": {"label": "share of the row or column kept", "risk": False},
        "series": [
            _series(who, names, [share(at, axis) for at, axis in lines], kind, "points")
            for who, kind, share in shown
        ],
        "note": f"Each statement at delta {found.delta:g}, for the fullest row and column. Sorted: "
        "magnitude pruning that keeps as many weights.",
    }


def _series(
    name: str, x: list[Any], y: list[Any], kind: str = "measured", style: str = "line"
) -> dict[str, Any]:
    return {"name": name, "kind": kind, "style": style, "x": x, "y": y}
