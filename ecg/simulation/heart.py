"""A simulated heart: its electric dipole beat by beat, and the twelve leads that the dipole causes.

A beat is a table of waves, each of Gaussian shape in time and with a direction in space: McSharry
et al., "A dynamical model for generating synthetic electrocardiogram signals", IEEE Trans Biomed
Eng 2003, carried over to three dimensions by Sameni et al., "Multichannel ECG and noise modeling",
EURASIP J Adv Signal Process 2007. Space is Frank's: x to the left, y to the feet, z to the back.
The sequences of vectors are textbook ones (Surawicz and Knilans, "Chou's Electrocardiography in
Clinical Practice"); the numbers are ours.
"""

from dataclasses import dataclass

import numpy as np

# Potentials at the eight independent leads of a dipole (x, y, z): Dower et al., "On deriving the
# electrocardiogram from vectorcardiographic leads", Clin Cardiol 1980. Its pseudo-inverse is the
# inverse Dower matrix of Edenbrandt and Pahlm, J Electrocardiol 1988; a test holds them together.
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

# The rows of a beat's table; a wave that a beat lacks has no size.
WAVES = (
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
)
N_COLUMNS = 5  # of a beat's table: centre and width (standard deviation) in s, x, y, z in mV

CONDUCTIONS = ("normal", "left", "right", "incomplete right", "nonspecific")
# Which beats there are: by what starts the ventricles, and what the atria do before.
BEAT_KINDS = (
    "sinus",
    "premature atrial",
    "no P",  # fibrillation, flutter and junctional rhythms
    "premature ventricular",
    "atrial pacing",
    "ventricular pacing",  # behind a P wave of its own
    "ventricular pacing, no P",
    "dual pacing",
)

# Dipoles (x, y, z) of the atria, chosen for what the lead field makes of them: f-waves of 1 mV in
# V1 and next to none in V3; in the inferior leads alone; F-waves of 1 mV in II, -0.4 in V1.
_TO_V1, _TO_FEET, _FLUTTER = (-0.77, 0.0, -0.66), (0.1, 0.6, 0.1), (0.38, 0.89, 0.33)
_SAW_TOOTH_HEIGHT = 3.05  # of the first four terms of its series
# First QRS vector over a silent wall: share of the QRS size, frontal axis, backward part.
_INFARCTS = {
    "inferior": (0.45, -95.0, 0.0),
    "anterior": (0.15, 100.0, 0.55),
    "lateral": (0.5, 165.0, -0.1),
}
_P_S = 0.105  # length of the P wave
_SPIKE_S = 0.0005  # width of a pacing spike, standard deviation
_SPIKE_LEAD_S = 0.004  # from the spike to what it starts
_REACH = 4.0  # standard deviations over which a wave is drawn: below 4e-4 of its peak beyond


@dataclass(frozen=True)
class Heart:
    """What shapes one person's beats.

    pr_s, qrs_s, qt_s: intervals, s, from the onset of the P wave or the QRS complex. axis_deg: of
    the main QRS vector in the frontal plane, from lead I clockwise; qrs_mv: its size there.
    septal_mv, main_back_mv, back_mv: how far a conducted QRS points forwards at first, then
    backwards in its main and in its late part: the R waves of V1-V3, and what takes them away.
    infarct: the wall whose silence leaves a Q wave, "", "inferior", "anterior" or "lateral".
    conduction: of CONDUCTIONS. fascicle_blocked: the left anterior one, which `axis_deg` has to go
    with. t_mv, t_axis_deg, t_back_mv: T wave, frontal size and axis, backward part. p_mv: frontal
    size of the P wave. ectopic_*: the vector and length of premature ventricular beats. spike_mv:
    size of pacing spikes.
    """

    pr_s: float = 0.16
    qrs_s: float = 0.09
    qt_s: float = 0.40
    axis_deg: float = 50.0
    qrs_mv: float = 0.8
    septal_mv: float = 0.27
    main_back_mv: float = 0.04
    back_mv: float = 0.6
    infarct: str = ""
    conduction: str = "normal"
    fascicle_blocked: bool = False
    t_mv: float = 0.25
    t_axis_deg: float = 40.0
    t_back_mv: float = -0.15
    p_mv: float = 0.1
    ectopic_axis_deg: float = 90.0
    ectopic_mv: float = 1.3
    ectopic_back_mv: float = 0.6
    ectopic_qrs_s: float = 0.15
    spike_mv: float = 2.0

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
    """The dipole (3,), mV, that leads I and aVF see at `axis_deg` with size `frontal_mv`, and
    whose backward part is `back_mv`.

    Lead I is frontal_mv * cos(axis); aVF, an augmented lead, sqrt(3)/2 * frontal_mv * sin(axis).
    """
    angle = np.radians(axis_deg)
    seen = frontal_mv * np.array([np.cos(angle), np.sqrt(3) / 2 * np.sin(angle)])
    return np.append(_FRONTAL_INVERSE @ (seen - _FRONTAL[:, 2] * back_mv), back_mv)


