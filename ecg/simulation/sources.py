"""The simulated sources: their patients, recorders and annotators.

Frequencies of diagnoses follow the Challenge's sources (counts per source in its table of scored
diagnoses), but are rarely below 1 %, so that even a small folder contains most diagnoses.
Recorders and annotators are invented, to differ as those of the Challenge do.
"""

from dataclasses import dataclass, field

from ecg.records.diagnoses import DIAGNOSES
from ecg.simulation.patients import Limits
from ecg.simulation.populations import Population
from ecg.simulation.recorders import Recorder

# "Electrocardiogram abnormal": annotated if there is no diagnosis that the source annotates.
ABNORMAL_CODE = "102594003"
_ALL = frozenset(diagnosis.abbreviation for diagnosis in DIAGNOSES)
_SINUS = "NSR"
# Findings that one is mistaken for. Rhythms: as in Bae et al., Clin Cardiol 2012, and Doggart et
# al., Computing in Cardiology 2022; the others are ours. What is not listed is only overlooked.
_MISTAKEN_FOR = {
    "AF": ("AFL", "STach"),
    "AFL": ("AF", "STach"),
    "STach": ("AFL",),
    "SA": ("AF",),
    "PAC": ("AF", "PVC"),
    "PVC": ("PAC",),
    "LBBB": ("NSIVCB",),
    "RBBB": ("IRBBB",),
    "BBB": ("NSIVCB",),
    "IRBBB": ("RBBB",),
    "NSIVCB": ("LBBB", "IRBBB"),
    "LAD": ("LAnFB",),
    "LAnFB": ("LAD",),
    "QAb": ("PRWP",),
    "PRWP": ("QAb",),
    "TInv": ("TAb",),
    "TAb": ("TInv",),
}
_NOT_SINUS = {"AF", "AFL", "STach"}


@dataclass(frozen=True)
class Habits:
    """Habits of a source's annotators.

    annotated: abbreviations of the diagnoses that they use.
    limits: from which measurements on they make some of them.
    second_code: diagnoses annotated with the second of two equivalent codes.
    unspecified_block: share of left and right bundle branch blocks annotated as "bundle branch
    block".
    prolonged_pr: share of first-degree blocks annotated as "prolonged PR interval".
    unspecified_bradycardia: whether sinus bradycardia is annotated as "bradycardia".
    sinus_rhythm_alone: whether sinus rhythm is annotated only without other diagnoses.
    inverted_t_alone: whether an inverted T wave is not annotated as T wave abnormality, too.
    label_errors: share of findings other than sinus rhythm that they get wrong, at random. Half of
    them are overlooked; the other half are taken for a similar finding, or overlooked where the
    source annotates none. A record without any other finding then reads as sinus rhythm.
    """

    annotated: frozenset[str] = _ALL
    limits: Limits = field(default_factory=Limits)
    second_code: frozenset[str] = frozenset()
    unspecified_block: float = 0.0
    prolonged_pr: float = 0.0
    unspecified_bradycardia: bool = False
    sinus_rhythm_alone: bool = False
    inverted_t_alone: bool = True
    label_errors: float = 0.0

    def __post_init__(self):
        if not 0 <= self.label_errors <= 1:
            raise ValueError(f"label_errors: expected a share, found {self.label_errors}")
        unknown = (self.annotated | self.second_code) - _ALL
        if unknown:
            raise ValueError(f"expected known abbreviations, found {', '.join(sorted(unknown))}")


@dataclass(frozen=True)
class Source:
    """A simulated source of records.

    letter: part of the record names. duration_s: minimum and maximum. physionet: whether headers
    are written as in PhysioNet 1.0.3 instead of the Challenge's downloads.
    """

    letter: str
    population: Population = field(default_factory=Population)
    recorder: Recorder = field(default_factory=Recorder)
    habits: Habits = field(default_factory=Habits)
    duration_s: tuple[float, float] = (10.0, 10.0)
    physionet: bool = False


