"""Scrambled Sobol' points: they fill the unit cube more evenly than independent draws.

Source: Sobol', USSR Comput. Math. Math. Phys. 7 (1967); Gray-code order: Antonov and Saleev, USSR Comput. Math. Math.
Phys. 19 (1979); direction numbers: Joe and Kuo, SIAM J. Sci. Comput. 30 (2008), file new-joe-kuo-6.21201; scrambling:
Matousek, J. Complexity 14 (1998), a random linear map of the digits and a digital shift. The points are those of
``scipy.stats.qmc.Sobol``, to the last digit; importing that takes half a second, which most programs need not spend.

Notation:
    d    dimensions
    n    points
    v    (d, 30) direction numbers, whole numbers below 2^30; bit 29 is the first binary digit of a coordinate
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

MOST_DIMENSIONS = 21_201  # of the table of Joe and Kuo, which scipy has in full

_BITS = 30
_PLACES = np.arange(_BITS - 1, -1, -1, dtype=np.uint32)  # of the binary digits, the first digit first


def sobol(d: int, n: int, seed: int) -> NDArray[np.float64]:
    """Return the first *n* points, (n, d) in [0, 1), of the sequence that *seed* scrambles.

    What is asked for with a larger *n* begins with what is asked for with a smaller one; sets of 2^m points are the
    most even ones. *d* is at most `MOST_DIMENSIONS`, *n* at most 2^30.
    """
    assert 0 <= d <= MOST_DIMENSIONS and 0 <= n <= 2**_BITS, f"no Sobol' sequence of {n} points has {d} dimensions"
    if d == 0 or n == 0:
        return np.empty((n, d))
    n_bits = (n - 1).bit_length()  # the sequence is made up to a whole power of two
    if d > _OWN_DIMENSIONS:
        from scipy.stats import qmc

        engine = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed))
        points: NDArray[np.float64] = engine.random_base2(n_bits)
        return points[:n]
    rng = np.random.default_rng(seed).spawn(1)[0]  # as scipy does
    shift = rng.integers(2, size=(d, _BITS), dtype=np.uint32) @ (1 << np.arange(_BITS, dtype=np.uint32))
    v = _scrambled(_directions()[:d], rng)
    digits = np.empty((2**n_bits, d), dtype=np.uint32)
    digits[0] = shift
    for bit in range(n_bits):  # Gray-code order: each half is the mirror image of the other, moved by one number
        size = 2**bit
        digits[size : 2 * size] = digits[size - 1 :: -1] ^ v[:, bit]
    return digits[:n] * 2.0**-_BITS


def _scrambled(v: NDArray[np.uint32], rng: np.random.Generator) -> NDArray[np.uint32]:
    """Return *v* after a random lower triangular map of the digits, with ones on the diagonal, per dimension."""
    maps = np.tril(rng.integers(2, size=(len(v), _BITS, _BITS), dtype=np.uint32))
    maps[:, np.arange(_BITS), np.arange(_BITS)] = 1
    digits = (v[:, :, None] >> _PLACES) & 1
    mapped = (digits @ maps.transpose(0, 2, 1)) & 1
    scrambled: NDArray[np.uint32] = (mapped << _PLACES).sum(axis=-1, dtype=np.uint32)
    return scrambled


@lru_cache(maxsize=1)
def _directions() -> NDArray[np.uint32]:
    """Return the (100, 30) direction numbers of Joe and Kuo, equations 2 and 3."""
    rows = [[1] * _BITS]
    for entry in _JOE_KUO.split():
        polynomial, *m = map(int, entry.split("_"))
        degree = len(m)
        for j in range(degree, _BITS):
            new = m[j - degree] ^ (m[j - degree] << degree)
            for k in range(1, degree):
                if polynomial >> (degree - k) & 1:
                    new ^= m[j - k] << k
            m.append(new)
        rows.append(m)
    return np.array(rows, dtype=np.uint32) << _PLACES


# Per dimension from the second on: the primitive polynomial, its coefficients read as binary digits, and m_1, m_2, ...
_JOE_KUO = """
    3_1 7_1_3 11_1_3_1 13_1_1_1 19_1_1_3_3 25_1_3_5_13 37_1_1_5_5_17 41_1_1_5_5_5 47_1_1_7_11_19 55_1_1_5_1_1
    59_1_1_1_3_11 61_1_3_5_5_31 67_1_3_3_9_7_49 91_1_1_1_15_21_21 97_1_3_1_13_27_49 103_1_1_1_15_7_5 109_1_3_1_15_13_25
    115_1_1_5_5_19_61 131_1_3_7_11_23_15_103 137_1_3_7_13_13_15_69 143_1_1_3_13_7_35_63 145_1_3_5_9_1_25_53
    157_1_3_1_13_9_35_107 167_1_3_1_5_27_61_31 171_1_1_5_11_19_41_61 185_1_3_5_3_3_13_69 191_1_1_7_13_1_19_1
    193_1_3_7_5_13_19_59 203_1_1_3_9_25_29_41 211_1_3_5_13_23_1_55 213_1_3_7_3_13_59_17 229_1_3_1_3_5_53_69
    239_1_1_5_5_23_33_13 241_1_1_7_7_1_61_123 247_1_1_7_9_13_61_49 253_1_3_3_5_3_55_33 285_1_3_1_15_31_13_49_245
    299_1_3_5_15_31_59_63_97 301_1_3_1_11_11_11_77_249 333_1_3_1_11_27_43_71_9 351_1_1_7_15_21_11_81_45
    355_1_3_7_3_25_31_65_79 357_1_3_1_1_19_11_3_205 361_1_1_5_9_19_21_29_157 369_1_3_7_11_1_33_89_185
    391_1_3_3_3_15_9_79_71 397_1_3_7_11_15_39_119_27 425_1_1_3_1_11_31_97_225 451_1_1_1_3_23_43_57_177
    463_1_3_7_7_17_17_37_71 487_1_3_1_5_27_63_123_213 501_1_1_3_5_11_43_53_133 529_1_3_5_5_29_17_47_173_479
    539_1_3_3_11_3_1_109_9_69 545_1_1_1_5_17_39_23_5_343 557_1_3_1_5_25_15_31_103_499 563_1_1_1_11_11_17_63_105_183
    601_1_1_5_11_9_29_97_231_363 607_1_1_5_15_19_45_41_7_383 617_1_3_7_7_31_19_83_137_221 623_1_1_1_3_23_15_111_223_83
    631_1_1_5_13_31_15_55_25_161 637_1_1_3_13_25_47_39_87_257 647_1_1_1_11_21_53_125_249_293
    661_1_1_7_11_11_7_57_79_323 675_1_1_5_5_17_13_81_3_131 677_1_1_7_13_23_7_65_251_475 687_1_3_5_1_9_43_3_149_11
    695_1_1_3_13_31_13_13_255_487 701_1_3_3_1_5_63_89_91_127 719_1_1_3_3_1_19_123_127_237 721_1_1_5_7_23_31_37_243_289
    731_1_1_5_11_17_53_117_183_491 757_1_1_1_5_1_13_13_209_345 761_1_1_3_15_1_57_115_7_33 787_1_3_1_11_7_43_81_207_175
    789_1_3_1_1_15_27_63_255_49 799_1_3_5_3_27_61_105_171_305 803_1_1_5_3_1_3_57_249_149 817_1_1_3_5_5_57_15_13_159
    827_1_1_1_11_7_11_105_141_225 847_1_3_3_5_27_59_121_101_271 859_1_3_5_9_11_49_51_59_115
    865_1_1_7_1_23_45_125_71_419 875_1_1_3_5_23_5_105_109_75 877_1_1_7_15_7_11_67_121_453 883_1_3_7_3_9_13_31_27_449
    895_1_3_1_15_19_39_39_89_15 901_1_1_1_1_1_33_73_145_379 911_1_3_1_15_15_43_29_13_483 949_1_1_7_3_19_27_85_131_431
    953_1_3_3_3_5_35_23_195_349 967_1_3_3_7_9_27_39_59_297 971_1_1_3_9_11_17_13_241_157 973_1_3_7_15_25_57_33_189_213
    981_1_1_7_1_9_55_73_83_217 985_1_3_3_13_19_27_23_113_249 995_1_3_5_3_23_43_3_253_479 1001_1_1_5_5_11_5_45_117_217
"""
_OWN_DIMENSIONS = 100  # as many as the table has, and the first, which needs no entry
