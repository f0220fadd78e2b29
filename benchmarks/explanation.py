"""`python -m benchmarks.explanation MODEL`: do explanations find the cause of a diagnosis?

The records are simulated, with twelve leads and one known cause: a premature ventricular beat,
pacing spikes, or the Q waves of an infarct. Of those that the model classifies correctly, count the
records whose strongest part belongs to the cause: the premature beat; a paced beat, or the QRS
complexes with their spikes in one lead; or the QRS complexes in a lead with Q waves. The chance
level is the share of all parts that belong to the cause.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import islice

import numpy as np

from ecg.models.decisions import decide
from ecg.models.predictor import Predictor, load_predictor
from ecg.pages.explanation import Part, explain
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import TWELVE_LEADS
from ecg.records.record import Record
from ecg.runtime.command_line import running
from ecg.runtime.progress import track
from ecg.simulation.heart import Heart, beat_table, dipole, lead_field, twelve_leads
from ecg.simulation.patients import Patient
from ecg.simulation.populations import Population, draw_patient
from ecg.simulation.recorders import Recorder, record_signal
from ecg.simulation.recordings import heart_signal
from ecg.simulation.rhythms import beat_times

_DURATION_S = 10.0
_RECORDER = Recorder()
# Normal rhythm and conduction, so that there is no other cause.
_HEALTHY = Population(
    **{field.name: 0.0 for field in fields(Population) if not field.name.startswith("age")}
)
_RARE = 1e-9  # probability of a premature beat, of which one is guaranteed
_MIN_Q_MV = 0.1  # depth of a Q wave
_MIN_COVERED = 0.7  # share of a part's spans that overlap the cause; those at the ends may not
_MAX_DRAWN = 20  # records drawn per record that is classified correctly


@dataclass(frozen=True)
class Case:
    """A record, and the cause of its diagnosis: some QRS complexes in some leads.

    onsets_s: (n_beats,). qrs_s: duration.
    """

    record: Record
    onsets_s: np.ndarray
    qrs_s: float
    leads: tuple[str, ...]

    def is_cause(self, part: Part) -> bool:
        """Return whether the part has only leads of the cause and its spans overlap the cause."""
        overlaps = [
            bool(((start < self.onsets_s + self.qrs_s) & (self.onsets_s < end)).any())
            for start, end in part.spans_s
        ]
        return set(part.leads) <= set(self.leads) and np.mean(overlaps) > _MIN_COVERED


def premature_case(rng) -> Case:
    """Draw a sinus rhythm with one premature ventricular beat."""
    patient = draw_patient(_HEALTHY, rng)
    patient = replace(patient, rhythm=replace(patient.rhythm, premature_ventricular=_RARE))
    record, onsets, kinds = _simulate(patient, rng)
    premature = [kind == "premature ventricular" for kind in kinds]
    return Case(record, onsets[premature], patient.heart.ectopic_qrs_s, TWELVE_LEADS)


def pacing_case(rng) -> Case:
    """Draw a rhythm with ventricular pacing, with a spike before every QRS."""
    patient = draw_patient(replace(_HEALTHY, paced=1.0), rng)
    patient = replace(patient, rhythm=replace(patient.rhythm, pacing="ventricular pacing, no P"))
    record, onsets, _ = _simulate(patient, rng)
    return Case(record, onsets, patient.heart.ectopic_qrs_s, TWELVE_LEADS)


def infarct_case(rng) -> Case:
    """Draw a sinus rhythm with the Q waves of an inferior, anterior or lateral infarct."""
    patient = draw_patient(_HEALTHY, rng)
    wall = str(rng.choice(["inferior", "anterior", "lateral"]))
    patient = replace(patient, heart=replace(patient.heart, infarct=wall))
    record, onsets, _ = _simulate(patient, rng)
    healthy = _leads_with_q(replace(patient.heart, infarct=""))
    leads = set(_leads_with_q(patient.heart)) - set(healthy)
    return Case(record, onsets, patient.heart.qrs_s, tuple(leads))


CAUSES = {
    "premature ventricular beat": ("PVC", premature_case),
    "pacing spikes": ("PR", pacing_case),
    "Q waves of an infarct": ("QAb", infarct_case),
}


def correct_cases(predictor: Predictor, i: int, draw: Callable, rng) -> Iterator[Case]:
    """Yield cases, without end, in which the model finds their diagnosis, class `i`."""
    while True:
        case = draw(rng)
        probabilities = predictor.probabilities(case.record)
        if decide(probabilities[None], predictor.model.decision)[0, i]:
            yield case


def _simulate(patient: Patient, rng) -> tuple[Record, np.ndarray, list[str]]:
    onsets, kinds = beat_times(patient.rhythm, _DURATION_S, rng)
    signal = heart_signal(patient, onsets, kinds, _DURATION_S, _RECORDER.fs, rng)
    digital = record_signal(signal, _RECORDER, rng)
    leads = (digital / _RECORDER.adc_gain).astype(np.float32)
    record = Record("simulated", leads, _RECORDER.fs, TWELVE_LEADS, patient.age, patient.sex, ())
    return record, onsets, kinds


def _leads_with_q(heart: Heart) -> tuple[str, ...]:
    """Return the leads whose QRS begins with a Q wave."""
    fs = 1000.0
    table = beat_table(heart, "no P")[None]
    beat = dipole(np.zeros(1), table, fs, round(heart.qrs_s * fs))
    qrs = twelve_leads(lead_field(heart) @ beat)
    first_up = [np.flatnonzero(np.append(lead, 1.0) > 0.02)[0] for lead in qrs]
    depth = [-lead[:end].min(initial=0.0) for lead, end in zip(qrs, first_up, strict=True)]
    return tuple(lead for lead, mv in zip(TWELVE_LEADS, depth, strict=True) if mv >= _MIN_Q_MV)


def measure(predictor: Predictor, cause: str, n_records: int) -> str:
    """Return a line of the results."""
    abbreviation, draw = CAUSES[cause]
    i = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index(abbreviation)
    n_drawn, found, by_chance, error = 0, [], [], 0.0

    def counted(rng):
        nonlocal n_drawn
        n_drawn += 1
        if n_drawn > _MAX_DRAWN * n_records:
            sys.exit(f"{cause}: the model finds {abbreviation} in too few of {n_drawn - 1} records")
        return draw(rng)

    cases = islice(
        correct_cases(predictor, i, counted, np.random.default_rng(n_records)), n_records
    )
    for case in track(cases, n_records, cause):
        explanation = explain(
            predictor.probabilities_of, case.record, TWELVE_LEADS, predictor.model.prevalence
        )
        contributions = explanation.contributions
        change = explanation.log_odds - explanation.baseline
        error = max(error, float(np.abs(change - contributions.sum(axis=0)).max()))
        is_cause = np.array([case.is_cause(part) for part in explanation.parts])
        found.append(is_cause[contributions[:, i].argmax()])
        by_chance.append(is_cause.mean())
    return (
        f"{cause}: {n_records} of {n_drawn}; {np.mean(found):.0%} ({np.mean(by_chance):.0%}); "
        f"sum off by at most {error:.0e}"
    )


def main(arguments=None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("--records", type=int, default=50, help="of each cause; default: 50")
    options = parser.parse_args(arguments)
    with running("benchmarks.explanation"):
        predictor = load_predictor(options.model, len(TWELVE_LEADS))
        print("cause: correct records of those drawn; cause found (by chance)")
        for cause in CAUSES:
            print(measure(predictor, cause, options.records), flush=True)


if __name__ == "__main__":
    main()
