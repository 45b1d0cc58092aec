"""Plant each error in a copy of the sources and show the suite failing (`make mutants`).

A mutant is one wrong line of a kind that has been seen in the field's own code or that would make
a certificate false. It is killed when the tests named beside it fail. A mutant that survives, or
whose place in the code is gone, makes this script fail.

    python tests/mutants.py            all of them
    python tests/mutants.py tail       those whose name contains "tail"
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Mutant:
    """`old` stands exactly once in `file` (under src/prunecert) and becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    tests: str  # what must fail, relative to tests/


MUTANTS = (
    Mutant(
        "ln(1/delta) dropped",
        "inversions.py",
        "return math.log(delta) - bits * LN2",
        "return -bits * LN2",
        "bounds/test_occam.py",
    ),
    Mutant(
        "bits taken as nats",
        "inversions.py",
        "return math.log(delta) - bits * LN2",
        "return math.log(delta) - bits",
        "bounds/test_occam.py",
    ),
    Mutant(
        "rounding inward",
        "inversions.py",
        "return _round(x, digits, ROUND_CEILING)",
        "return _round(x, digits, ROUND_FLOOR)",
        "test_inversions.py",
    ),
    Mutant(
        "binomial tail: the unsafe end of the bracket",
        "inversions.py",
        "    return min(1.0, p * (1.0 + STEP))\n\n\n@elementwise\ndef binomial_tail_lower",
        "    return min(1.0, p * (1.0 - 1e-9))\n\n\n@elementwise\ndef binomial_tail_lower",
        "test_inversions.py test_twins_agree.py",
    ),
    Mutant(
        "binomial tail: everything wrong is bounded by 0",
        "inversions.py",
        "    if errors == n:\n        return 1.0\n    if errors == 0:",
        "    if errors == n:\n        return 0.0\n    if errors == 0:",
        "test_inversions.py bounds",
    ),
    Mutant(
        "per class: delta spent on every class in full",
        "bounds/holdout.py",
        "holdout_upper(errors_c, n_c, delta / wrong.size)",
        "holdout_upper(errors_c, n_c, delta)",
        "bounds coverage test_twins_agree.py",
    ),
    Mutant(
        "cost of pruning: one delta spent twice",
        "bounds/holdout.py",
        "half = log_failure(delta, 1.0)",
        "half = log_failure(delta, 0.0)",
        "bounds test_twins_agree.py",
    ),
    Mutant(
        "cost of pruning: gains bounded from above",
        "bounds/holdout.py",
        "- float(binomial_tail_lower(better, n, half))",
        "- float(binomial_tail_upper(better, n, half))",
        "bounds test_twins_agree.py",
    ),
    Mutant(
        "simultaneous: delta not divided",
        "bounds/selection.py",
        "holdout_upper(counts, sizes, delta / counts.size)",
        "holdout_upper(counts, sizes, delta)",
        "bounds coverage test_twins_agree.py",
    ),
    Mutant(
        "fixed sequence: goes on after a failure",
        "bounds/selection.py",
        "return int(np.append(passed, False).argmin())",
        "return int(np.sum(passed))",
        "bounds coverage test_twins_agree.py",
    ),
    Mutant(
        "a tie is not an error",
        "measuring.py",
        "return ~(self.margins > tolerance * self.scale)",
        "return ~(self.margins >= tolerance * self.scale)",
        "test_measuring.py",
    ),
    Mutant(
        "abstentions do not count as disagreement",
        "measuring.py",
        "differ = (a.prediction != b.prediction) | a.abstains(tolerance) | b.abstains(tolerance)",
        "differ = a.prediction != b.prediction",
        "test_measuring.py",
    ),
    Mutant(
        "samples won counted from above",
        "measuring.py",
        "better = ~pruned.wrong(tolerance) & dense.surely_wrong(tolerance)",
        "better = ~pruned.wrong(tolerance) & dense.wrong(tolerance)",
        "test_measuring.py",
    ),
    Mutant(
        "mask not charged",
        "coding/network_codes.py",
        "data = container.pack(stream.finish())\n    bits = container.code_bits(data)",
        "data = container.pack(stream.finish())\n"
        '    bits = container.code_bits(data) - round(network.costs["positions"])',
        "coding",
    ),
    Mutant(
        "trailing bytes accepted",
        "coding/network_codes.py",
        "    if end != len(data):\n"
        '        raise CodeError(f"{len(data) - end} bytes follow the end of the network")\n',
        "",
        "coding",
    ),
    Mutant(
        "length field missing from the price",
        "coding/container.py",
        "return 8 * (len(data) - len(MAGIC))",
        "return 8 * (len(data) - len(MAGIC) - 2)",
        "coding",
    ),
    Mutant(
        "constants folded through zero padding",
        "models/simplify.py",
        "bias = None if path.padded else path.bias",
        "bias = path.bias",
        "models/test_simplify.py",
    ),
    Mutant(
        "code selection not paid: log2 T bits",
        "api/claims.py",
        "bits = terms.code_bits + selection_bits",
        "bits = terms.code_bits",
        "api",
    ),
    Mutant(
        "hold-out selection not paid: delta / T",
        "api/claims.py",
        'bound = holdout_upper(counts["errors"], counts["n"], terms.delta / terms.tried)',
        'bound = holdout_upper(counts["errors"], counts["n"], terms.delta)',
        "api",
    ),
    Mutant(
        "several sequences at the full delta",
        "api/selection.py",
        'return delta / (len(sequences) if correction == "sequence" else len(rows))',
        "return delta",
        "api",
    ),
    Mutant(
        "pruning removes one weight more",
        "pruning/scopes.py",
        "return math.floor(sparsity * total + 0.5)",
        "return math.floor(sparsity * total + 0.5) + 1",
        "pruning",
    ),
    Mutant(
        "the walk of select goes on after a failure",
        "api/selection.py",
        'if correction == "sequence" and not accepted:',
        "if False:",
        "api",
    ),
    Mutant(
        "verify does not recount",
        "api/recounting.py",
        "            if not _covers(name, recorded[name], ours):",
        "            if False:",
        "certificates",
    ),
    Mutant(
        "verify does not ask the twins",
        "api/recounting.py",
        "        if value > recorded:",
        "        if False:",
        "api",
    ),
    Mutant(
        "seeded signs read at compact positions",
        "coding/tensor_codes.py",
        "seeded_signs(frame.needed_seed, frame.index, frame.size)[frame.positions[mask]]",
        "seeded_signs(frame.needed_seed, frame.index, frame.size)[np.flatnonzero(mask)]",
        "coding/test_seeded_values.py",
    ),
    Mutant(
        "seed of a supermask not charged",
        "coding/header.py",
        "        seed = uniform(stream, SEEDS, header.seed or 0)",
        "        seed = header.seed or 0",
        "coding/test_seeded_values.py coding/test_format_freeze_dialect_1.py",
    ),
    Mutant(
        "N of an N:M mask not charged",
        "coding/structured_masks.py",
        "    ones = uniform(stream, m - 1, found[1] - 1) + 1",
        "    ones = found[1]",
        "coding/test_structured_masks.py",
    ),
    Mutant(
        "subspace: one projection for all tensors",
        "coding/prng.py",
        'f"prunecert subspace {seed} {index} {block}"\n    return',
        'f"prunecert subspace {seed} 0 {block}"\n    return',
        "coding/test_subspace.py",
    ),
    Mutant(
        "subspace: allowance of signs for each tensor anew",
        "coding/subspace.py",
        "        self._signs_left -= dimensions * frame.size",
        "        self._signs_left = MAX_SIGNS - dimensions * frame.size",
        "coding/test_subspace.py",
    ),
    Mutant(
        "difference: initial values read at compact positions",
        "coding/difference.py",
        "initial_integers(frame.needed_seed, frame.index, frame.size)[places]",
        "initial_integers(frame.needed_seed, frame.index, frame.size)[: len(places)]",
        "coding/test_difference.py",
    ),
    Mutant(
        "masks drawn from the stream of the weights",
        "pruning/draws.py",
        'int.from_bytes(digest[:8], "little", signed=True)',
        "seed",
        "pruning/test_bernoulli.py",
    ),
    Mutant(
        "Gaussian norm: delta spent on every layer in full",
        "bounds/pruning_error.py",
        "2.0 * (math.log(rows.size) - math.log(delta))",
        "2.0 * -math.log(delta)",
        "test_step_twins_agree.py",
    ),
    Mutant(
        "Bernstein: variance over columns only",
        "bounds/pruning_error.py",
        "    v = max(float(variances.sum(0).max()), float(variances.sum(1).max()))",
        "    v = float(variances.sum(0).max())",
        "test_step_twins_agree.py",
    ),
    Mutant(
        "rounding left out of the theorem's form",
        "bounds/sketch_theorem.py",
        "output_change_terms(norms, removed + rounding, input_norm)",
        "output_change_terms(norms, removed, input_norm)",
        "test_twins_agree.py",
    ),
    Mutant(
        "redraws: the mask in use among them",
        "api/pruning_steps.py",
        "for draw in range(1, redraws + 1):",
        "for draw in range(redraws):",
        "api/test_pruning_steps.py",
    ),
    Mutant(
        "pattern: rows of one layer at the full delta",
        "bounds/pattern.py",
        "_exceeded_rarely(p, delta / 2.0)",
        "_exceeded_rarely(p, delta)",
        "test_step_twins_agree.py",
    ),
    Mutant(
        "exactness: biases forgotten",
        "models/exactness.py",
        "largest = (largest << (unit - finer)) + (int(biases.abs().max()) << (bias_unit - finer))",
        "largest = largest << (unit - finer)",
        "models/test_exactness.py",
    ),
    Mutant(
        "exactness: one bit more than float64 has",
        "models/exactness.py",
        "LIMIT = 2**53\n",
        "LIMIT = 2**54\n",
        "models/test_exactness.py",
    ),
    Mutant(
        "exactness: what is left of a sum, not what it passes through",
        "models/exactness.py",
        "rows = [sum(row) for row in integers.abs().tolist()]",
        "rows = [abs(sum(row)) for row in integers.tolist()]",
        "models/test_exactness.py",
    ),
    Mutant(
        "exactness: front ends read anything",
        "models/exactness.py",
        "if type(part) is not Bytes and not (values and values.bytes):",
        "if type(part) is not Bytes and values is None:",
        "models/test_exactness.py",
    ),
    Mutant(
        "exactness: averages at a ragged border",
        "models/exactness.py",
        "if part.padding not in (0, (0, 0)) or part.ceil_mode:",
        "if part.padding not in (0, (0, 0)):",
        "models/test_exactness.py",
    ),
    Mutant(
        "exactness: a claim is believed",
        "api/verification.py",
        "            if not is_exact(network, sample):\n",
        "            if False:\n",
        "validity/test_exact_objects.py",
    ),
    Mutant(
        "deskew: rows move the other way",
        "models/front_ends.py",
        "shift = slant[:, None] * (rows - centre[:, None])",
        "shift = slant[:, None] * (centre[:, None] - rows)",
        "models/test_front_ends.py",
    ),
    Mutant(
        "bytes cut off, not rounded",
        "models/front_ends.py",
        "(x.double() * 255 + 0.5).floor()",
        "(x.double() * 255).floor()",
        "models/test_front_ends.py",
    ),
    Mutant(
        "exactness: scale without the number of values",
        "models/exactness.py",
        "most = part.values << part.bits",
        "most = 1 << part.bits",
        "models/test_fixed_parts.py",
    ),
    Mutant(
        "exactness: slopes are no larger than values",
        "models/exactness.py",
        "Fixed(2 * values.largest, values.unit)",
        "Fixed(values.largest, values.unit)",
        "models/test_fixed_parts.py",
    ),
    Mutant(
        "slopes: from one picture into the next",
        "models/fixed_parts.py",
        "pictures = x.unflatten(2, (self.halves, -1))",
        "pictures = x.unflatten(2, (1, -1))",
        "models/test_fixed_parts.py",
    ),
    Mutant(
        "colours: the lower half not mirrored",
        "models/front_ends.py",
        "seen = (x, x.flip(3))[: self.views]",
        "seen = (x, x)[: self.views]",
        "models/test_colours.py",
    ),
    Mutant(
        "narrowing: one column for each channel",
        "models/narrowing.py",
        "places = (chosen[:, None] * s.repeat + torch.arange(s.repeat)).flatten()",
        "places = chosen",
        "models/test_narrowing.py",
    ),
    Mutant(
        "narrowing: sizes in the code not seen",
        "models/narrowing.py",
        " and not view.sizes_written",
        "",
        "models/test_narrowing.py",
    ),
    Mutant(
        "training for bits: levels not limited",
        "quantization_aware.py",
        "latent.round().clamp(-self.levels, self.levels)",
        "latent.round()",
        "test_quantization_aware.py",
    ),
    Mutant(
        "training for bits: bits taken as nats",
        "quantization_aware.py",
        "self.precisions.price * NONZERO_BITS * math.log(2) / self.n",
        "self.precisions.price * NONZERO_BITS / self.n",
        "test_quantization_aware.py",
    ),
    Mutant(
        "coordinate search: errors of the other rows forgotten",
        "coordinate_search.py",
        "errors = self.easy_errors + int(",
        "errors = int(",
        "test_coordinate_search.py",
    ),
    Mutant(
        "coordinate search: a move that is taken back stays",
        "coordinate_search.py",
        "            tensor[place] = value\n",
        "            pass\n",
        "test_coordinate_search.py",
    ),
    Mutant(
        "attempts: time spent does not count",
        "api/attempts.py",
        "if spent + other + epochs * epoch > until * budget:",
        "if other + epochs * epoch > until * budget:",
        "api/test_attempts.py",
    ),
    Mutant(
        "attempts: the first one again",
        "api/attempts.py",
        "here = [a for a in trained if",
        "here = [a for a in trained[1:] if",
        "api/test_attempts.py",
    ),
)


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if all(word in m.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        every = sorted({test for mutant in chosen for test in mutant.tests.split()})
        if run(copy, every) != 0:
            sys.exit("the suite fails with no error planted: nothing can be concluded")
        alive = [mutant.name for mutant in chosen if not killed(mutant, copy)]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} planted errors killed")
    for name in alive:
        print(f"alive: {name}")
    return 1 if alive else 0


def copied(folder: Path) -> Path:
    """The sources and the tests, to be damaged at will."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def killed(mutant: Mutant, copy: Path) -> bool:
    """Plant the error, run its tests, take it out again."""
    file = copy / "src" / "prunecert" / mutant.file
    text = file.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: {mutant.old!r} stands {text.count(mutant.old)} times in {file}")
    file.write_text(text.replace(mutant.old, mutant.new))
    try:
        code = run(copy, mutant.tests.split())
    finally:
        file.write_text(text)
    verdict = {0: "ALIVE", 1: "killed"}.get(code, f"pytest exit {code}")
    print(f"{verdict:8} {mutant.name}", flush=True)
    return code == 1


def run(copy: Path, tests: list[str]) -> int:
    """pytest's exit code on these tests of the copy; it stops at the first failure."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PRUNECERT_SLOW_PART", None)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow and not ui"]
    return subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=copy,
        env=environment,
        capture_output=True,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
