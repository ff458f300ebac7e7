"""Light beyond BT.709 is mapped to it: the curves PQ and HLG, the primaries BT.2020 and P3.

swscale can do this too, and computes a table for it that takes seconds of every file.
"""

import functools

import numpy as np

PQ, HLG = 16, 18
BT2020, P3 = 9, 12
_BT709 = 1
# x and y of red, green and blue (ITU-R BT.2020, BT.709, SMPTE EG 432); white is D65 in all three.
_CHROMATICITIES = {
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)
_BT2020_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
# What is white paper in high dynamic range (ITU-R BT.2408), and the light of HLG's full signal.
_WHITE_NITS, _HLG_NITS, _PQ_NITS = 203.0, 1000.0, 10_000.0
_HLG_SYSTEM_GAMMA = 1.2
_DISPLAY_GAMMA = 2.4  # ITU-R BT.1886
_LEVELS = 1 << 16


def to_bt709(signal: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """uint8[height, width, 3] of BT.709 from uint16[height, width, 3] RGB.

    White paper becomes white, and what shines brighter is cut to it.

    Args:
        signal: as coded; 65535 is full signal.
        transfer, primaries: numbers of ITU-T H.273.
    """
    light = _curve(transfer)[signal]
    if transfer == HLG:
        luminance = light @ _BT2020_LUMINANCE
        light = light * (luminance ** (_HLG_SYSTEM_GAMMA - 1))[..., None]
        light = light * np.float32(_HLG_NITS / _WHITE_NITS)
    mapped = np.clip(light @ _matrix(primaries).T, 0.0, 1.0)
    return np.rint(255.0 * mapped ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)


@functools.cache
def _curve(transfer: int) -> np.ndarray:
    """float32[65536]: light of each level; of HLG that of the scene, else 1 is white."""
    signal = np.linspace(0.0, 1.0, _LEVELS)
    if transfer == PQ:
        power = signal ** (1 / 78.84375)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        light = ratio ** (1 / 0.1593017578125) * (_PQ_NITS / _WHITE_NITS)
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    else:
        light = signal**_DISPLAY_GAMMA
    return light.astype(np.float32)


@functools.cache
def _matrix(primaries: int) -> np.ndarray:
    """float32[3, 3] from linear RGB of these primaries to that of BT.709."""
    source = _to_xyz(_CHROMATICITIES.get(primaries, _CHROMATICITIES[_BT709]))
    return (np.linalg.inv(_to_xyz(_CHROMATICITIES[_BT709])) @ source).astype(np.float32)


def _to_xyz(chromaticities: tuple[tuple[float, float], ...]) -> np.ndarray:
    """float64[3, 3] whose columns are the primaries, scaled so that they add up to white."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in (*chromaticities, _D65)]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
