"""Commands that state something: certify, verify, select, plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from prunecert.cli.app import CERTIFY, NO, app
from prunecert.cli.options import (
    BatchSize,
    Delta,
    Device,
    Json,
    MaybeData,
    MaybeModel,
    Out,
    Quiet,
    SampleName,
    Seed,
    evaluation,
)
from prunecert.cli.terminal import Terminal
from prunecert.types import InputError

if TYPE_CHECKING:
    from prunecert.api import Issued

Predicted = Annotated[
    Optional[Path],
    typer.Option("--predictions", help="P.npz with predictions or logits, and labels."),
]
Tried = Annotated[
    int, typer.Option("--tried", min=1, help="Length of the list it could have been chosen from.")
]
Target = Annotated[
    Optional[float], typer.Option("--target-error", help="Exit 1 unless the bound is at most this.")
]


@app.command(rich_help_panel=CERTIFY)
def certify(
    out: Out,
    weights: Annotated[
        Optional[Path], typer.Argument(metavar="W", help="Weights: .safetensors or .pt")
    ] = None,
    model: MaybeModel = None,
    data: MaybeData = None,
    delta: Delta = 0.05,
    holdout: Annotated[
        bool, typer.Option("--holdout", help="From the test sample, of the weights as given.")
    ] = False,
    disagreement: Annotated[
        Optional[Path],
        typer.Option(
            "--disagreement",
            metavar="DENSE",
            help="How often W and DENSE differ; no labels needed.",
        ),
    ] = None,
    max_drop: Annotated[
        Optional[Path],
        typer.Option("--max-drop", metavar="DENSE", help="How much worse W is than DENSE."),
    ] = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Every class at once.")] = False,
    top_k: Annotated[
        Optional[int],
        typer.Option(
            "--top-k", min=2, metavar="K", help="Right class (or token) among the first K."
        ),
    ] = None,
    loss: Annotated[
        Optional[str],
        typer.Option("--loss", metavar="LOSS", help="Mean brier or confidence loss, in [0, 1]."),
    ] = None,
    combined: Annotated[
        bool, typer.Option("--combined", help="Training and test sample in one number.")
    ] = False,
    smaller: Annotated[
        bool, typer.Option("--smaller", help="The smaller of code and hold-out, delta/2 each.")
    ] = False,
    to_dense: Annotated[
        Optional[Path],
        typer.Option(
            "--to-dense", metavar="DENSE", help="Carry W's code certificate over to DENSE."
        ),
    ] = None,
    from_dense: Annotated[
        Optional[Path],
        typer.Option("--from-dense", metavar="DENSE", help="Carry DENSE's hold-out over to W."),
    ] = None,
    gibbs: Annotated[
        Optional[Path],
        typer.Option("--gibbs", metavar="PRIOR", help="PAC-Bayes, of the randomised network."),
    ] = None,
    single_draw: Annotated[
        Optional[Path],
        typer.Option("--single-draw", metavar="PRIOR", help="PAC-Bayes, of one network drawn."),
    ] = None,
    draws: Annotated[
        Optional[int],
        typer.Option(
            "--draws", min=1, help="Networks of --gibbs (1000); documents of --unit sampled."
        ),
    ] = None,
    unit: Annotated[
        Optional[str], typer.Option("--unit", help="Of a text: documents, sampled or tokens.")
    ] = None,
    seed: Seed = 0,
    predictions: Predicted = None,
    target_error: Target = None,
    tried: Tried = 1,
    sample: SampleName = None,
    second: Annotated[
        Optional[str],
        typer.Option("--second", metavar="SAMPLE", help="The other sample, where two are read."),
    ] = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Issue a certificate: of the network's own code, or one of the statements below."""
    from prunecert.certificate import CERTIFICATE, check_folder

    modes = {
        "holdout": holdout,
        "disagreement": disagreement,
        "cost-of-pruning": max_drop,
        "per-class": per_class,
        "top-k": top_k,
        "bounded-loss": loss,
        "train-and-holdout": combined,
        "code-or-holdout": smaller,
        "transfer-to-dense": to_dense,
        "transfer-to-pruned": from_dense,
        "pac-bayes-kl": gibbs,
        "single-draw": single_draw,
    }
    asked = [name for name, value in modes.items() if value is not None and value is not False]
    if len(asked) > 1:
        raise InputError(f"certify: one statement at a time, not {' and '.join(asked)}")
    if (weights is None) == (predictions is None):
        raise InputError("certify: expected weights W, or --predictions P.npz, and not both")
    if second and not (combined or smaller or to_dense or from_dense):
        expected = "--combined, --smaller, --to-dense or --from-dense"
        raise InputError(f"certify: --second goes with {expected}")
    if draws is not None and not (gibbs or unit == "sampled"):
        raise InputError("certify: --draws goes with --gibbs, or with --unit sampled")
    if unit is not None and (predictions or (asked and asked != ["top-k"])):
        raise InputError("certify: --unit goes with a text, alone or with --top-k")
    if predictions and (model or data or sample):
        raise InputError("certify: --predictions stands in for --model, --data and --sample")
    check_folder(out)
    terminal = Terminal(json=json, quiet=quiet)
    with terminal.progress() as stage:
        if predictions:
            issued = _of_predictions(predictions, asked, modes, delta, tried, target_error)
        else:
            assert weights is not None
            if model is None or data is None:
                raise InputError("certify: expected --model and --data beside the weights")
            how = evaluation(batch_size, device, stage)
            issued = _of_weights(
                weights,
                model,
                data,
                asked,
                modes,
                delta=delta,
                tried=tried,
                target=target_error,
                sample=sample,
                second=second,
                k=top_k or 1,
                loss=loss or "",
                draws=draws,
                unit=unit,
                seed=seed,
                options=how,
            )
        place = issued.write(out)
    terminal.document((place / CERTIFICATE).read_bytes())
    print_issued(terminal, issued, place)
    if target_error is not None and issued.risk_bound > target_error:
        terminal.line(
            f"--target-error {target_error:g} is not met: the bound is {issued.risk_bound:g}."
        )
        raise typer.Exit(NO)