def annotate(diagnoses: set[str], habits: Habits, rng) -> tuple[str, ...]:
    """Return the codes that annotators with these habits use for `diagnoses` (abbreviations).

    rng: label errors are drawn from a generator that it spawns, so that all else stays the same.
    """
    written = set(diagnoses)
    # "Bundle branch block" and "prolonged PR interval" are other names for the same findings.
    if "BBB" in written:
        unspecified = rng.random() < habits.unspecified_block
        written -= {"LBBB", "RBBB"} if unspecified else {"BBB"}
    if "LPR" in written:
        written -= {"IAVB"} if rng.random() < habits.prolonged_pr else {"LPR"}
    if habits.unspecified_bradycardia and "SB" in written:
        written = written - {"SB"} | {"Brady"}
    if habits.inverted_t_alone and "TInv" in written:
        written.discard("TAb")
    written &= habits.annotated
    if habits.label_errors:
        written = _with_label_errors(written, habits, rng.spawn(1)[0])
    if habits.sinus_rhythm_alone and len(written) > 1:
        written.discard("NSR")
    codes = [
        diagnosis.codes[-1 if diagnosis.abbreviation in habits.second_code else 0]
        for diagnosis in DIAGNOSES
        if diagnosis.abbreviation in written
    ]
    return tuple(codes) or (ABNORMAL_CODE,)


def _with_label_errors(findings: set[str], habits: Habits, rng) -> set[str]:
    """Return the findings as annotators who make errors see them, see `Habits.label_errors`."""
    seen = set(findings)
    # Two draws for each diagnosis, found or not: findings do not change each other's errors.
    for diagnosis, (error, kind) in zip(DIAGNOSES, rng.random((len(DIAGNOSES), 2)), strict=True):
        name = diagnosis.abbreviation
        if name not in findings or name == _SINUS or error >= habits.label_errors:
            continue
        seen.discard(name)
        similar = [other for other in _MISTAKEN_FOR.get(name, ()) if other in habits.annotated]
        if similar and kind < 0.5:
            seen.add(similar[int(2 * kind * len(similar))])
    if seen & _NOT_SINUS:
        seen.discard(_SINUS)
    if findings and not seen:
        seen = {_SINUS} & habits.annotated
    return seen


