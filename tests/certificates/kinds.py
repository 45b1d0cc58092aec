"""The command line of every kind of certificate, and what `verify` must be told about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prunecert.api import verify
from prunecert.api.verification import Verdict

CERTIFY = "certify {shop}/W.safetensors --model mlp:64-16-10 --data small.npz"
LADDER = " ".join(f"{{shop}}/ladder/{rung}.safetensors" for rung in ("0.5000", "0.8000", "0.9500"))
SELECT = f"select {LADDER} --model mlp:64-16-10 --data small.npz"
DENSE = "{shop}/dense/model.safetensors"
POSTERIOR = (
    f"posterior {{shop}}/W.safetensors --prior {DENSE} --model mlp:64-16-10 --data small.npz "
    "--epochs 2"
)
DRAWN = "certify Q.safetensors --model mlp:64-16-10 --data small.npz --sample test"

KINDS = {
    "occam": CERTIFY,
    "occam-tried": f"{CERTIFY} --tried 3 --target-error 0.99 --delta 0.1",
    "holdout": f"{CERTIFY} --holdout",
    "holdout-tried": f"{CERTIFY} --holdout --tried 7 --delta 0.01",
    "top-k": f"{CERTIFY} --top-k 2",
    "per-class": f"{CERTIFY} --per-class",
    "disagreement": f"{CERTIFY} --disagreement {DENSE}",
    "cost-of-pruning": f"{CERTIFY} --max-drop {DENSE}",
    "brier": f"{CERTIFY} --loss brier",
    "confidence-tried": f"{CERTIFY} --loss confidence --tried 4 --delta 0.1",
    "combined": f"{CERTIFY} --combined --tried 2",
    "smaller": f"{CERTIFY} --smaller --second test[:50]",
    "to-dense": f"{CERTIFY} --to-dense {DENSE}",
    "from-dense": f"{CERTIFY} --from-dense {DENSE} --tried 2",
    "gibbs": f"{DRAWN} --gibbs {DENSE} --draws 20",
    "gibbs-tried": f"{DRAWN} --gibbs {DENSE} --draws 3 --tried 5",
    "single-draw": f"{DRAWN} --single-draw {DENSE}",
    "fixed-sequence": f"{SELECT} {{shop}}/random/0.5000.safetensors --target-error 0.3",
    "simultaneous": f"{SELECT} --target-error 0.3 --correction simultaneous",
    "drop": f"{SELECT} --dense {DENSE} --max-drop 0.3",
    "both": f"{SELECT} --target-error 0.3 --dense {DENSE} --max-drop 0.3",
    "predictions": "certify --predictions {shop}/P.npz",
    "predictions-drop": "certify --predictions {shop}/P.npz --max-drop {shop}/P-dense.npz",
    "predictions-select": "select {shop}/P-dense.npz {shop}/P.npz --target-error 0.1",
}
NETWORKS = [kind for kind in KINDS if not kind.startswith("predictions")]


def checked(folder: Path, kind: str, shelf: Path, shop: Path, data: Any = None) -> Verdict:
    """`verify` with the model and the data that this kind is about."""
    if kind.startswith("predictions"):
        files = [shop / "P.npz", shop / "P-dense.npz"]
        return verify(folder, data=data or [str(f) for f in files])
    return verify(folder, "mlp:64-16-10", data or str(shelf / "small.npz"))
