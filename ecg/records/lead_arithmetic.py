"""Derived limb leads, calibration pulses at the end of a recording, swapped arm electrodes.

Pure array functions. Everywhere: signal is (n_leads, n_samples), mV, NaN where samples are missing;
time runs along the last axis, fs is in Hz.
"""

import math

import numpy as np

from ecg.signals.measurements import beats_of
from ecg.signals.qrs import Beats

DERIVED_LEADS = ("III", "aVR", "aVL", "aVF")

_TAIL_S = 1.5  # the end of a recording that is searched for a calibration pulse
_EDGE_S = 0.02  # in which the pulse rises and falls
_PULSE_MV, _PULSE_TOLERANCE_MV = 1.0, 0.1
_PULSE_S = (0.1, 0.4)  # 200 ms on most machines
_FLAT_MV = 0.1  # at most, peak to peak, on top of the pulse and after it
_QUIET_MV = 0.05  # at most, from the level before the pulse, in the flat stretch that precedes it

_EXAMINED_S = 60.0  # the start of a recording, by which arm electrodes are judged
# Windows before and after the QRS, in samples of 10 ms, as `ecg.signals.qrs.Beats` takes them.
_P_WINDOW, _T_WINDOW = (26, 3), (6, 40)
_P_BASELINE = 30  # samples before the QRS, whose median is the baseline of the P wave
# Smaller waves do not count. With these limits none of 643 real 12-lead records is judged swapped,
# and 294 are when their arm leads are exchanged. The others lack one of the upright waves in I, V5
# and V6 to begin with: most often the QRS in I, as with a right axis.
_LEAST_P_MV, _LEAST_T_MV = 0.02, 0.02


def derive_limb_leads(lead_i, lead_ii) -> dict[str, np.ndarray]:
    """III, aVR, aVL and aVF by Einthoven's and Goldberger's equations.

    lead_i, lead_ii: (n_samples,), mV. A sample is NaN where it is NaN in either lead.
    """
    return {
        "III": lead_ii - lead_i,
        "aVR": -(lead_i + lead_ii) / 2,
        "aVL": lead_i - lead_ii / 2,
        "aVF": lead_ii - lead_i / 2,
    }


def calibration_start(signal, fs) -> int | None:
    """Return the first sample of the calibration pulse at the end, or None where there is none.

    The flat stretch before the pulse counts as part of it. The pulse is rectangular, 1 mV high and
    about 200 ms long, in all leads at once, with nothing after it. A heart cannot produce one: I
    and II cannot both rise by 1 mV while III, their difference, does too.
    """
    n_before = max(signal.shape[1] - math.ceil(_TAIL_S * fs), 0)
    tail = signal[:, n_before:]
    reach = max(round(_EDGE_S * fs), 1)
    if tail.shape[1] <= 2 * reach:
        return None
    change = tail[:, reach:] - tail[:, :-reach]
    rises = _steps(change, _PULSE_MV)
    if not rises:
        return None
    last_low, first_high = rises[-1][1], rises[-1][0] + reach
    falls = [fall for fall in _steps(change, -_PULSE_MV) if fall[0] > last_low]
    # The record may end on top of the pulse.
    last_high, first_after = (falls[0][1], falls[0][0] + reach) if falls else (None, None)
    top = tail[:, first_high : None if last_high is None else last_high + 1]
    after = tail[:, tail.shape[1] if first_after is None else first_after :]
    if not _PULSE_S[0] <= top.shape[1] / fs <= _PULSE_S[1] or not (_is_flat(top, after)):
        return None
    rise = n_before + last_low
    level = signal[:, rise, None]
    loud = np.flatnonzero(~(np.abs(signal[:, :rise] - level) < _QUIET_MV).all(axis=0))
    return int(loud[-1]) + 1 if len(loud) else 0


def arms_look_swapped(limb_leads, chest_leads, fs) -> bool:
    """Whether the electrodes of the right and the left arm seem to be exchanged.

    Lead I is then inverted, with P, QRS and T all negative, and aVR is upright. Dextrocardia gives
    the same limb leads, so V5 and V6 must have an upright P and QRS where they are recorded.
    limb_leads: (3, n_samples), leads I, II and aVR.
    chest_leads: (0 to 2, n_samples), V5 and V6 as far as recorded.
    """
    length = math.ceil(_EXAMINED_S * fs)
    beats = beats_of(np.concatenate([limb_leads, chest_leads])[:, :length], fs)
    if beats is None:
        return False
    p, qrs, t = _wave_sizes(beats)
    lead_i, avr = 0, 2
    inverted = p[lead_i] < -_LEAST_P_MV and qrs[lead_i] < 0 and t[lead_i] < -_LEAST_T_MV
    upright = qrs[avr] > 0 and (not len(chest_leads) or (qrs[3:].mean() > 0 and p[3:].mean() > 0))
    return bool(inverted and upright)


def _wave_sizes(beats: Beats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signed sizes (n_leads,), mV, of the average beat's P wave, QRS and T wave.

    P and T are measured where they are largest in leads I and II. The QRS is its mean, or 0 where
    that and the sum of its highest and lowest points differ in sign.
    """
    average, qrs = beats.median_beat, beats.qrs
    before = beats.before_qrs(_P_WINDOW)
    baseline = np.median(average[:, max(beats.onset - _P_BASELINE, 0) : beats.onset], axis=1)
    p_wave = average[:, before] - baseline[:, None]
    t_wave = average[:, beats.after_qrs(_T_WINDOW)]
    p_peak = int(np.abs(p_wave[:2]).sum(axis=0).argmax())
    t_peak = int((t_wave[:2] ** 2).sum(axis=0).argmax())
    net, mean = qrs.max(axis=1) + qrs.min(axis=1), qrs.mean(axis=1)
    return p_wave[:, p_peak], np.where(net * mean > 0, mean, 0.0), t_wave[:, t_peak]


def _steps(change, size_mv) -> list[tuple[int, int]]:
    """Return the first and last sample at which each step of this size, in all leads at once,
    shows."""
    seen = (np.abs(change - size_mv) < _PULSE_TOLERANCE_MV).all(axis=0)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]])))
    return [(int(first), int(after) - 1) for first, after in edges.reshape(-1, 2)]


def _is_flat(*stretches) -> bool:
    return all((np.ptp(part, axis=1) < _FLAT_MV).all() for part in stretches if part.size)
