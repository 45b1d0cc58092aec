"""Verify: nothing in a certificate folder is believed; everything that can be recomputed is.

Order (DESIGN): schema → hashes → decode → re-encode → weights → model and data → recount → twin →
every other number → statement. Any bytes end in a verdict: valid, or one sentence why not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from prunecert.api.certification import (
    COMPARED,
    HOLDOUT_METHODS,
    Options,
    counts_for,
    equal_to_trained,
    holdout_line,
    is_exact,
    outputs_of,
    sizes_of,
)
from prunecert.api.claims import UNTOUCHED, Claim, Terms, role_of
from prunecert.api.folders import LARGEST_EVIDENCE, LARGEST_TEXT, read
from prunecert.api.issuing import declared_of
from prunecert.api.networks import Architecture, Network, architecture
from prunecert.api.predicted import METHODS, predicted_outputs, require_labels, subject_of
from prunecert.api.records import AS_CODED, AS_EXACT, AS_GIVEN, Subject, data_field, make_record
from prunecert.api.recounting import (
    SELECTIONS,
    ask_twins,
    claim_again,
    refuse_better_than,
    require_selected,
    selection_again,
)
from prunecert.api.samples import compared_with, open_source, test_sample, training_sample
from prunecert.certificate import (
    CERTIFICATE,
    DENSE,
    EVIDENCE,
    NETWORK,
    SELECTION,
    WEIGHTS,
    Baselines,
    CertificateRecord,
    DataField,
    ModelField,
    dump,
    parse,
    sha256,
)
from prunecert.data import Sample, Source, predictions, take
from prunecert.measuring import TOLERANCE, Outputs
from prunecert.models.weights import safetensors_bytes
from prunecert.models.zoo import zoo_code
from prunecert.reference import TWINS
from prunecert.types import CodeError, InputError

OTHER_BATCH = 257  # verify counts at another batch size than certify
NOT_COMPARED = ("software",)  # versions may differ: what they compute may not
VALUE_BYTES, TENSOR_BYTES = 16, 1 << 16  # no network file needs more per value and per tensor


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
        what = "is a file" if place.is_file() else "no such folder"
        raise InputError(f"{folder}: {what}: expected a certificate folder")
    try:
        record = parse(read(place, CERTIFICATE, LARGEST_TEXT))
        refuse_errata(record)
        if record.network is None:
            _check_predictions(place, record, data)
        else:
            _Check(place, record, options).run(model, data)
    except CodeError as error:
        return Verdict(False, str(error))
    unchecked = [a.text for a in record.assumptions if a.status == "declared"]
    if record.baselines.holdout is not None:
        unchecked.append(f"for the hold-out line beside it: {UNTOUCHED.text}")
    return Verdict(True, record.statement, tuple(unchecked), record)


def refuse_errata(record: CertificateRecord) -> None:
    """CodeError for a certificate that a later found fault makes false."""
    for fault in json.loads(resources.files("prunecert").joinpath("errata.json").read_text()):
        issued_by = record.software.prunecert
        if record.method == fault["method"] and issued_by in fault["versions"]:
            raise CodeError(f"certificates of {record.method} by {issued_by}: {fault['reason']}")


# --------------------------------------------------------------------------- of a network


class _Check:
    """One certificate about a network under examination."""

    def __init__(self, folder: Path, record: CertificateRecord, options: Options) -> None:
        self.folder, self.record, self.options = folder, record, options
        if record.method not in ("occam", *HOLDOUT_METHODS, *SELECTIONS):
            raise CodeError(f"method: {record.method!r} is not a statement about a network")

    def run(self, model: Any, data: Any) -> None:
        assert self.record.network is not None
        described = self._architecture(model)
        network = self._decoded(described, NETWORK, self.record.network.sha256)
        code = self.code
        self._weights(network)
        evidence = read(self.folder, EVIDENCE, LARGEST_EVIDENCE)
        if sha256(evidence) != self.record.evidence_sha256:
            raise CodeError(f"{EVIDENCE}: sha256 differs from the recorded one")
        dense = self._dense(described)
        source = self._source(data)
        sample = self._sample(source)
        is_code = self.record.method == "occam"
        if exact := is_code and self.record.object == AS_EXACT:
            if not is_exact(network, sample):
                raise CodeError(f"object: a float64 evaluation of {NETWORK} may be rounded")
            network = replace(network, double=True)
        with _only_the_certificate_is_left():
            found = outputs_of(network, sample, self.options, self.record.details.get("k", 1))
            other = None if dense is None else outputs_of(dense, sample, self.options)
            strict = strict_counts(self.record.method, found, other)
            refuse_better_than(strict, self.record, network.sha256)
            terms, claim = claim_again(self.record, code.bits)
            require_selected(claim, network.sha256, round(network.sparsity, 6))
            ask_twins(claim, terms)
            details = self._details(network, dense, sample, source)
            baselines = self._baselines(network, sample, source)
        if is_code:
            details |= {"bits": dict(code.parts)}
        coded = AS_EXACT if exact else AS_CODED
        subject_text = coded if is_code else AS_GIVEN
        subject = Subject(
            model=self._model_field(described),
            data=_named_as(self.record, data_field(sample)),
            object=subject_text,
            network=described.describe_network(
                network.tensors, self._read(NETWORK), self._read(WEIGHTS)
            ),
            tolerance=TOLERANCE,
            assumptions=declared_of(described.declared, TOLERANCE, subject_text),
            details=details,
            evidence_sha256=self.record.evidence_sha256,
            baselines=baselines,
        )
        refuse_differences(self.folder, self.record, claim, terms, subject)

    # ------------------------------------------------------------------ bytes

    def _read(self, name: str) -> bytes:
        return read(self.folder, name, self.largest)

    def _decoded(self, described: Architecture, name: str, recorded: str) -> Network:
        """The network in a file whose hash is recorded, and whose encoding is the only one."""
        self.largest = TENSOR_BYTES + sum(
            VALUE_BYTES * math.prod(spec.shape) + TENSOR_BYTES for spec in described.specs
        )
        data = self._read(name)
        if sha256(data) != recorded:
            raise CodeError(f"{name}: sha256 differs from the recorded one")
        with self.options.stage(f"decoding {name}", 0):
            decoded = described.decode(data)
            again = described.encode(decoded.tensors, decoded.choices, decoded.seed)
        if again.data != data:
            raise CodeError(f"{name}: re-encoding what it decodes to gives other bytes")
        if any(not torch.isfinite(t.float()).all() for t in decoded.tensors.values()):
            raise CodeError(f"{name}: holds weights that are not finite")
        self.code = again.code
        return Network(described, decoded.tensors, name)

    def _weights(self, network: Network) -> None:
        found = self._read(WEIGHTS)
        assert self.record.network is not None
        if sha256(found) != self.record.network.safetensors_sha256:
            raise CodeError(f"{WEIGHTS}: sha256 differs from the recorded one")
        if found != safetensors_bytes(network.tensors):
            raise CodeError(f"{WEIGHTS}: differs from what {NETWORK} decodes to")

    def _dense(self, described: Architecture) -> Network | None:
        """The other network of a statement about two."""
        details = self.record.details
        if self.record.method not in COMPARED and "max_drop" not in details:
            return None
        if "dense" not in details:
            raise CodeError(f"details.dense: missing: {self.record.method} compares two networks")
        return self._decoded(described, DENSE, details["dense"]["sha256"])

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

    def _model_field(self, described: Architecture) -> ModelField:
        """A user's model may lie elsewhere by now; a built-in one has one name."""
        spec = self.record.model.spec if described.declared else described.spec
        return ModelField(spec=spec, sha256=described.sha256)

    def _source(self, data: Any) -> Source:
        if data is None and self.record.data.source != "digits":
            raise InputError(
                f"--data: the certificate names {self.record.data.source!r}, which is not built "
                "in: expected --data with the data it is about"
            )
        return open_source("digits" if data is None else data)

    def _sample(self, source: Source) -> Sample:
        recorded = self.record.data
        try:
            sample = take(source, recorded.sample, role_of(self.record.method))
            digest = sample.sha256
        except InputError as error:  # a source without such rows is other data
            raise CodeError(f"data: {error}") from error
        if digest != recorded.sha256:
            raise CodeError(f"data: {sample.name} is not the sample of the certificate (sha256)")
        return sample

    # ------------------------------------------------------------------ numbers

    def _details(
        self, network: Network, dense: Network | None, sample: Sample, source: Source
    ) -> dict[str, Any]:
        """The details that are measured, not claimed."""
        if self.record.method == "occam":
            return {"bytes": sizes_of(network, self._read(NETWORK))}
        equal = equal_to_trained(compared_with(source, sample), sample)
        details: dict[str, Any] = {"equal_rows": equal}
        if dense is not None:
            recorded = self.record.details["dense"]["sha256"]
            details["dense"] = {"sha256": recorded, "weights_sha256": dense.sha256}
        return details

    def _baselines(self, network: Network, sample: Sample, source: Source) -> Baselines:
        """The hold-out line: of the whole test sample, with the certificate's own delta."""
        line = self.record.baselines.holdout
        holdout = test_sample(source)
        if (
            line is None
            or holdout is None
            or (self.record.method, sample.split) != ("occam", "train")
        ):
            return Baselines()
        equal_to_trained(training_sample(source), holdout)
        errors = int(outputs_of(network, holdout, self.options).wrong(0.0).sum())
        twin = TWINS["holdout"](errors=line.errors, n=holdout.n, delta=self.record.delta)
        if errors > line.errors or twin > line.risk_bound:
            raise CodeError(f"baselines.holdout: {errors} errors, and a bound of {float(twin):.8f}")
        return Baselines(holdout=holdout_line(holdout, line.errors, self.record.delta))


