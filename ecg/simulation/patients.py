"""A simulated patient, and the diagnoses that follow from textbook criteria.

Diagnoses are never drawn at random: they follow from the rhythm, from the parameters of the heart,
and from measurements on the noise-free leads of a beat.
"""

from dataclasses import dataclass, field

import numpy as np

from ecg.records.leads import TWELVE_LEADS
from ecg.simulation.heart import Heart, beat_table, dipole, lead_field, twelve_leads
from ecg.simulation.rhythms import Rhythm

# Criteria. AHA: the AHA/ACCF/HRS recommendations for the standardization and interpretation of the
# electrocardiogram, Circulation 2009, parts III (conduction) and IV (repolarization).
SLOW_BPM, FAST_BPM = 60.0, 100.0  # sinus bradycardia below, tachycardia above
SINUS_ARRHYTHMIA_S = 0.12  # range of sinus intervals, at least (Surawicz and Knilans)
LONG_PR_S = 0.20  # first-degree block above (ACC/AHA/HRS bradycardia guideline 2018)
BLOCK_QRS_S = 0.12  # complete bundle branch block, at least (AHA III)
INCOMPLETE_QRS_S = 0.11  # incomplete right and nonspecific block, at least (AHA III)
LEFT_AXIS_DEG, RIGHT_AXIS_DEG = -30.0, 90.0  # (AHA III)
FASCICULAR_AXIS_DEG = (-90.0, -45.0)  # left anterior fascicular block, narrow QRS (AHA III)
LONG_QTC_S = {"Male": 0.45, "Female": 0.46}  # at least (AHA IV)
LOW_LIMB_MV, LOW_CHEST_MV = 0.5, 1.0  # QRS peak to peak, below in all leads (Surawicz, Knilans)
POOR_R_V3_MV = 0.3  # R wave in V3, at most, and less than the S wave (Surawicz and Knilans)
# Pathologic Q wave: in two contiguous leads, at least this wide and deep (fourth universal
# definition of myocardial infarction, 2018, which also accepts narrower ones in V2-V3), and a
# quarter of the R wave (older textbook criterion).
Q_WIDTH_S, Q_DEPTH_MV, Q_SHARE_OF_R = 0.03, 0.1, 0.25
INVERTED_T_MV = -0.1  # in two contiguous leads (AHA IV)
# Low T wave: less than this share of an R wave of at least this amplitude (AHA IV).
LOW_T_SHARE, LOW_T_R_MV = 0.1, 0.3

_LEFT_WALLS = (("I", "aVL"), ("V4", "V5"), ("V5", "V6"))
_OTHER_WALLS = (("II", "aVF"), ("III", "aVF"), ("V2", "V3"), ("V3", "V4"))
_T_WALLS = (*_LEFT_WALLS, ("II", "aVF"), ("V3", "V4"))
_T_LEADS = ("I", "II", "V4", "V5", "V6")
_LIMB, _CHEST = slice(0, 6), slice(6, 12)
_MEASURING_FS = 1000.0  # Hz


@dataclass(frozen=True)
class Limits:
    """Limits that differ between annotators; the defaults are those of the guidelines.

    slow_bpm: sinus bradycardia below. left_axis_deg: left axis deviation below.
    incomplete_right_s: QRS duration of an incomplete right bundle branch block, at least.
    """

    slow_bpm: float = SLOW_BPM
    left_axis_deg: float = LEFT_AXIS_DEG
    incomplete_right_s: float = INCOMPLETE_QRS_S


_USUAL_LIMITS = Limits()


@dataclass(frozen=True)
class Patient:
    """A simulated patient. age: years; sex: "Male" or "Female"."""

    age: float
    sex: str
    rhythm: Rhythm = field(default_factory=Rhythm)
    heart: Heart = field(default_factory=Heart)


def diagnose(patient: Patient, beat_kinds=(), limits: Limits = _USUAL_LIMITS) -> set[str]:
    """Return the abbreviations (ecg.records.diagnoses) of all diagnoses whose criteria are met.

    beat_kinds: heart.BEAT_KINDS that are visible in the recording; premature beats are diagnosed
    only there. limits: of those who annotate it.
    """
    rhythm, heart = patient.rhythm, patient.heart
    found = _rhythm_diagnoses(rhythm, heart, limits)
    if "premature atrial" in beat_kinds:
        found.add("PAC")
    if "premature ventricular" in beat_kinds:
        found.add("PVC")
    if rhythm.kind == "paced" and rhythm.pacing != "atrial pacing":
        return found  # nothing else is diagnosed from a paced QRS
    leads = _BeatLeads(heart)
    found |= _conduction_diagnoses(heart, limits)
    axis = leads.axis_deg
    if -90 < axis < limits.left_axis_deg:
        found.add("LAD")
    elif RIGHT_AXIS_DEG < axis < 180:
        found.add("RAD")
    in_range = FASCICULAR_AXIS_DEG[0] <= axis <= FASCICULAR_AXIS_DEG[1]
    if heart.fascicle_blocked and in_range and heart.qrs_s < BLOCK_QRS_S:
        found.add("LAnFB")
    if leads.qrs_mv[_LIMB].max() < LOW_LIMB_MV or leads.qrs_mv[_CHEST].max() < LOW_CHEST_MV:
        found.add("LQRSV")
    if heart.conduction != "left" and leads.has_q_wave():
        found.add("QAb")
    # Secondary to a wide QRS, a long QT, abnormal T waves and a late R wave are not diagnosed.
    if heart.qrs_s < BLOCK_QRS_S:
        if leads.has_poor_r_wave() and "LQRSV" not in found:
            found.add("PRWP")
        if corrected_qt(heart.qt_s, rhythm.rate_bpm) >= LONG_QTC_S[patient.sex]:
            found.add("LQT")
        if leads.has_inverted_t():
            found |= {"TInv", "TAb"}
        if leads.has_low_t():
            found.add("TAb")
    return found


