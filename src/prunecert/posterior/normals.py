"""Standard normal numbers that a label alone decides, bit for bit the same on every machine.

They are made of SHAKE-128 output (FIPS 202, as in `coding.prng`), additions, multiplications,
divisions and square roots of float64 alone, which IEEE 754 rounds the same everywhere; the one
logarithm is summed here too, since libm's differ in the last digit. Inverse normal distribution
function: Wichura 1988, algorithm AS 241 (PPND16, Applied Statistics 37, 477–484), relative
accuracy about 1e-16.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BITS = 52  # of a uniform number: u = (integer + 1/2) / 2^BITS is exact, as is 1 − u
CENTRAL = 0.425  # |u − 1/2| up to which the first of AS 241's three ratios is used
FAR = 5.0  # √(−ln u) from which the last one is
SQRT_HALF = 0.7071067811865476
LN2 = 0.6931471805599453
LOG_TERMS = 11  # of the series of ln((1 + s)/(1 − s)): the rest is below 1e-17 at |s| <= 0.172

# Coefficients of numerators and denominators, highest power first.
CENTRE = (
    (
        2.5090809287301226727e3,
        3.3430575583588128105e4,
        6.7265770927008700853e4,
        4.5921953931549871457e4,
        1.3731693765509461125e4,
        1.9715909503065514427e3,
        1.3314166789178437745e2,
        3.3871328727963666080e0,
    ),
    (
        5.2264952788528545610e3,
        2.8729085735721942674e4,
        3.9307895800092710610e4,
        2.1213794301586595867e4,
        5.3941960214247511077e3,
        6.8718700749205790830e2,
        4.2313330701600911252e1,
        1.0,
    ),
)
TAIL = (
    (
        7.74545014278341407640e-4,
        2.27238449892691845833e-2,
        2.41780725177450611770e-1,
        1.27045825245236838258e0,
        3.64784832476320460504e0,
        5.76949722146069140550e0,
        4.63033784615654529590e0,
        1.42343711074968357734e0,
    ),
    (
        1.05075007164441684324e-9,
        5.47593808499534494600e-4,
        1.51986665636164571966e-2,
        1.48103976427480074590e-1,
        6.89767334985100004550e-1,
        1.67638483018380384940e0,
        2.05319162663775882187e0,
        1.0,
    ),
)
FAR_TAIL = (
    (
        2.01033439929228813265e-7,
        2.71155556874348757815e-5,
        1.24266094738807843860e-3,
        2.65321895265761230930e-2,
        2.96560571828504891230e-1,
        1.78482653991729133580e0,
        5.46378491116411436990e0,
        6.65790464350110377720e0,
    ),
    (
        2.04426310338993978564e-15,
        1.42151175831644588870e-7,
        1.84631831751005468180e-5,
        7.86869131145613259100e-4,
        1.48753612908506148525e-2,
        1.36929880922735805310e-1,
        5.99832206555887937690e-1,
        1.0,
    ),
)


def seeded_normals(label: str, count: int) -> Floats:
    """`count` independent standard normal numbers, shape (count,). Fewer are a prefix of more.

    Number i is the quantile of (v + 1/2)/2^52, v the upper 52 bits of bytes 8i … 8i + 7, little
    end first, of SHAKE-128(label in UTF-8): the largest possible are ±8.2.
    """
    raw = hashlib.shake_128(label.encode()).digest(8 * count)
    words = np.frombuffer(raw, "<u8") >> np.uint64(64 - BITS)
    return normal_quantile((words.astype(np.float64) + 0.5) * 2.0**-BITS)


def normal_quantile(u: Floats) -> Floats:
    """z with P[N(0,1) <= z] = u, for every u in [2^−53, 1 − 2^−53]; shape (n,)."""
    q = u - 0.5
    z = q * _ratio(CENTRE, 0.180625 - q * q)
    outside = np.flatnonzero(np.abs(q) > CENTRAL)
    below = q[outside] < 0
    r = np.sqrt(-_log(np.where(below, u[outside], 1.0 - u[outside])))
    size = _ratio(TAIL, r - 1.6)
    far = r > FAR
    size[far] = _ratio(FAR_TAIL, r[far] - FAR)
    z[outside] = np.where(below, -size, size)
    return z


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], r: Floats) -> Floats:
    top, bottom = (_polynomial(c, r) for c in coefficients)
    top /= bottom
    return top


def _polynomial(coefficients: tuple[float, ...], r: Floats) -> Floats:
    """Horner's rule, each operation rounded on its own (in place: no time for new memory)."""
    total = np.full_like(r, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= r
        total += coefficient
    return total


def _log(x: Floats) -> Floats:
    """ln x for normal numbers x > 0, from the series of ln((1 + s)/(1 − s)) in s²."""
    part, exponent = np.frexp(x)
    low = part < SQRT_HALF
    part = np.where(low, part * 2.0, part)
    exponent = exponent - low
    s = (part - 1.0) / (part + 1.0)
    odd = tuple(1.0 / (2 * k + 1) for k in reversed(range(LOG_TERMS)))
    return exponent * LN2 + 2.0 * s * _polynomial(odd, s * s)
