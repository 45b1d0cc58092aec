"""Statements that pay for a network with the length of its code (THEORY 2.1).

Arguments may be numbers or arrays (broadcast). Bits are bits, ln 2 nats each.
"""

from __future__ import annotations

import math

from prunecert.inversions import (
    LN2,
    binomial_log_cdf,
    binomial_tail_upper,
    elementwise,
    kl_inverse_upper,
    log_failure,
    require_count,
    require_open_unit,
)


@elementwise
def occam_upper(errors: int, n: int, bits: float, delta: float) -> float:
    """Upper bound on the zero-one risk R(f) of any network f that a prefix-free code can write.

    **Statement.** For a prefix-free code fixed before S: with probability >= 1 − delta over
    S ~ Dⁿ, simultaneously for every codeword f of length |f| bits, R(f) <=
    B̄(errors of f on S, n, delta·2^−|f|), where B̄(k, n, delta) = max{p : P[Bin(n, p) <= k] >=
    delta}. How f was found (training on S, any number of attempts) costs nothing more.

    **Symbols → arguments.** errors: samples of S that f gets wrong, integer, 0 <= errors <= n ·
    n: size of S, >= 1 · bits: |f|, >= 0, everything the decoder reads that depended on S ·
    delta: total failure probability, 0 < delta < 1.

    **Shapes.** Numbers or arrays that broadcast.

    **Returns** a fraction in [0, 1], rounded up (by less than 2e-12 of itself). Computed in
    logarithms: bits = 1e9 neither underflows nor lies.

    **Certified.** Standing: i.i.d. draws. By construction: the code is prefix-free. Checked: the
    count and the length. Declared: the code was fixed before S.

    **Fails loudly.** InputError where an argument is out of its range.

    **Source.** Langford, JMLR 6 (2005), the Occam's razor bound; Blumer, Ehrenfeucht, Haussler
    and Warmuth 1987 (zero errors). THEORY 2.1. Deviation: a code length in place of a prior.

    **Example.** One sample without error and a code of one bit: 1 − delta/2.

    >>> round(occam_upper(0, 1, 1, 0.1), 11)
    0.95
    """
    return float(binomial_tail_upper(errors, n, log_failure(delta, bits)))


@elementwise
def occam_kl_upper(errors: int, n: int, bits: float, delta: float) -> float:
    """Upper bound on the zero-one risk R(f): `occam_upper` through Chernoff's inequality.

    **Statement.** As `occam_upper`, with R(f) <= kl⁻¹(errors/n, (|f| ln 2 + ln(1/delta))/n),
    kl⁻¹(q, c) = max{p : kl(q‖p) <= c}; there is no further 2√n term. Never below `occam_upper`.

    **Symbols → arguments, Shapes, Returns, Certified, Fails loudly.** As `occam_upper`.

    **Source.** Langford, JMLR 6 (2005); Chernoff 1952, doi:10.1214/aoms/1177729330. THEORY 2.1.

    **Example.** No error: 1 − (delta·2^−bits)^(1/n).

    >>> round(occam_kl_upper(0, 2, 1, 0.5), 11)
    0.5
    """
    require_count("errors", errors, n)
    return float(kl_inverse_upper(errors / n, -log_failure(delta, bits) / n))


def bits_allowed(target: float, errors: int, n: int, delta: float) -> int | None:
    """The longest code, in whole bits, with which `occam_upper` is still at most `target`.

    None where not even 0 bits would do; an exact tie counts as too long. Same ranges as
    `occam_upper`, 0 < target < 1. Used for "at these errors 50 % needs <= 26 kbit".

    >>> bits_allowed(0.94, 0, 1, 0.5), bits_allowed(0.4, 5, 10, 0.05)
    (3, None)
    """
    require_count("errors", errors, n)
    require_open_unit("target", target)
    log_delta = log_failure(delta)
    bits = math.floor((log_delta - binomial_log_cdf(errors, n, target)) / LN2)
    while bits >= 0 and occam_upper(errors, n, bits, delta) > target:
        bits -= 1  # at most one step: a tie within rounding
    return bits if bits >= 0 else None