def corrected_qt(qt_s, rate_bpm) -> float:
    """Return the QT interval corrected to 60 bpm by Fridericia's formula, s."""
    return qt_s / (60 / rate_bpm) ** (1 / 3)


def _rhythm_diagnoses(rhythm, heart, limits) -> set[str]:
    if rhythm.kind == "paced":
        return {"PR"}
    if rhythm.kind != "sinus":
        name = {"fibrillation": {"AF"}, "flutter": {"AFL"}, "junctional": set()}[rhythm.kind]
        return name | ({"Brady"} if rhythm.rate_bpm < limits.slow_bpm else set())
    if rhythm.av_block:
        # Annotators name the block, which is not scored, and the ventricular rate.
        return {"Brady"} if rhythm.rate_bpm < limits.slow_bpm else set()
    found = set()
    arrhythmic = rhythm.variation_s > SINUS_ARRHYTHMIA_S
    if arrhythmic:
        found.add("SA")
    if rhythm.rate_bpm < limits.slow_bpm:
        found.add("SB")
    elif rhythm.rate_bpm > FAST_BPM:
        found.add("STach")
    elif not arrhythmic:
        found.add("NSR")
    if heart.pr_s > LONG_PR_S:
        found |= {"IAVB", "LPR"}
    return found


def _conduction_diagnoses(heart, limits) -> set[str]:
    if heart.qrs_s >= BLOCK_QRS_S and heart.conduction == "left":
        return {"LBBB", "BBB"}
    if heart.qrs_s >= BLOCK_QRS_S and heart.conduction == "right":
        return {"RBBB", "BBB"}
    if heart.qrs_s >= limits.incomplete_right_s and heart.conduction == "incomplete right":
        return {"IRBBB"}
    if heart.qrs_s >= INCOMPLETE_QRS_S and heart.conduction == "nonspecific":
        return {"NSIVCB"}
    return set()


class _BeatLeads:
    """Measurements on the noise-free twelve leads of a beat."""

    def __init__(self, heart: Heart):
        n_samples = round((heart.qt_s + 0.1) * _MEASURING_FS)
        table = beat_table(heart, "no P")
        leads = twelve_leads(
            lead_field(heart) @ dipole(np.zeros(1), table[None], _MEASURING_FS, n_samples)
        )
        end = round(heart.qrs_s * _MEASURING_FS)
        self.qrs = leads[:, :end]
        t_wave = leads[:, end + round(0.08 * _MEASURING_FS) :]
        rows = np.arange(len(leads))
        self.qrs_mv = np.ptp(self.qrs, axis=1)
        self.r_mv = self.qrs.max(axis=1).clip(0)
        self.t_mv = t_wave[rows, np.abs(t_wave).argmax(axis=1)]
        area = self.qrs.sum(axis=1)
        lead_i, avf = area[TWELVE_LEADS.index("I")], area[TWELVE_LEADS.index("aVF")]
        self.axis_deg = np.degrees(np.arctan2(2 / np.sqrt(3) * avf, lead_i))

    def has_q_wave(self) -> bool:
        # With right axis deviation, a QRS that begins negative in the left leads is no Q wave.
        left = _LEFT_WALLS if self.axis_deg < RIGHT_AXIS_DEG else ()
        return _in_any_wall(self._q_waves(), left + _OTHER_WALLS)

    def has_poor_r_wave(self) -> bool:
        v3 = self.qrs[TWELVE_LEADS.index("V3")]
        return v3.max() <= POOR_R_V3_MV and v3.max() < -v3.min()

    def has_inverted_t(self) -> bool:
        return _in_any_wall(self.t_mv <= INVERTED_T_MV, _T_WALLS)

    def has_low_t(self) -> bool:
        rows = [TWELVE_LEADS.index(lead) for lead in _T_LEADS]
        tall = self.r_mv[rows] >= LOW_T_R_MV
        low = self.t_mv[rows] < LOW_T_SHARE * self.r_mv[rows]
        return np.count_nonzero(low & tall) >= 2

    def _q_waves(self) -> np.ndarray:
        """Return whether each lead has a pathologic Q wave, (12,), bool."""
        found = np.zeros(len(self.qrs), bool)
        for row, lead in enumerate(self.qrs):
            up = np.flatnonzero(lead > 0.02)
            first_up = up[0] if len(up) else len(lead)
            q_wave = lead[:first_up]
            width = np.count_nonzero(q_wave < -0.02) / _MEASURING_FS
            depth = -q_wave.min(initial=0.0)
            found[row] = width >= Q_WIDTH_S and depth >= max(
                Q_DEPTH_MV, Q_SHARE_OF_R * self.r_mv[row]
            )
        return found


def _in_any_wall(leads, walls) -> bool:
    return any(all(leads[TWELVE_LEADS.index(lead)] for lead in wall) for wall in walls)
