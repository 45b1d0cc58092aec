"""The seed paper's experiments, reproduced (arXiv 2305.18789, THEORY 1.11)."""

from __future__ import annotations

import shlex
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from prunecert.api import diagnosed
from prunecert.api.evidence import evidence_file
from prunecert.certificate import check_folder
from prunecert.files import write_bytes
from prunecert.paper.experiment import Paper, results, run_experiment
from prunecert.paper.page import page, summary
from prunecert.progress import Stage, quiet
from prunecert.report import write_report
from prunecert.report.files import write_figures
from prunecert.results import write_results

__all__ = ["Paper", "run_paper", "summary"]


def run_paper(
    name: str, data: str, out: Path, *, quick: bool, seed: int = 0, stage: Stage = quiet
) -> Paper:
    """Run the experiment `name` (mnist, cifar10) into `out`: networks, figures, data and pages.

    Writes results.json, report.html, paper.md, figures/ (SVG, PNG, CSV), evidence.npz of the last
    network (its inputs in [−1, 1]) and certificate/, the best one from training data alone.
    """
    check_folder(out / "certificate")
    torch.set_num_threads(1)  # several threads are far slower where a core is not free
    with threadpool_limits(1):
        found = run_experiment(name, data, out, quick=quick, seed=seed, stage=stage)
    words = ["prunecert", "paper", name, *(["--quick"] if quick else []), "--data", data]
    command = shlex.join([*words, "--out", str(out), *(["--seed", str(seed)] if seed else [])])
    numbers = results(found, diagnosed.results(found.diagnosis, command), command)
    numbers["summary"] = summary(found)
    write_results(out / "results.json", numbers)
    write_report([out], out / "report.html")
    drawn = write_figures(out, out / "figures")
    files = [(f"figures/{file.name}", title) for file, title in drawn]
    write_bytes(out / "paper.md", page(found, command, files).encode())
    last = found.last
    write_bytes(out / "evidence.npz", evidence_file(last.network, found.data.train, last.evidence))
    found.best[1].write(out / "certificate")
    return found