# --------------------------------------------------------------------------- of predictions


def _check_predictions(folder: Path, record: CertificateRecord, data: Any) -> None:
    """A certificate about predictions made elsewhere: the file is read and counted again."""
    if record.method not in (*METHODS, *SELECTIONS):
        raise CodeError(f"method: {record.method!r} is not a statement about predictions")
    if data is None:
        raise InputError(
            f"--data: expected the predictions that the certificate is about ({record.data.source})"
        )
    files = data if isinstance(data, list | tuple) else [data]
    found = predictions(str(files[0]))
    if found.sha256 != record.data.sha256:
        raise CodeError("data: these are not the predictions of the certificate (sha256)")
    dense = None
    if record.method in COMPARED or "max_drop" in record.details:
        if len(files) < 2:
            raise InputError("--data: expected two files: the predictions, then the dense ones")
        dense = predictions(str(files[1]))
    other = None if dense is None else predicted_outputs(dense)
    with _only_the_certificate_is_left():
        require_labels(found, record.method, dense)
        strict = strict_counts(record.method, predicted_outputs(found), other)
        refuse_better_than(strict, record, found.sha256)
        terms, claim = claim_again(record, None)
        require_selected(claim, found.sha256, None)
        ask_twins(claim, terms)
    subject = subject_of(found, record.method, dense)
    subject = replace(subject, data=_named_as(record, subject.data))
    refuse_differences(folder, record, claim, terms, subject)


