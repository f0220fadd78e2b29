"""Simulate the heart's electric dipole beat by beat, and the twelve leads that it generates.

A beat is a table of waves, each Gaussian in time and with a direction in space: McSharry et al., "A
dynamical model for generating synthetic electrocardiogram signals", IEEE Trans Biomed Eng 2003,
extended to three dimensions by Sameni et al., "Multichannel ECG and noise modeling", EURASIP J Adv
Signal Process 2007. Coordinates are Frank's: x to the left, y to the feet, z to the back. The
sequence of vectors follows Surawicz and Knilans, "Chou's Electrocardiography in Clinical Practice";
the numbers are our choice.
"""

from dataclasses import dataclass

import numpy as np

# Dower matrix: potentials of a dipole (x, y, z) at the eight independent leads. Dower et al., "On
# deriving the electrocardiogram from vectorcardiographic leads", Clin Cardiol 1980. A test checks
# that its pseudo-inverse is the inverse Dower matrix of Edenbrandt and Pahlm, J Electrocardiol
# 1988.
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
LEAD_FIELD = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)

_FRONTAL = np.array([LEAD_FIELD[0], LEAD_FIELD[1] - LEAD_FIELD[0] / 2])  # leads I and aVF
_FRONTAL_INVERSE = np.linalg.inv(_FRONTAL[:, :2])

# Rows of a beat's table; a wave that does not occur in a beat has amplitude 0.
BEAT_WAVES = (
    "atrial spike",
    "right P",
    "left P",
    "ventricular spike",
    "first QRS",
    "main QRS",
    "late QRS",
    "last QRS",
    "T rise",
    "T fall",
    "ST",
)
N_COLUMNS = 5  # of a beat's table: centre (s), width (standard deviation, s), x, y, z (mV)

CONDUCTIONS = ("normal", "left", "right", "incomplete right", "nonspecific")
# Kinds of beat, by what activates the ventricles and what precedes it in the atria.
BEAT_KINDS = (
    "sinus",
    "premature atrial",
    "no P",  # fibrillation, flutter and junctional rhythms
    "premature ventricular",
    "atrial pacing",
    "ventricular pacing",  # after a P wave
    "ventricular pacing, no P",
    "dual pacing",
    "P alone",  # blocked, or before a QRS complex that stands for itself, as a beat with "no P"
)

# Atrial dipoles (x, y, z), chosen for their amplitudes in the leads: f waves of 1 mV in V1 and
# almost none in V3; f waves in the inferior leads only; F waves of 1 mV in II and -0.4 mV in V1.
_TO_V1, _TO_FEET, _FLUTTER = (-0.77, 0.0, -0.66), (0.1, 0.6, 0.1), (0.38, 0.89, 0.33)
_SAW_TOOTH_HEIGHT = 3.05  # peak to peak, of the first four terms of the Fourier series
# First QRS vector with an infarct: share of the QRS amplitude, frontal axis, backward part.
_INFARCTS = {
    "inferior": (0.45, -95.0, 0.0),
    "anterior": (0.15, 100.0, 0.55),
    "lateral": (0.5, 165.0, -0.1),
}
_SPIKE_S = 0.0005  # width of a pacing spike, standard deviation
_SPIKE_LEAD_S = 0.004  # from a spike to the wave that it starts
_REACH = 4.0  # standard deviations at which waves are truncated, at 4e-4 of their peak


