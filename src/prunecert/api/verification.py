"""Verify: nothing in a certificate folder is believed; everything that can be recomputed is.

Order (DESIGN): schema → hashes → decode → re-encode → weights → model and data → recount → twin →
every other number → statement. Any bytes end in a verdict: valid, or one sentence why not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from prunecert.api.certification import (
    COMPARED,
    Options,
    counts_for,
    equal_to_trained,
    outputs_of,
)
from prunecert.api.claims import CLAIMS, Claim, Terms, counts_of
from prunecert.api.issuing import declared_of
from prunecert.api.networks import Architecture, Network, architecture
from prunecert.api.predicted import predicted_outputs
from prunecert.api.records import AS_CODED, AS_GIVEN, PREDICTIONS, Subject, make_record
from prunecert.api.samples import open_source, training_sample
from prunecert.api.selection import Criterion, selection_claim
from prunecert.api.twins import twin_questions
from prunecert.bounds.holdout import holdout_upper
from prunecert.certificate import (
    CERTIFICATE,
    DENSE,
    EVIDENCE,
    NETWORK,
    SELECTION,
    WEIGHTS,
    Baselines,
    CertificateRecord,
    parse,
    sha256,
)
from prunecert.data import Sample, predictions, take
from prunecert.inversions import round_up
from prunecert.measuring import Outputs
from prunecert.models.weights import safetensors_bytes
from prunecert.models.zoo import zoo_code
from prunecert.reference import TWINS
from prunecert.types import CodeError, InputError

SELECTIONS = ("fixed-sequence", "simultaneous")
OTHER_BATCH = 257  # verify counts at another batch size than certify
NOT_COMPARED = ("software",)  # versions may differ: what they compute may not


@dataclass(frozen=True)
class Verdict:
    """`valid`, the sentence why (or why not), and what no file can show."""

    valid: bool
    sentence: str
    unchecked: tuple[str, ...] = ()
    record: CertificateRecord | None = None


def verify(
    folder: str | Path,
    model: str | torch.nn.Module | Architecture | None = None,
    data: Any = None,
    options: Options = Options(batch_size=OTHER_BATCH),
) -> Verdict:
    """Check a certificate folder against its bytes, its model and its data.

    `model` and `data` may be left out where the certificate names a built-in one. Raises
    InputError where the folder, the model or the data named by the caller cannot be used at all.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError(f"{folder}: no such folder: expected a certificate folder")
    try:
        record = parse(_read(place, CERTIFICATE))
        refuse_errata(record)
        _Check(place, record, options).run(model, data)
    except CodeError as error:
        return Verdict(False, str(error))
    unchecked = tuple(a.text for a in record.assumptions if a.status == "declared")
    return Verdict(True, record.statement, unchecked, record)


def refuse_errata(record: CertificateRecord) -> None:
    """CodeError for a certificate that a later found fault makes false."""
    for fault in json.loads(resources.files("prunecert").joinpath("errata.json").read_text()):
        issued_by = record.software.get("prunecert")
        if record.method == fault["method"] and issued_by in fault["versions"]:
            raise CodeError(f"certificates of {record.method} by {issued_by}: {fault['reason']}")