# --------------------------------------------------------------------------- of either


@contextmanager
def _only_the_certificate_is_left() -> Iterator[None]:
    """Model and data are the ones meant: what cannot be used now is the certificate's fault."""
    try:
        yield
    except InputError as error:
        raise CodeError(f"{CERTIFICATE}: {error}") from error


def strict_counts(method: str, found: Outputs, other: Outputs | None) -> dict[str, Any]:
    """What `method` counts, without any tolerance."""
    if method not in SELECTIONS:
        return counts_for(method, found, other, 0.0)
    counts = counts_for("holdout", found, None, 0.0)
    return counts if other is None else counts | counts_for("cost-of-pruning", found, other, 0.0)


def _named_as(record: CertificateRecord, field: DataField) -> DataField:
    """Data are known by their hash; their name is the one under which they were certified."""
    return field.model_copy(update={"source": record.data.source})


def refuse_differences(
    folder: Path, record: CertificateRecord, claim: Claim, terms: Terms, subject: Subject
) -> None:
    """Every field but versions must come out again, the statement last."""
    fresh, recorded = make_record(claim, terms, subject).model_dump(), record.model_dump()
    for name, value in fresh.items():
        if name not in NOT_COMPARED and value != recorded[name]:
            raise CodeError(f"{name}: recomputed as {_short(value)}, not {_short(recorded[name])}")
    if record.method in SELECTIONS:
        found, _ = selection_again(record)
        if read(folder, SELECTION, LARGEST_TEXT) != dump(found.summary):
            raise CodeError(f"{SELECTION}: differs from the certificate's own sequence")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