@dataclass(frozen=True)
class Heart:
    """Parameters of a patient's beats.

    pr_s, qrs_s, qt_s: intervals, s.
    axis_deg, qrs_mv: frontal axis, clockwise from lead I, and amplitude of the main QRS vector.
    main_width: width of the main QRS vector, a standard deviation, relative to `qrs_s`.
    first_share, late_share, last_share: frontal amplitudes of the other QRS vectors, relative to
    the main one. first_turn_deg, late_turn_deg, last_turn_deg: their angles to it.
    septal_mv: forward part of the first QRS vector, which causes the R waves in V1 to V3.
    main_back_mv, back_mv: backward parts of the main and the late QRS vector, which reduce them.
    infarct: "", "inferior", "anterior" or "lateral": the wall that causes Q waves.
    conduction: one of CONDUCTIONS.
    fascicle_blocked: left anterior fascicular block; `axis_deg` must be chosen to match.
    t_mv, t_axis_deg, t_back_mv: frontal amplitude and axis, and backward part, of the T wave.
    st_mv, st_axis_deg, st_back_mv: the same of a deviation of the ST segment.
    p_s, p_mv, p_axis_deg: duration, frontal amplitude and axis of the P wave. p_forward_mv: forward
    part of the right atrium's wave; p_back_mv: backward part of the left atrium's.
    ectopic_axis_deg, ectopic_mv, ectopic_back_mv, ectopic_qrs_s: QRS of premature ventricular
    beats.
    spike_mv: amplitude of pacing spikes.
    respiration: share by which breathing changes the amplitude of beats.
    chest_gains: factors of V1 to V6, for the distance of the electrodes from the heart.
    chest_shift: positions by which the chest electrodes lie too far left (right if negative).
    """

    pr_s: float = 0.16
    qrs_s: float = 0.09
    qt_s: float = 0.40
    axis_deg: float = 50.0
    qrs_mv: float = 0.8
    main_width: float = 0.085
    first_share: float = 0.2
    late_share: float = 0.3
    last_share: float = 0.3
    first_turn_deg: float = 140.0
    late_turn_deg: float = 10.0
    last_turn_deg: float = -150.0
    septal_mv: float = 0.27
    main_back_mv: float = 0.04
    back_mv: float = 0.6
    infarct: str = ""
    conduction: str = "normal"
    fascicle_blocked: bool = False
    t_mv: float = 0.25
    t_axis_deg: float = 40.0
    t_back_mv: float = -0.15
    st_mv: float = 0.0
    st_axis_deg: float = 0.0
    st_back_mv: float = 0.0
    p_s: float = 0.105
    p_mv: float = 0.1
    p_axis_deg: float = 75.0
    p_forward_mv: float = 0.05
    p_back_mv: float = 0.025
    ectopic_axis_deg: float = 90.0
    ectopic_mv: float = 1.3
    ectopic_back_mv: float = 0.6
    ectopic_qrs_s: float = 0.15
    spike_mv: float = 2.0
    respiration: float = 0.04
    chest_gains: tuple[float, ...] = (1.0,) * 6
    chest_shift: float = 0.0

    def __post_init__(self):
        if self.conduction not in CONDUCTIONS:
            raise ValueError(
                f"conduction: expected one of {', '.join(CONDUCTIONS)}; found '{self.conduction}'"
            )
        if self.infarct not in ("", *_INFARCTS):
            raise ValueError(
                f"infarct: expected '' or one of {', '.join(_INFARCTS)}; found '{self.infarct}'"
            )


def vector(frontal_mv, axis_deg, back_mv) -> np.ndarray:
    """Return the dipole (3,), mV, with this frontal amplitude, frontal axis and backward part.

    Amplitude and axis are those measured in the leads: I is frontal_mv * cos(axis), and aVF, an
    augmented lead, is sqrt(3)/2 * frontal_mv * sin(axis).
    """
    angle = np.radians(axis_deg)
    leads = frontal_mv * np.array([np.cos(angle), np.sqrt(3) / 2 * np.sin(angle)])  # I, aVF
    return np.append(_FRONTAL_INVERSE @ (leads - _FRONTAL[:, 2] * back_mv), back_mv)


def lead_field(heart: Heart) -> np.ndarray:
    """Return the potentials (8, 3) of a dipole (x, y, z) at the INDEPENDENT_LEADS of a person.

    Those of LEAD_FIELD, with the chest electrodes moved between the standard positions, and nearer
    to the heart or farther from it.
    """
    field = LEAD_FIELD.copy()
    chest = LEAD_FIELD[2:]
    positions = np.arange(len(chest)) + np.clip(heart.chest_shift, -1, 1)
    for axis in range(3):
        field[2:, axis] = np.interp(positions, np.arange(len(chest)), chest[:, axis])
    field[2:] *= np.array(heart.chest_gains)[:, None]
    return field


def beat_table(heart: Heart, kind: str) -> np.ndarray:
    """Return the waves (n_waves, N_COLUMNS) of a beat; time 0 is the onset of the QRS complex.

    kind: one of BEAT_KINDS. Of a P wave alone, time 0 is its onset and `pr_s`.
    """
    table = np.zeros((len(BEAT_WAVES), N_COLUMNS))
    table[:, 1] = _SPIKE_S  # widths must not be 0
    if kind not in ("no P", "premature ventricular", "ventricular pacing, no P"):
        table[1:3] = _atria(heart, kind)
    if kind == "P alone":
        return table
    if kind in ("atrial pacing", "dual pacing"):
        table[0] = _spike(-heart.pr_s - _SPIKE_LEAD_S, heart.spike_mv)
    if "ventricular pacing" in kind or kind == "dual pacing":
        # From the apex of the right ventricle to the left, upwards and backwards.
        table[3] = _spike(-_SPIKE_LEAD_S, heart.spike_mv)
        table[4:8] = _spread(heart.ectopic_qrs_s, heart.qrs_mv, -70.0, 0.5)
        table[8:10] = _t_wave(heart.qt_s, heart.ectopic_qrs_s, 0.4 * heart.qrs_mv, 110.0, -0.25)
    elif kind == "premature ventricular":
        size, axis, back = heart.ectopic_mv, heart.ectopic_axis_deg, heart.ectopic_back_mv
        table[4:8] = _spread(heart.ectopic_qrs_s, size, axis, back)
        qt_s = heart.qt_s + 0.02
        table[8:10] = _t_wave(qt_s, heart.ectopic_qrs_s, 0.3 * size, axis + 180, -0.3 * back)
    else:
        table[4:8] = _ventricles(heart)
        table[8:10] = _t_wave(
            heart.qt_s, heart.qrs_s, heart.t_mv, heart.t_axis_deg, heart.t_back_mv
        )
        table[10] = _st_segment(heart)
    return table