def beat(heart: Heart, kind: str) -> np.ndarray:
    """The table (n_waves, N_COLUMNS) of one beat of BEAT_KINDS; time 0 is the onset of the QRS."""
    table = np.zeros((len(WAVES), N_COLUMNS))
    table[:, 1] = _SPIKE_S  # a width that is never 0
    if kind in ("sinus", "premature atrial", "atrial pacing", "ventricular pacing", "dual pacing"):
        table[1:3] = _atria(heart, kind)
    if kind in ("atrial pacing", "dual pacing"):
        table[0] = _spike(-heart.pr_s - _SPIKE_LEAD_S, heart.spike_mv)
    if "ventricular pacing" in kind or kind == "dual pacing":
        # From the apex of the right ventricle: late, to the left, upwards and backwards.
        table[3] = _spike(-_SPIKE_LEAD_S, heart.spike_mv)
        table[4:8] = _spread(heart.ectopic_qrs_s, heart.qrs_mv, -70.0, 0.5)
        table[8:10] = _t_wave(heart.qt_s, 0.4 * heart.qrs_mv, 110.0, -0.25)
    elif kind == "premature ventricular":
        size, axis, back = heart.ectopic_mv, heart.ectopic_axis_deg, heart.ectopic_back_mv
        table[4:8] = _spread(heart.ectopic_qrs_s, size, axis, back)
        table[8:10] = _t_wave(heart.qt_s + 0.02, 0.3 * size, axis + 180, -0.3 * back)
    else:
        table[4:8] = _ventricles(heart)
        table[8:10] = _t_wave(heart.qt_s, heart.t_mv, heart.t_axis_deg, heart.t_back_mv)
    return table


def dipole(onsets, beats, fs, n_samples) -> np.ndarray:
    """The dipole (3, n_samples), mV, of beats whose QRS start at `onsets` (n_beats,), s.

    beats: tables (n_beats, n_waves, N_COLUMNS). Time is sample / fs, and beats may lie partly
    before its start or beyond its end.
    """
    total = np.zeros((3, n_samples))
    for wave in range(beats.shape[1]):
        present = np.abs(beats[:, wave, 2:]).sum(axis=1) > 0
        if not present.any():
            continue
        table = beats[present, wave]
        centres = (onsets[present] + table[:, 0])[:, None]
        # A wave shorter than the sampling interval is widened to it and keeps its area.
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
    """All leads (12, n_samples) in standard order, of the eight INDEPENDENT_LEADS.

    III = II - I (Einthoven); aVR, aVL and aVF by Goldberger.
    """
    one, two = independent[:2]
    augmented = -(one + two) / 2, one - two / 2, two - one / 2
    return np.stack([one, two, two - one, *augmented, *independent[2:]])


def fibrillation(time, rate_hz, size_mv, rng) -> np.ndarray:
    """f-waves (3, n_samples), mV, of fibrillating atria: wandering waves about `rate_hz`, of some
    `size_mv` from the middle to a peak in V1, where they are largest, and less in lead II."""
    total = np.zeros((3, len(time)))
    for share, direction in ((1.0, _TO_V1), (0.6, _TO_FEET)):
        slow, phases = rng.uniform(0.1, 0.5, 2), rng.uniform(0, 2 * np.pi, 3)
        wander = 2.0 * np.sin(2 * np.pi * slow[0] * time + phases[0])
        swell = 1 + 0.4 * np.sin(2 * np.pi * slow[1] * time + phases[1])
        own_rate = rate_hz * rng.uniform(0.9, 1.1)
        wave = np.sin(2 * np.pi * own_rate * time + wander + phases[2])
        total += (share * size_mv) * np.array(direction)[:, None] * (swell * wave)
    return total