SOURCES = {
    # A large hospital with much bradycardia and atrial flutter, after Ningbo.
    "simulated-hospital": Source(
        letter="A",
        population=Population(
            fibrillation=0.03,
            flutter=0.20,
            paced=0.035,
            slow=0.46,
            fast=0.22,
            sinus_arrhythmia=0.12,
            long_pr=0.04,
            left_block=0.015,
            right_block=0.045,
            incomplete_right=0.015,
            nonspecific_block=0.02,
            left_anterior=0.015,
            left_axis=0.03,
            right_axis=0.02,
            poor_progression=0.025,
            long_qt=0.02,
            inverted_t=0.08,
        ),
        recorder=Recorder(resolution_mv=0.00488, wander_mv=0.013, muscle_mv=0.013),
        habits=Habits(unspecified_block=0.3, prolonged_pr=0.1, inverted_t_alone=False),
    ),
    # A heart centre that annotates sinus rhythm beside other diagnoses, after PTB-XL.
    "simulated-heart-centre": Source(
        letter="B",
        population=Population(
            fibrillation=0.07,
            flutter=0.015,
            paced=0.015,
            slow=0.20,
            fast=0.05,
            left_block=0.025,
            right_block=0.03,
            incomplete_right=0.05,
            nonspecific_block=0.035,
            left_anterior=0.075,
            left_axis=0.14,
            right_axis=0.02,
            low_voltage=0.015,
            long_qt=0.015,
            inverted_t=0.02,
        ),
        recorder=Recorder(
            band_hz=(0.05, 120.0),
            wander_mv=0.033,
            mains_mv=0.0003,
            muscle_mv=0.0073,
            trunk_share=0.33,
        ),
        habits=Habits(
            limits=Limits(slow_bpm=50.0, left_axis_deg=-5.0, incomplete_right_s=0.085),
            annotated=_ALL - {"PVC", "PRWP", "BBB", "Brady"},
            second_code=frozenset({"LBBB"}),
            prolonged_pr=0.35,
        ),
        physionet=True,
    ),
    # County hospitals, with many long QT intervals and flat T waves, after Georgia.
    "simulated-county": Source(
        letter="C",
        population=Population(
            fibrillation=0.055,
            flutter=0.02,
            slow=0.18,
            fast=0.14,
            premature_atrial=0.07,
            long_pr=0.1,
            right_axis=0.015,
            low_voltage=0.035,
            long_qt=0.15,
            flat_t=0.2,
            inverted_t=0.09,
        ),
        recorder=Recorder(
            adc_gain=4880.0,
            band_hz=(0.1, 100.0),
            resolution_mv=0.00488,
            mains_hz=60.0,
            wander_mv=0.045,
            muscle_mv=0.0075,
        ),
        habits=Habits(
            annotated=_ALL - {"PRWP", "LPR"},
            second_code=frozenset({"LBBB", "RBBB", "PVC"}),
            unspecified_block=0.15,
            sinus_rhythm_alone=True,
        ),
        duration_s=(5.0, 10.0),
    ),
    # A network of clinics that annotate seven diagnoses, with recordings of any length, after CPSC.
    "simulated-network": Source(
        letter="D",
        population=Population(
            fibrillation=0.18,
            flutter=0.02,
            right_block=0.27,
            left_block=0.035,
            long_pr=0.15,
            premature_atrial=0.12,
            premature_ventricular=0.1,
        ),
        recorder=Recorder(
            wander_mv=0.006,
            mains_mv=0.0004,
            muscle_mv=0.0075,
            muscle_spread=0.7,
            motion_per_min=1.0,
        ),
        habits=Habits(
            annotated=frozenset({"AF", "IAVB", "LBBB", "NSR", "PAC", "PVC", "RBBB"}),
            second_code=frozenset({"LBBB", "RBBB", "PAC"}),
            sinus_rhythm_alone=True,
        ),
        duration_s=(6.0, 30.0),
    ),
    # A laboratory with long, clean recordings at 1000 Hz, after PTB.
    "simulated-laboratory": Source(
        letter="E",
        population=Population(infarct=0.25, inverted_t=0.15, slow=0.1, fast=0.1),
        recorder=Recorder(
            fs=1000.0, adc_gain=2000.0, band_hz=(0.05, 250.0), wander_mv=0.01, muscle_mv=0.0015
        ),
        habits=Habits(unspecified_block=0.1, prolonged_pr=0.3),
        duration_s=(30.0, 30.0),
        physionet=True,
    ),
    # An ambulance with a noisy recorder at 300 Hz, whose filter distorts ST segments.
    "simulated-ambulance": Source(
        letter="F",
        population=Population(fast=0.25, age_mean=63.0, premature_ventricular=0.07, infarct=0.08),
        recorder=Recorder(
            fs=300.0,
            adc_gain=200.0,
            baseline=12,
            band_hz=(0.5, 40.0),
            wander_mv=0.05,
            muscle_mv=0.01,
            motion_per_min=2.0,
            loose_electrode=0.02,
        ),
        habits=Habits(
            annotated=_ALL - {"SB"},
            unspecified_bradycardia=True,
            unspecified_block=0.2,
            prolonged_pr=0.2,
        ),
    ),
    # Telemetry of a ward at 250 Hz.
    "simulated-telemetry": Source(
        letter="G",
        population=Population(
            age_mean=68.0, fibrillation=0.15, paced=0.05, left_block=0.04, low_voltage=0.05
        ),
        recorder=Recorder(
            fs=250.0,
            adc_gain=400.0,
            band_hz=(0.2, 75.0),
            mains_hz=60.0,
            mains_mv=0.0015,
            wander_mv=0.04,
            motion_per_min=1.5,
            loose_electrode=0.01,
        ),
        habits=Habits(
            second_code=frozenset({"PAC", "PVC"}), unspecified_block=0.1, prolonged_pr=0.1
        ),
        physionet=True,
    ),
}