def dipole(onsets, beats, fs, n_samples) -> np.ndarray:
    """Return the dipole (3, n_samples), mV, of a sequence of beats.

    onsets: (n_beats,), QRS onsets, s; beats may lie partly outside the recording. beats:
    (n_beats, n_waves, N_COLUMNS). fs: Hz.
    """
    total = np.zeros((3, n_samples))
    for wave in range(beats.shape[1]):
        present = np.abs(beats[:, wave, 2:]).sum(axis=1) > 0
        if not present.any():
            continue
        table = beats[present, wave]
        centres = (onsets[present] + table[:, 0])[:, None]
        # A wave narrower than the sampling interval is widened to it, with the same area.
        widths = np.maximum(table[:, 1], 0.5 / fs)[:, None]
        sizes = table[:, 2:] * (table[:, 1:2] / widths)
        half = int(np.ceil(_REACH * widths.max() * fs))
        samples = np.rint(centres * fs).astype(int) + np.arange(-half, half + 1)
        shapes = np.exp(-0.5 * ((samples / fs - centres) / widths) ** 2)
        inside = (samples >= 0) & (samples < n_samples)
        for axis in range(3):
            heights = (shapes * sizes[:, axis, None])[inside]
            total[axis] += np.bincount(samples[inside], heights, n_samples)
    return total


def twelve_leads(independent) -> np.ndarray:
    """Return all leads (12, n_samples) in standard order from the eight INDEPENDENT_LEADS.

    III is II - I (Einthoven); aVR, aVL and aVF are computed from I and II (Goldberger).
    """
    i, ii = independent[:2]
    augmented = -(i + ii) / 2, i - ii / 2, ii - i / 2
    return np.stack([i, ii, ii - i, *augmented, *independent[2:]])


def fibrillation(time, rate_hz, size_mv, rng) -> np.ndarray:
    """Return the dipole (3, n_samples), mV, of f waves (atrial fibrillation).

    time: (n_samples,), s. rate_hz: mean frequency, which wanders. size_mv: approximate amplitude in
    V1, where f waves are largest.
    """
    total = np.zeros((3, len(time)))
    for share, direction in ((1.0, _TO_V1), (0.6, _TO_FEET)):
        slow, phases = rng.uniform(0.1, 0.5, 2), rng.uniform(0, 2 * np.pi, 3)
        wander = 2.0 * np.sin(2 * np.pi * slow[0] * time + phases[0])
        swell = 1 + 0.4 * np.sin(2 * np.pi * slow[1] * time + phases[1])
        frequency = rate_hz * rng.uniform(0.9, 1.1)
        wave = np.sin(2 * np.pi * frequency * time + wander + phases[2])
        total += (share * size_mv) * np.array(direction)[:, None] * (swell * wave)
    return total


def flutter(time, rate_hz, phase, size_mv) -> np.ndarray:
    """Return the dipole (3, n_samples), mV, of F waves (typical, counter-clockwise atrial flutter).

    A saw-tooth that falls slowly and rises fast in the inferior leads, inverted in V1. time:
    (n_samples,), s. phase: share of a cycle. size_mv: peak to peak in lead II.
    """
    angle = 2 * np.pi * (rate_hz * time + phase)
    wave = sum(np.sin(k * angle) / k for k in range(1, 5)) / _SAW_TOOTH_HEIGHT
    return size_mv * np.array(_FLUTTER)[:, None] * wave


def _row(centre_s, width_s, frontal_mv, axis_deg, back_mv) -> np.ndarray:
    return np.concatenate([[centre_s, width_s], vector(frontal_mv, axis_deg, back_mv)])


def _spike(centre_s, size_mv) -> np.ndarray:
    return _row(centre_s, _SPIKE_S, size_mv, -100.0, 0.3 * size_mv)


