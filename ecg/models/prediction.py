"""Predict one recording: whether it can be judged, its measurements, and its findings."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace

import numpy as np

from ecg.models.decisions import calibrate, decide
from ecg.models.descriptions import describe_training
from ecg.models.model_files import TrainedModel
from ecg.models.operating_points import RULES, Findings, call_findings, default_points
from ecg.models.predictor import Predictor
from ecg.models.prior_shift import ShareEstimate, adapt, estimate_share
from ecg.records.diagnoses import N_CLASSES, SINUS_RHYTHM
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record, select_leads
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements
from ecg.signals.measurements import measure_globally
from ecg.signals.preprocessing import Preparation, window_length
from ecg.signals.quality import assess_quality

TIMELINE_WINDOW_S = 10.0
# Of adults at rest; what is abnormal depends on age, sex and drugs, too. PR is 10 ms wider at
# either end than textbooks have it, our median error. QTc ends at the limit for women: Rautaharju
# et al., Journal of the American College of Cardiology 53 (2009), 982-991.
USUAL_RANGES = {
    "heart_rate_bpm": (50.0, 100.0),
    "pr_ms": (110.0, 210.0),
    "qrs_ms": (60.0, 119.0),
    "qtc_ms": (350.0, 460.0),
    "qrs_axis_deg": (-30.0, 100.0),
}
_MIN_TIMELINE_S = 60.0  # shorter recordings have no timeline
_MIN_WINDOWS = 2  # of a finding that comes and goes, to be reported


@dataclass(frozen=True)
class ModelSummary:
    """name: of the method and the lead set. trained_on: a sentence on the training records."""

    name: str
    trained_on: str


@dataclass(frozen=True)
class Timeline:
    """The windows of a long recording, each predicted by itself.

    start_s: (n_windows,), s. usable: (n_windows,), bool. heart_rate_bpm: (n_windows,), NaN where it
    is not measured. present: (n_windows, 26), bool, nothing where a window is not usable.
    probabilities: (n_windows, 26), NaN where a window is not usable.
    """

    start_s: np.ndarray
    usable: np.ndarray
    heart_rate_bpm: np.ndarray
    present: np.ndarray
    probabilities: np.ndarray

    @property
    def episodes(self) -> list[tuple[int, int, float]]:
        """(class, number of windows, start of the first in s) of each finding in 2 or more windows,
        the most frequent first."""
        counts = self.present.sum(axis=0)
        return [
            (int(i), int(counts[i]), float(self.start_s[self.present[:, i].argmax()]))
            for i in np.argsort(-counts, kind="stable")
            if counts[i] >= _MIN_WINDOWS
        ]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file.

    record: the recording, of a long one its first part. duration_s: of all of it. lead_set: of the
    model. usable: whether the recording can be judged; if not, `warnings` say why, and no
    probability means anything (all are 0). probabilities: (26,). present, uncertain: (26,), bool.
    warnings, notes: a sentence each. timeline: of recordings of a minute or more.
    """

    file: str
    record: Record
    duration_s: float
    lead_set: int
    model: ModelSummary
    rule: str
    usable: bool
    measurements: GlobalMeasurements
    probabilities: np.ndarray
    present: np.ndarray
    uncertain: np.ndarray
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    timeline: Timeline | None = None

    @property
    def order(self) -> np.ndarray:
        """Indices of all classes: those present first, then by probability."""
        return np.lexsort((-self.probabilities, ~self.present))

    @property
    def is_normal(self) -> bool:
        """Whether sinus rhythm is the only finding and certain, and all measurements are usual."""
        others = np.arange(N_CLASSES) != SINUS_RHYTHM
        found = self.present | self.uncertain
        is_sinus = self.present[SINUS_RHYTHM] and not found[others].any()
        return bool(self.usable and is_sinus and not self.unusual)

    @property
    def unusual(self) -> tuple[str, ...]:
        """The names of the measurements that are outside `USUAL_RANGES`."""
        values = asdict(self.measurements)
        return tuple(
            name
            for name, (low, high) in USUAL_RANGES.items()
            if values[name] is not None and not low <= values[name] <= high
        )