def _of_weights(
    weights: Path, model: str, data: str, asked: list[str], modes: dict[str, Any], **terms: Any
) -> Issued:
    from prunecert.api import architecture, certify
    from prunecert.api.networks import open_network

    method = asked[0] if asked else "occam"
    built = architecture(model)
    other = modes[method] if isinstance(modes.get(method), Path) else None
    role = "prior" if method in ("pac-bayes-kl", "single-draw") else "dense"
    return certify(
        open_network(weights, built),
        data,
        method=method,
        **{role: None if other is None else open_network(other, built)},
        **terms,
    )


def _of_predictions(
    file: Path,
    asked: list[str],
    modes: dict[str, Any],
    delta: float,
    tried: int,
    target: float | None,
) -> Issued:
    from prunecert.api.predicted import certify_predictions
    from prunecert.data import predictions as read

    method = asked[0] if asked else "holdout"
    dense = modes[method] if isinstance(modes.get(method), Path) else None
    other = None if dense is None else read(dense)
    return certify_predictions(
        read(file), method, delta=delta, tried=tried, target=target, dense=other
    )


def print_issued(terminal: Terminal, issued: Issued, place: Path, *, given: bool = True) -> None:
    from prunecert.cli.wording import advice, holdout_line, ledger_line, size_rows, vacuous_line

    terminal.line(issued.statement)
    if issued.record.method == "occam":
        terminal.line(holdout_line(issued.record))
        terminal.pairs(size_rows(issued, given))
        for sentence in advice(issued.record):
            terminal.line(sentence)
    if nothing := vacuous_line(issued.record):
        terminal.line(nothing)
    if len(issued.record.delta_ledger) > 1:
        terminal.line(ledger_line(issued.record))
    for note in issued.notes:
        terminal.line(note)
    terminal.copyable(f"wrote {place}/  status: {issued.record.status}")