def _atria(heart, kind) -> list[np.ndarray]:
    """Return the right and left atrial wave; a premature beat starts low in an atrium."""
    turn = -110.0 if kind == "premature atrial" else 0.0
    onset, length, size = -heart.pr_s, heart.p_s, heart.p_mv
    axis = heart.p_axis_deg + turn
    return [
        _row(onset + 0.35 * length, 0.17 * length, 0.9 * size, axis + 7, -heart.p_forward_mv),
        _row(onset + 0.65 * length, 0.17 * length, 0.8 * size, axis - 7, heart.p_back_mv),
    ]


def _ventricles(heart) -> list[np.ndarray]:
    """Return the four QRS waves of a conducted beat.

    Up to two standard deviations from their centres they cover nine tenths of `qrs_s`; their tails
    fill the rest.
    """
    length, axis, size, back = heart.qrs_s, heart.axis_deg, heart.qrs_mv, heart.back_mv
    narrow = heart.main_width
    if heart.conduction == "left":
        # No septal vector from the left: slow and notched, to the left and backwards throughout.
        return _spread(length, size, axis, 1.2 * back)
    # Activation of the septum, from the left.
    first = (heart.first_share, axis + heart.first_turn_deg, -heart.septal_mv)
    if heart.infarct:
        share, first_axis, first_back = _INFARCTS[heart.infarct]
        first = (share, first_axis, first_back * size)
    if heart.conduction in ("right", "incomplete right"):
        # The left ventricle as usual, then the right ventricle: to the right and forwards.
        late = 0.25 if heart.conduction == "right" else 0.16
        left_s = min(0.62 * length, 0.085)
        late_s = length - 0.8 * left_s
        return [
            _row(0.20 * left_s, 0.09 * left_s, first[0] * size, *first[1:]),
            _row(0.47 * left_s, 0.11 * left_s, size, axis, heart.main_back_mv),
            _row(0.68 * left_s, 0.11 * left_s, 0.3 * size, axis, 0.8 * back),
            _row(length - 0.5 * late_s, 0.22 * late_s, late * size, 175.0, -2.2 * late * size),
        ]
    if heart.conduction == "nonspecific":
        # The normal sequence, slower and notched.
        return [
            _row(0.16 * length, 0.08 * length, first[0] * size, *first[1:]),
            _row(0.36 * length, 0.09 * length, 0.8 * size, axis + 5, heart.main_back_mv),
            _row(0.60 * length, 0.11 * length, 0.8 * size, axis - 10, back),
            _row(0.82 * length, 0.08 * length, 0.25 * size, axis - 150, 0.2 * size),
        ]
    # A pathologic Q wave is wide.
    width, shift = (0.10, 0.08) if heart.infarct else (0.075, 0.0)
    return [
        _row(2.5 * width * length, width * length, first[0] * size, *first[1:]),
        _row((0.44 + shift) * length, narrow * length, size, axis, heart.main_back_mv),
        _row((0.60 + shift) * length, 0.095 * length, *_late_vector(heart)),
        _row(0.79 * length, 0.075 * length, *_last_vector(heart)),
    ]


def _late_vector(heart) -> tuple[float, float, float]:
    """Return the frontal amplitude, axis and backward part of the activation of the left wall."""
    return (
        heart.late_share * heart.qrs_mv,
        heart.axis_deg + heart.late_turn_deg,
        heart.back_mv,
    )


def _last_vector(heart) -> tuple[float, float, float]:
    """Return the frontal amplitude, axis and backward part of the activation of the bases."""
    size = heart.last_share * heart.qrs_mv
    return size, heart.axis_deg + heart.last_turn_deg, size


def _spread(length, size, axis, back) -> list[np.ndarray]:
    """Return the QRS waves of conduction from cell to cell: wide, notched, in one direction."""
    return [
        _row(0.20 * length, 0.10 * length, 0.3 * size, axis + 10, 0.3 * back),
        _row(0.40 * length, 0.11 * length, 0.8 * size, axis, 0.8 * back),
        _row(0.62 * length, 0.12 * length, 0.8 * size, axis, back),
        _row(0.80 * length, 0.10 * length, 0.3 * size, axis - 10, 0.5 * back),
    ]


def _t_wave(qt_s, qrs_s, size, axis, back) -> list[np.ndarray]:
    """Return the slow rise and the faster fall of a T wave, which ends at `qt_s`."""
    width = 0.11 * (qt_s - qrs_s)
    return [
        _row(qt_s - 4.0 * width, 1.8 * width, 0.55 * size, axis, 0.55 * back),
        _row(qt_s - 2.5 * width, width, 0.65 * size, axis, 0.65 * back),
    ]


def _st_segment(heart) -> np.ndarray:
    """Return a slow wave from the end of the QRS complex to the T wave's peak."""
    length = heart.qt_s - heart.qrs_s
    middle = heart.qrs_s + 0.3 * length
    return _row(middle, 0.15 * length, heart.st_mv, heart.st_axis_deg, heart.st_back_mv)