def flutter(time, rate_hz, phase, size_mv) -> np.ndarray:
    """F-waves (3, n_samples), mV, of fluttering atria: a saw-tooth of `size_mv` from peak to peak
    in lead II, slow down and fast up in the inferior leads, the other way in V1 (the usual,
    counter-clockwise circuit)."""
    turn = 2 * np.pi * (rate_hz * time + phase)
    wave = sum(np.sin(k * turn) / k for k in range(1, 5)) / _SAW_TOOTH_HEIGHT
    return size_mv * np.array(_FLUTTER)[:, None] * wave


def _row(centre_s, width_s, frontal_mv, axis_deg, back_mv) -> np.ndarray:
    return np.concatenate([[centre_s, width_s], vector(frontal_mv, axis_deg, back_mv)])


def _spike(centre_s, size_mv) -> np.ndarray:
    return _row(centre_s, _SPIKE_S, size_mv, -100.0, 0.3 * size_mv)


def _atria(heart, kind) -> list[np.ndarray]:
    """Right, then left atrium; a premature beat starts low in an atrium and runs upwards."""
    turn = -110.0 if kind == "premature atrial" else 0.0
    onset, size = -heart.pr_s, heart.p_mv
    return [
        _row(onset + 0.35 * _P_S, 0.17 * _P_S, 0.9 * size, turn + 82, -0.5 * size),
        _row(onset + 0.65 * _P_S, 0.17 * _P_S, 0.8 * size, turn + 68, 0.25 * size),
    ]


def _ventricles(heart) -> list[np.ndarray]:
    """The four QRS vectors of a conducted beat, within `qrs_s`. Waves counted to two widths on
    either side fill nine tenths of it; what lies further out fills the rest."""
    length, axis, size, back = heart.qrs_s, heart.axis_deg, heart.qrs_mv, heart.back_mv
    if heart.conduction == "left":
        # No septal vector from the left: slow and notched, leftwards and backwards throughout.
        return _spread(length, size, axis, 0.75 * size)
    first = (0.2, axis + 140, -heart.septal_mv)  # the septum, from the left
    if heart.infarct:
        share, first_axis, first_back = _INFARCTS[heart.infarct]
        first = (share, first_axis, first_back * size)
    if heart.conduction in ("right", "incomplete right"):
        # The left ventricle as ever, then the right one late: rightwards and forwards.
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
        # The normal sequence, slow, with a notch in the middle.
        return [
            _row(0.16 * length, 0.08 * length, first[0] * size, *first[1:]),
            _row(0.36 * length, 0.09 * length, 0.8 * size, axis + 5, heart.main_back_mv),
            _row(0.60 * length, 0.11 * length, 0.8 * size, axis - 10, back),
            _row(0.82 * length, 0.08 * length, 0.25 * size, axis - 150, 0.2 * size),
        ]
    # A Q wave that counts is wide.
    width, shift = (0.10, 0.08) if heart.infarct else (0.075, 0.0)
    return [
        _row(2.5 * width * length, width * length, first[0] * size, *first[1:]),
        _row((0.44 + shift) * length, 0.085 * length, size, axis, heart.main_back_mv),
        _row((0.60 + shift) * length, 0.085 * length, 0.3 * size, axis + 10, back),
        _row(0.79 * length, 0.075 * length, 0.3 * size, axis - 150, 0.3 * size),  # the bases
    ]


def _spread(length, size, axis, back) -> list[np.ndarray]:
    """QRS vectors of a ventricle that is excited from cell to cell: slow, notched, one way."""
    return [
        _row(0.20 * length, 0.10 * length, 0.3 * size, axis + 10, 0.3 * back),
        _row(0.40 * length, 0.11 * length, 0.8 * size, axis, 0.8 * back),
        _row(0.62 * length, 0.12 * length, 0.8 * size, axis, back),
        _row(0.80 * length, 0.10 * length, 0.3 * size, axis - 10, 0.5 * back),
    ]


def _t_wave(qt_s, size, axis, back) -> list[np.ndarray]:
    """A slow rise and a faster fall, which ends (two widths after its centre) at `qt_s`."""
    width = 0.085 * qt_s
    return [
        _row(qt_s - 3.3 * width, 1.5 * width, 0.5 * size, axis, 0.5 * back),
        _row(qt_s - 2.0 * width, width, 0.7 * size, axis, 0.7 * back),
    ]