class _Check:
    """One certificate under examination."""

    def __init__(self, folder: Path, record: CertificateRecord, options: Options) -> None:
        self.folder, self.record, self.options = folder, record, options
        self.fields = record.model_dump(mode="json")

    def run(self, model: Any, data: Any) -> None:
        if self.record.network is None:
            self._predictions(data)
            return
        described = self._architecture(model)
        network = self._decoded(described, NETWORK, self.record.network.sha256)
        self._weights(network)
        self._hash(EVIDENCE, self.record.evidence_sha256)
        dense = self._dense(described)
        source = self._source(data)
        sample = self._sample(source)
        strict, details = self._recount(network, dense, sample, training_sample(source))
        self._at_most_recorded(strict)
        terms, claim = self._claim()
        self._twin(claim, terms)
        baselines = self._baselines(network, source)
        is_code = self.record.method == "occam"
        subject = Subject(
            model=self.record.model,
            data=self.record.data,
            object=AS_CODED if is_code else AS_GIVEN,
            network=described.describe_network(
                network.tensors, _read(self.folder, NETWORK), _read(self.folder, WEIGHTS)
            ),
            tolerance=self.record.margin_tolerance,
            assumptions=declared_of(described.declared, self.record.margin_tolerance),
            details=details,
            evidence_sha256=self.record.evidence_sha256,
            baselines=baselines,
        )
        self._regenerated(claim, terms, subject)

    # ------------------------------------------------------------------ bytes

    def _decoded(self, described: Architecture, name: str, recorded: str) -> Network:
        """The network in a file whose hash is recorded, and whose encoding is the only one."""
        data = _read(self.folder, name)
        if sha256(data) != recorded:
            raise CodeError(f"{name}: sha256 differs from the recorded one")
        with self.options.stage(f"decoding {name}", 0):
            decoded = described.decode(data)
            again = described.encode(decoded.tensors, decoded.choices)
        if again.data != data:
            raise CodeError(f"{name}: re-encoding what it decodes to gives other bytes")
        self.code = again.code
        return Network(described, decoded.tensors, name)

    def _weights(self, network: Network) -> None:
        found = _read(self.folder, WEIGHTS)
        assert self.record.network is not None
        if sha256(found) != self.record.network.safetensors_sha256:
            raise CodeError(f"{WEIGHTS}: sha256 differs from the recorded one")
        if found != safetensors_bytes(network.tensors):
            raise CodeError(f"{WEIGHTS}: differs from what {NETWORK} decodes to")
        if any(not torch.isfinite(t.float()).all() for t in network.tensors.values()):
            raise CodeError(f"{NETWORK}: holds weights that are not finite")

    def _dense(self, described: Architecture) -> Network | None:
        recorded = self.record.details.get("dense")
        if recorded is None:
            return None
        code = self.code
        dense = self._decoded(described, DENSE, str(recorded.get("sha256")))
        self.code = code
        return dense

    def _hash(self, name: str, recorded: str | None) -> None:
        if recorded is not None and sha256(_read(self.folder, name)) != recorded:
            raise CodeError(f"{name}: sha256 differs from the recorded one")

    # ------------------------------------------------------------------ model and data

    def _architecture(self, model: Any) -> Architecture:
        recorded = self.record.model
        if model is None:
            try:
                zoo_code(recorded.spec)
            except InputError:
                raise InputError(
                    f"--model: the certificate names {recorded.spec!r}, which is not built in: "
                    "expected --model with the architecture it is about"
                ) from None
            model = recorded.spec
        described = model if isinstance(model, Architecture) else architecture(model)
        if described.sha256 != recorded.sha256:
            raise CodeError(f"model: {described.spec} is not the model of the certificate (sha256)")
        return described

    def _source(self, data: Any) -> Any:
        if data is None and self.record.data.source != "digits":
            raise InputError(
                f"--data: the certificate names {self.record.data.source!r}, which is not built "
                "in: expected --data with the data it is about"
            )
        return open_source("digits" if data is None else data)

    def _sample(self, source: Any) -> Sample:
        recorded = self.record.data
        sample = _taken(source, recorded.sample, recorded.role)
        if sample.sha256 != recorded.sha256:
            raise CodeError(f"data: {sample.name} is not the sample of the certificate (sha256)")
        return sample

    # ------------------------------------------------------------------ numbers

    def _recount(
        self, network: Network, dense: Network | None, sample: Sample, trained: Sample | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Strict counts, and the details that can be measured again."""
        method = self.record.method
        if method in COMPARED and dense is None:
            raise CodeError(f"details.dense: missing: {method} compares two networks")
        found = outputs_of(network, sample, self.options, int(self.record.details.get("k", 1)))
        other = None if dense is None else outputs_of(dense, sample, self.options)
        if method == "occam":
            dense_bytes = sum(t.numel() * t.element_size() for t in network.tensors.values())
            size = {"dense": dense_bytes, "coded": len(_read(self.folder, NETWORK))}
            return counts_for(method, found, other, 0.0), {
                "bits": dict(self.code.parts),
                "bytes": size,
            }
        details: dict[str, Any] = {"equal_rows": equal_to_trained(trained, sample)}
        if dense is not None:
            recorded = self.record.details["dense"]
            details["dense"] = {"sha256": recorded["sha256"], "weights_sha256": dense.sha256}
        return self._strict(found, other), details

    def _strict(self, found: Outputs, other: Outputs | None) -> dict[str, Any]:
        if self.record.method not in SELECTIONS:
            return counts_for(self.record.method, found, other, 0.0)
        counts = counts_for("holdout", found, None, 0.0)
        return (
            counts if other is None else counts | counts_for("cost-of-pruning", found, other, 0.0)
        )

    def _at_most_recorded(self, strict: Mapping[str, Any]) -> None:
        """No more errors than recorded; for `better`, a gain, no fewer."""
        recorded = self._recorded_counts()
        for name, value in strict.items():
            pairs = (
                zip(value, recorded[name]) if isinstance(value, list) else [(value, recorded[name])]
            )
            for ours, theirs in pairs:
                equal_sizes = name in ("n", "class_sizes") and ours != theirs
                if (
                    equal_sizes
                    or (name == "better" and ours < theirs)
                    or (name not in ("n", "class_sizes", "better") and ours > theirs)
                ):
                    raise CodeError(f"recount: {name} is {ours}, the certificate says {theirs}")

    def _recorded_counts(self) -> dict[str, Any]:
        if self.record.method not in SELECTIONS:
            return counts_of(self.fields)
        rows = self.record.details.get("sequence", [])
        chosen = [r for r in rows if r.get("sha256") == self.record.details.get("selected")]
        if not chosen or self.record.network is None:
            raise CodeError("details.selected: is not in details.sequence")
        return {"n": self.record.n, **chosen[0]}

    def _claim(self) -> tuple[Terms, Claim]:
        """The claim again, from the recorded counts."""
        record, details = self.record, self.record.details
        bits = self.code.bits if record.method == "occam" else None
        terms = Terms(record.delta, bits, record.tried, record.target, int(details.get("k", 1)))
        try:
            if record.method not in SELECTIONS:
                return terms, CLAIMS[record.method](counts_of(self.fields), terms)
            criterion = Criterion(details.get("target_error"), details.get("max_drop"))
            correction = "sequence" if record.method == "fixed-sequence" else record.method
            claim = selection_claim(
                details["sequence"], record.n, criterion, record.delta, correction
            )
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise CodeError(f"{record.method}: its numbers cannot be used: {error}") from error
        if claim is None:
            raise CodeError("details.sequence: nothing is accepted at these errors")
        return terms, claim

    def _twin(self, claim: Claim, terms: Terms) -> None:
        """The slow, independent computation must not exceed the recorded bound."""
        for name, arguments, recorded in twin_questions(claim, terms):
            value = TWINS[name](**arguments)
            if value > recorded:
                raise CodeError(f"risk_bound: {recorded} is below {float(value):.8f}, the bound")

    def _baselines(self, network: Network, source: Any) -> Baselines:
        """The hold-out line, counted again where the source still has that sample."""
        line = self.record.baselines.holdout
        if line is None:
            return Baselines()
        sample = _taken(source, line.sample, "holdout")
        if sample.sha256 != line.sha256:
            raise CodeError(f"baselines.holdout: {line.sample} is another sample (sha256)")
        errors = int(outputs_of(network, sample, self.options).wrong(0.0).sum())
        bound = round_up(holdout_upper(line.errors, line.n, line.delta))
        if errors > line.errors or line.n != sample.n or bound != line.risk_bound:
            raise CodeError("baselines.holdout: does not follow from its errors")
        return self.record.baselines

    def _regenerated(self, claim: Claim, terms: Terms, subject: Subject) -> None:
        """Every field but versions must come out again, the statement last."""
        fresh = make_record(claim, terms, subject).model_dump(mode="json")
        for name, value in fresh.items():
            if name not in NOT_COMPARED and value != self.fields[name]:
                raise CodeError(
                    f"{name}: recomputed as {_short(value)}, not {_short(self.fields[name])}"
                )
        if (self.folder / SELECTION).exists() and self.record.method in SELECTIONS:
            self._selection_file()

    def _selection_file(self) -> None:
        try:
            rows = json.loads(_read(self.folder, SELECTION)).get("sequence")
        except (ValueError, AttributeError):
            raise CodeError(f"{SELECTION}: not a JSON object") from None
        if rows != self.fields["details"]["sequence"]:
            raise CodeError(f"{SELECTION}: its sequence differs from the certificate's")

    # ------------------------------------------------------------------ predictions

    def _predictions(self, data: Any) -> None:
        """A certificate about predictions made elsewhere: the file is read and counted again."""
        files = data if isinstance(data, list | tuple) else [data]
        if data is None:
            raise InputError(
                f"--data: expected the predictions that the certificate is about "
                f"({self.record.data.source})"
            )
        found = [predictions(str(f)) for f in files]
        if found[0].sha256 != self.record.data.sha256:
            raise CodeError("data: these are not the predictions of the certificate (sha256)")
        details: dict[str, Any] = {}
        other = None
        if "dense" in self.record.details:
            if len(found) < 2:
                raise InputError("--data: expected two files: the predictions, then the dense ones")
            details["dense"] = {"sha256": found[1].sha256}
            other = predicted_outputs(found[1])
        self._at_most_recorded(self._strict(predicted_outputs(found[0]), other))
        terms, claim = self._claim()
        self._twin(claim, terms)
        subject = Subject(self.record.model, self.record.data, PREDICTIONS, details=details)
        self._regenerated(claim, terms, subject)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise CodeError(f"{name}: cannot be read ({error.strerror})") from None


def _taken(source: Any, which: str, role: Any) -> Sample:
    """The recorded sample; a source that has no such rows is other data than the certificate's."""
    try:
        return take(source, which, role)
    except InputError as error:
        raise CodeError(f"data: {error}") from error


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