def predict_recording(
    file: str, blocks: Iterable[Record], predictor: Predictor, rule: str = "clinical"
) -> Prediction:
    """Predict a recording given as consecutive blocks, such as `read_blocks` yields.

    A recording of a minute or more is predicted in windows of 10 s; its findings are those of the
    mean probabilities over the usable windows, its measurements medians over them.
    rule: "clinical", see `ecg.models.operating_points`, or "challenge", the decision that the model
    was trained with. Raises RecordError naming the file if it cannot be predicted.
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected {' or '.join(RULES)}, found '{rule}'")
    blocks = iter(blocks)
    first = next(blocks)
    duration_s = first.signal.shape[1] / first.fs
    quality = assess_quality(first.signal, first.fs, first.leads)
    model = predictor.model
    notes = [*first.notes, *_lead_notes(first, model.lead_set)]
    probabilities, timeline, measurements = None, None, NOT_MEASURED
    try:
        if duration_s >= _MIN_TIMELINE_S:
            timeline, duration_s, probabilities, measurements = _predict_windows(
                itertools.chain([first], blocks), predictor, rule
            )
            if probabilities is None:
                reasons = quality.reasons or ("no window of 10 s can be judged",)
                quality = replace(quality, usable=False, reasons=reasons)
            else:
                quality = replace(quality, usable=True)
        elif quality.usable:
            probabilities = predictor.probabilities(first)
            measurements = _measure(first)
            notes += _preparation_notes(first, model.method.preparation)
    except ValueError as error:  # including RecordError
        raise RecordError(f"{file}: {error}") from error
    if quality.usable:
        findings = findings_by(probabilities[None], model, rule)
        present, uncertain = findings.present[0], findings.uncertain[0]
    else:
        probabilities = np.zeros(N_CLASSES)
        present = uncertain = np.zeros(N_CLASSES, bool)
    return Prediction(
        file,
        first,
        duration_s,
        model.lead_set,
        summarise_model(model),
        rule,
        quality.usable,
        measurements,
        probabilities,
        present,
        uncertain,
        (*first.warnings, *quality.reasons, *quality.warnings),
        tuple(notes),
        timeline,
    )


def decide_one_site(
    predictions: Sequence[Prediction], model: TrainedModel
) -> tuple[ShareEstimate, list[Prediction]]:
    """Decide the findings of recordings that all come from one hospital again.

    Returns the share of sinus rhythm estimated from the usable recordings, see
    `ecg.models.prior_shift`, and the predictions, in order: where the estimate is applied, with the
    probability of sinus rhythm, and all findings, that follow from it; a note tells the estimate.
    predictions: all by `model`.
    """
    chances = [found.probabilities[SINUS_RHYTHM] for found in predictions if found.usable]
    estimate = estimate_share(chances, model.prevalence[SINUS_RHYTHM])
    return estimate, [
        _with_share(found, model, estimate) if found.usable else found for found in predictions
    ]


def _with_share(prediction: Prediction, model: TrainedModel, estimate: ShareEstimate) -> Prediction:
    prediction = replace(prediction, notes=(*prediction.notes, str(estimate)))
    if not estimate.applied:
        return prediction
    probabilities = adapt(prediction.probabilities, estimate)
    findings = findings_by(probabilities[None], model, prediction.rule)
    timeline = prediction.timeline
    if timeline is not None:
        of_windows, present = adapt(timeline.probabilities, estimate), timeline.present.copy()
        usable = timeline.usable
        present[usable] = findings_by(of_windows[usable], model, prediction.rule).present
        timeline = replace(timeline, present=present, probabilities=of_windows)
    return replace(
        prediction,
        probabilities=probabilities,
        present=findings.present[0],
        uncertain=findings.uncertain[0],
        timeline=timeline,
    )


def summarise_model(model: TrainedModel) -> ModelSummary:
    """Return a model's name, and a phrase on the records that it was trained on."""
    method = model.method
    name = f"{method.name} ({method.source}), {model.lead_set} leads"
    return ModelSummary(name, describe_training(model.training_log))


def findings_by(probabilities, model: TrainedModel, rule: str) -> Findings:
    """Return the findings of records by the rule; probabilities: (n_records, 26), by the
    predictor."""
    if rule == "challenge":
        present = decide(probabilities, model.decision)
        return Findings(present, np.zeros_like(present))
    points = model.decision.points or default_points()
    return call_findings(calibrate(probabilities, points.temperature), points)


