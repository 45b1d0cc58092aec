"""One certificate about a network under examination: everything is decoded, counted and computed
again."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prunecert.api.certification import equal_to_trained, holdout_line, is_exact, sizes_of
from prunecert.api.claims import METHODS, method_of
from prunecert.api.claims.language import LANGUAGE_CLAIMS
from prunecert.api.comparing import named_as, only_the_certificate_is_left, refuse_differences
from prunecert.api.counting import Options, Question, count, outputs_of
from prunecert.api.folders import LARGEST_EVIDENCE, read
from prunecert.api.issuing import declared_of
from prunecert.api.language import asked_of, refuse_better_than_measured
from prunecert.api.networks import Architecture, Network, architecture
from prunecert.api.posteriors import (
    Variances,
    ask_the_twin,
    details_of,
    drawn,
    posterior_of,
    seed_text,
)
from prunecert.api.records import AS_EXACT, Subject, data_field, object_of
from prunecert.api.recounting import (
    SELECTIONS,
    ask_twins,
    claim_again,
    refuse_better_than,
    require_selected,
)
from prunecert.api.samples import compared_with, open_source, test_sample, training_sample
from prunecert.api.two_samples import described
from prunecert.certificate import (
    DENSE,
    EVIDENCE,
    NETWORK,
    POSTERIOR,
    PRIOR,
    WEIGHTS,
    Baselines,
    CertificateRecord,
    ModelField,
    sha256,
)
from prunecert.data import Sample, Source, refuse_shared, take
from prunecert.measuring import TOLERANCE
from prunecert.models.weights import safetensors_bytes
from prunecert.models.zoo import zoo_code
from prunecert.posterior import Posterior
from prunecert.reference import TWINS
from prunecert.types import CodeError, InputError, Role

VALUE_BYTES, TENSOR_BYTES = 16, 1 << 16  # no network file needs more per value and per tensor


class NetworkCheck:
    """One certificate about a network under examination."""

    def __init__(self, folder: Path, record: CertificateRecord, options: Options) -> None:
        self.folder, self.record, self.options = folder, record, options
        self.known = method_of(record.method)
        self.drawn_from: dict[str, Any] = {}  # details of the posterior, where there is one
        if record.method not in (*METHODS, *SELECTIONS):
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
        second = self._second(source, sample)
        posterior, seed = self._posterior(described, network, source, sample)
        if exact := self.record.object == AS_EXACT:
            self._require_exact(network, sample, second)
            network = replace(network, double=True)
        question = Question(
            self.record.method,
            network,
            sample,
            dense,
            second,
            self.record.details.get("k", 1),
            self.record.details.get("loss", ""),
            posterior,
            self.record.details.get("draws", 1),
            seed,
        )
        with only_the_certificate_is_left():
            if self.record.method in LANGUAGE_CLAIMS:
                recorded = {"n": self.record.n, **self.record.details}
                asked = asked_of(self.record)
                refuse_better_than_measured(recorded, network, sample, asked, self.options)
            else:
                strict = strict_counts(question, self.options)
                refuse_better_than(strict, self.record, network.sha256)
            terms, claim = claim_again(self.record, code.bits)
            require_selected(claim, network.sha256, round(network.sparsity, 6))
            ask_twins(claim, terms)
            if posterior is not None:
                ask_the_twin(question, claim.details)
            details = self._details(network, dense, sample, second, source)
            baselines = self._baselines(network, sample, source)
        if self.known.coded:
            details |= {"bits": dict(code.parts)}
        subject_text = object_of(self.record.method, exact)
        subject = Subject(
            model=self._model_field(described),
            data=named_as(self.record, data_field(sample)),
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
        if not self.known.compared and "max_drop" not in details:
            return None
        if "dense" not in details:
            raise CodeError(f"details.dense: missing: {self.record.method} compares two networks")
        return self._decoded(described, DENSE, details["dense"]["sha256"])

    def _posterior(
        self, described: Architecture, network: Network, source: Source, sample: Sample
    ) -> tuple[Posterior | None, str]:
        """The posterior that the folder holds, and what draws from it are seeded with."""
        if not self.known.drawn:
            return None, ""
        details, once = self.record.details, self.record.method == "single-draw"
        named = {"prior": PRIOR} | ({"posterior": POSTERIOR} if once else {})
        for name in (*named, "exponents", "prior_exponent"):
            if name not in details:
                raise CodeError(f"details.{name}: missing: {self.record.method} rests on it")
        found = {n: self._decoded(described, f, details[n]["sha256"]) for n, f in named.items()}
        mean, prior = found.get("posterior", network), found["prior"]
        variances = Variances(details["exponents"], details["prior_exponent"])
        files = {file: self._read(file) for file in named.values()}
        try:
            posterior = posterior_of(mean, prior, variances)
        except InputError as error:
            raise CodeError(f"details.exponents: {error}") from error
        self.drawn_from = details_of(
            mean, prior, variances, files, self._other("prior_sample", "prior", source, sample)
        )
        mean_code = files[POSTERIOR] if once else self._read(NETWORK)
        seed = seed_text(mean_code, files[PRIOR], variances)
        if once:
            expected = drawn(mean, posterior, seed)
            if any(not torch.equal(network.tensors[n], t) for n, t in expected.items()):
                raise CodeError(f"{NETWORK}: is not what its posterior draws")
        return posterior, seed

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
        return self._taken(source, recorded.sample, self.known.role, recorded.sha256)

    def _second(self, source: Source, sample: Sample) -> Sample | None:
        """The other sample of a statement that reads two."""
        if self.known.second is None:
            return None
        if "second" not in self.record.details:
            raise CodeError(f"details.second: missing: {self.record.method} reads two samples")
        return self._other("second", self.known.second, source, sample)

    def _other(self, name: str, role: Role, source: Source, sample: Sample) -> Sample | None:
        """The sample that this detail names, which shares no row with the first one."""
        recorded: Any = self.record.details.get(name)
        if recorded is None:
            return None
        other = self._taken(source, recorded["sample"], role, recorded["sha256"])
        try:
            if role == "prior":
                equal_to_trained(other, sample)
            elif role == "holdout":
                equal_to_trained(sample, other)
            else:
                refuse_shared(sample, other)
        except InputError as error:
            raise CodeError(f"details.{name}: {error}") from error
        return other

    def _taken(self, source: Source, name: str, role: Role, digest: str) -> Sample:
        try:
            sample = take(source, name, role)
            found = sample.sha256
        except InputError as error:  # a source without such rows is other data
            raise CodeError(f"data: {error}") from error
        if found != digest:
            raise CodeError(f"data: {sample.name} is not the sample of the certificate (sha256)")
        return sample

    def _require_exact(self, network: Network, sample: Sample, second: Sample | None) -> None:
        if not all(is_exact(network, one) for one in (sample, second) if one is not None):
            raise CodeError(f"object: a float64 evaluation of {NETWORK} may be rounded")

    # ------------------------------------------------------------------ numbers

    def _details(
        self,
        network: Network,
        dense: Network | None,
        sample: Sample,
        second: Sample | None,
        source: Source,
    ) -> dict[str, Any]:
        """The details that are measured, not claimed."""
        details: dict[str, Any] = {}
        if self.known.coded:
            details["bytes"] = sizes_of(network, self._read(NETWORK))
        held_out = [sample] if self.known.role != "bound" else []
        held_out += [second] if second is not None else []
        if held_out:
            equal = (equal_to_trained(compared_with(source, one), one) for one in held_out)
            details["equal_rows"] = sum(equal)
        if second is not None:
            details["second"] = described(second)
        if dense is not None:
            recorded = self.record.details["dense"]["sha256"]
            details["dense"] = {"sha256": recorded, "weights_sha256": dense.sha256}
        return details | self.drawn_from

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


def strict_counts(question: Question, options: Options) -> dict[str, Any]:
    """What `verify` counts, without any tolerance."""
    if question.method not in SELECTIONS:
        return count(question, options, 0.0)
    counts = count(replace(question, method="holdout", dense=None), options, 0.0)
    if question.dense is None:
        return counts
    return counts | count(replace(question, method="cost-of-pruning"), options, 0.0)