@app.command(rich_help_panel=CERTIFY)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A certificate folder.")],
    model: MaybeModel = None,
    data: Annotated[
        Optional[list[str]], typer.Option("--data", help="The data, or the predictions file.")
    ] = None,
    device: Device = "cpu",
    quiet: Quiet = False,
) -> None:
    """Check a certificate from its bytes: decode, recount, recompute, compare."""
    from prunecert.api import verify as check
    from prunecert.api.verification import OTHER_BATCH

    terminal = Terminal(quiet=quiet)
    given = None if not data else data[0] if len(data) == 1 else data
    with terminal.progress() as stage:
        verdict = check(folder, model, given, evaluation(OTHER_BATCH, device, stage))
    if not verdict.valid:
        terminal.line(f"not valid: {verdict.sentence}")
        raise typer.Exit(NO)
    terminal.line("valid")
    terminal.line(verdict.sentence)
    terminal.line("What verify cannot check:")
    for item in verdict.unchecked:
        terminal.line(f"- {item}")


@app.command(rich_help_panel=CERTIFY)
def select(
    networks: Annotated[
        list[Path], typer.Argument(metavar="W…", help="Weights files, or predictions (.npz).")
    ],
    out: Out,
    model: MaybeModel = None,
    data: MaybeData = None,
    target_error: Annotated[
        Optional[float], typer.Option("--target-error", help="Largest error on new data.")
    ] = None,
    delta: Delta = 0.05,
    dense: Annotated[
        Optional[Path], typer.Option("--dense", help="What --max-drop compares with.")
    ] = None,
    max_drop: Annotated[
        Optional[float], typer.Option("--max-drop", help="Largest increase of the error.")
    ] = None,
    correction: Annotated[
        str, typer.Option("--correction", help="sequence or simultaneous")
    ] = "sequence",
    sample: SampleName = None,
    batch_size: BatchSize = 1000,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the sparsest network that is certified good enough."""
    from prunecert.api import architecture
    from prunecert.api.networks import open_network
    from prunecert.certificate import CERTIFICATE, SELECTION, check_folder, dump, write_folder
    from prunecert.cli.wording import selection_rows

    check_folder(out)
    terminal = Terminal(json=json, quiet=quiet)
    limits: dict[str, Any] = {
        "target_error": target_error,
        "delta": delta,
        "max_drop": max_drop,
        "correction": correction,
    }
    with terminal.progress() as stage:
        if all(path.suffix == ".npz" for path in networks):
            if model or data or sample:
                raise InputError("select: predictions stand in for --model, --data and --sample")
            from prunecert.api.predicted import select_predictions

            found = select_predictions(networks, dense=dense, **limits)
        elif model is None or data is None:
            raise InputError("select: expected --model and --data beside the weights")
        else:
            from prunecert.api import select as choose

            built = architecture(model)
            found = choose(
                [open_network(path, built) for path in networks],
                data,
                dense=None if dense is None else open_network(dense, built),
                sample=sample,
                options=evaluation(batch_size, device, stage),
                **limits,
            )
    if found.issued is None:
        place = write_folder(out, {SELECTION: dump(found.summary)})
    else:
        place = found.issued.write(out)
    terminal.document((place / (CERTIFICATE if found.issued else SELECTION)).read_bytes())
    terminal.table(*selection_rows(found))
    terminal.line(found.sentence)
    terminal.copyable(f"wrote {place}/")
    if found.issued is None:
        raise typer.Exit(NO)


@app.command(rich_help_panel=CERTIFY)
def plan(
    target_error: Annotated[float, typer.Option("--target-error", help="What is to be certified.")],
    expected_error: Annotated[
        float, typer.Option("--expected-error", help="What you expect to see.")
    ],
    delta: Delta = 0.05,
    quiet: Quiet = False,
) -> None:
    """How many hold-out samples a target needs."""
    from prunecert.bounds.holdout import samples_needed

    needed = int(samples_needed(target_error, expected_error, delta))
    Terminal(quiet=quiet).line(
        f"{needed:,} hold-out samples: with at most {100 * expected_error:.10g} % of them wrong, "
        f"the certified error is at most {100 * target_error:.10g} % (delta {delta:g})."
    )