def _measure(record: Record) -> GlobalMeasurements:
    return measure_globally(select_leads(record, TWELVE_LEADS), record.fs)


@dataclass(frozen=True)
class _Window:
    """What is known of a window of a long recording. start_s: from the recording's start."""

    start_s: float
    usable: bool
    measurements: GlobalMeasurements


def _predict_windows(blocks: Iterable[Record], predictor: Predictor, rule: str):
    """(timeline, duration in s, mean probabilities (26,) or None, median measurements)."""
    windows, duration_s = [], 0.0

    def usable_records() -> Iterator[Record]:
        nonlocal duration_s
        for block in blocks:
            for record, window in _windows(block, duration_s):
                windows.append(window)
                if window.usable:
                    yield record
            duration_s += block.signal.shape[1] / block.fs

    answers = list(predictor.probabilities_of(usable_records()))
    usable = np.array([window.usable for window in windows])
    # A window may still be unusable for the network, which has fewer leads.
    usable[usable] = [not isinstance(answer, Exception) for answer in answers]
    present = np.zeros((len(windows), N_CLASSES), bool)
    of_windows = np.full((len(windows), N_CLASSES), np.nan)
    probabilities = np.array([answer for answer in answers if not isinstance(answer, Exception)])
    mean, measurements = None, NOT_MEASURED
    if len(probabilities):
        of_windows[usable] = probabilities
        present[usable] = findings_by(probabilities, predictor.model, rule).present
        mean = probabilities.mean(axis=0)
        measurements = _medians([window.measurements for window in windows if window.usable])
    rates = [window.measurements.heart_rate_bpm for window in windows]
    timeline = Timeline(
        np.array([window.start_s for window in windows]),
        usable,
        np.array([math.nan if rate is None else rate for rate in rates]),
        present,
        of_windows,
    )
    return timeline, duration_s, mean, measurements


def _windows(block: Record, block_start_s: float) -> Iterator[tuple[Record, _Window]]:
    """Yield a block's windows of 10 s, the last one at least 5 s, and what is known of each."""
    length = window_length(block.fs, TIMELINE_WINDOW_S)
    n_samples = block.signal.shape[1]
    for start in range(0, max(n_samples - length // 2, 1), length):
        signal = block.signal[:, start : start + length]
        record = replace(block, signal=signal, warnings=(), notes=())
        usable = assess_quality(signal, block.fs, block.leads).usable
        measurements = _measure(record) if usable else NOT_MEASURED
        yield record, _Window(block_start_s + start / block.fs, usable, measurements)


def _medians(measured: list[GlobalMeasurements]) -> GlobalMeasurements:
    """Medians over windows of each measurement, None where no window has one."""
    columns = zip(*map(astuple, measured), strict=True)
    found = ([value for value in column if value is not None] for column in columns)
    return GlobalMeasurements(*(float(np.median(values)) if values else None for values in found))


def _lead_notes(record: Record, lead_set: int) -> list[str]:
    """Sentences on the leads that the model uses."""
    used = LEAD_SETS[lead_set]
    notes = [f"{lead_set}-lead model, using {', '.join(used)}"]
    unused = [lead for lead in record.leads if lead not in used]
    if unused:
        notes.append(f"not used: {', '.join(unused)}")
    missing = [lead for lead in used if lead not in record.leads]
    if missing:
        notes.append(f"missing, replaced by a flat line: {', '.join(missing)}")
    return notes


def _preparation_notes(record: Record, preparation: Preparation) -> list[str]:
    """Sentences on how the signal was prepared."""
    notes = []
    duration_s = record.signal.shape[1] / record.fs
    if record.fs != preparation.fs:
        notes.append(f"resampled from {record.fs:g} Hz to {preparation.fs:g} Hz")
    if duration_s > preparation.duration_s:
        notes.append(f"only the first {preparation.duration_s:g} s of {duration_s:.0f} s were used")
    elif duration_s < preparation.window_s:
        notes.append(
            f"{duration_s:.1f} s long, shorter than the expected {preparation.window_s:g} s"
        )
    share_missing = np.isnan(record.signal).mean()
    if share_missing > 0:
        notes.append(f"{share_missing:.1%} of the samples are missing")
    return notes
