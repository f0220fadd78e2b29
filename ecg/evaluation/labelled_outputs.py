"""Scores, intervals, curves and confusions of the output files for labelled records."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecg.evaluation.confidence_intervals import (
    Interval,
    draw_resamples,
    percentile_interval,
    resampled_summaries,
)
from ecg.records.diagnoses import SINUS_RHYTHM, encode_dx
from ecg.records.discovery import RecordFiles, find_records, read_header_text, sources_of
from ecg.records.headers import Header, RecordError, parse_header, read_dx
from ecg.records.leads import lead_set_for
from ecg.records.metrics import count_classes, rewards_by_record, score
from ecg.records.outputs import read_outputs
from ecg.runtime.progress import track
from ecg.simulation.names import is_simulated

_CURVE_POINTS = 100  # of a curve, at most
_BINS = 10  # of probabilities, of equal width
_AGE_BANDS = ((0, 18), (18, 40), (40, 60), (60, 80), (80, np.inf))


@dataclass(frozen=True)
class LabelledOutputs:
    """Records of one lead set with their labels and outputs.

    lead_set: number of leads. files, sources, sexes: (n_records,), objects.
    ages, in years, and fs, in Hz: (n_records,), NaN where unknown.
    labels, outputs: (n_records, 26), bool. probabilities: (n_records, 26).
    """

    lead_set: int
    files: np.ndarray
    sources: np.ndarray
    sexes: np.ndarray
    ages: np.ndarray
    fs: np.ndarray
    labels: np.ndarray
    outputs: np.ndarray
    probabilities: np.ndarray

    def __len__(self):
        return len(self.files)

    @property
    def simulated(self) -> np.ndarray:
        """(n_records,), bool: which records have the name of a simulated one."""
        return np.array([is_simulated(file.name) for file in self.files], bool)

    def part(self, chosen) -> "LabelledOutputs":
        """Return the chosen records, by index or by a bool for each."""
        arrays = ("files", "sources", "sexes", "ages", "fs", "labels", "outputs", "probabilities")
        return replace(self, **{name: getattr(self, name)[chosen] for name in arrays})


def read_labelled_outputs(
    label_folder: str | Path, output_folder: str | Path
) -> dict[int, LabelledOutputs]:
    """Lead set -> its records below `label_folder` with their outputs, the largest set first.

    A record of whose header only the diagnoses can be read counts as one with twelve leads and
    unknown age, sex and sampling rate.
    Raises RecordError where there are no records, FileNotFoundError naming a missing output file.
    """
    files = find_records(label_folder)
    if not files:
        raise RecordError(f"{label_folder}: expected records (NAME.hea), found none")
    paths = (Path(output_folder) / f"{file.name}.csv" for file in files)
    outputs, probabilities = read_outputs(paths)
    headers = [_read_header(file) for file in track(files, len(files), "reading labels", 2)]
    answered = LabelledOutputs(
        lead_set=0,
        files=np.array(files, object),
        sources=np.full(len(files), "", object),
        sexes=np.array([header.sex for header in headers], object),
        ages=np.array([header.age for header in headers], float),
        fs=np.array([header.fs for header in headers], float),
        labels=np.stack([encode_dx(header.dx) for header in headers]),
        outputs=outputs,
        probabilities=probabilities,
    )
    lead_sets = np.array([lead_set_for(header.leads) if header.leads else 12 for header in headers])
    by_lead_set = {}
    for lead_set in sorted(set(lead_sets.tolist()), reverse=True):
        group = answered.part(lead_sets == lead_set)
        # Within the lead set and the origin, as a folder for each of them is not a source.
        sources = group.sources.copy()
        for part in (group.simulated, ~group.simulated):
            if part.any():
                sources[part] = sources_of(list(group.files[part]))
        by_lead_set[lead_set] = replace(group, lead_set=lead_set, sources=sources)
    return by_lead_set


def summary(answered: LabelledOutputs, weights) -> dict[str, float]:
    """Return the Challenge's five metrics."""
    return score(answered.labels, answered.outputs, answered.probabilities, weights).summary


def always_sinus(answered: LabelledOutputs) -> LabelledOutputs:
    """Return the same records, each answered as sinus rhythm only, with probability 1."""
    outputs = np.zeros_like(answered.outputs)
    outputs[:, SINUS_RHYTHM] = True
    return replace(answered, outputs=outputs, probabilities=outputs.astype(float))


def intervals(
    answered: LabelledOutputs, weights, other: LabelledOutputs | None = None, seed: int = 0
) -> Iterator[dict[str, Interval]]:
    """Bootstrap intervals of the five metrics, from 200 resamples of the records.

    other: other outputs for the same records; a second dict then follows, with the differences
    between the metrics of `answered` and of `other` on the same resamples.
    """
    resamples = draw_resamples(len(answered), seed)
    whole, resampled = summary(answered, weights), _resampled(answered, weights, resamples)
    yield {name: percentile_interval(whole[name], resampled[name]) for name in whole}
    if other is not None:
        other_whole, other_resampled = (
            summary(other, weights),
            _resampled(other, weights, resamples),
        )
        yield {
            name: percentile_interval(
                whole[name] - other_whole[name], resampled[name] - other_resampled[name]
            )
            for name in whole
        }


def lost_scores(answered: LabelledOutputs, weights) -> np.ndarray:
    """Return the loss of each record (n_records,) in the Challenge metric against a correct answer.

    The sum is 1 - the metric; negative where an answer is rewarded more than the truth.
    """
    correct = rewards_by_record(answered.labels, answered.labels, weights)
    sinus = rewards_by_record(answered.labels, always_sinus(answered).outputs, weights)
    observed = rewards_by_record(answered.labels, answered.outputs, weights)
    possible = correct.sum() - sinus.sum()
    return (correct - observed) / possible if possible else np.zeros(len(answered))


def subgroups_of(answered: LabelledOutputs) -> dict[str, dict[str, np.ndarray]]:
    """Property -> value -> which records have it (n_records,), bool.

    The properties are origin (real or simulated), source, sex, age and sampling rate.
    """
    ages, fs = answered.ages, answered.fs
    bands = {_band_name(low, high): (low <= ages) & (ages < high) for low, high in _AGE_BANDS}
    rates = {f"{rate:g} Hz": fs == rate for rate in np.unique(fs[np.isfinite(fs)])}
    groups = {
        "origin": {"real": ~answered.simulated, "simulated": answered.simulated},
        "source": {name or "-": answered.sources == name for name in sorted(set(answered.sources))},
        "sex": {name: answered.sexes == name for name in sorted(set(answered.sexes))},
        "age": bands | {"unknown": np.isnan(ages)},
        "sampling rate": rates | {"unknown": np.isnan(fs)},
    }
    return {
        name: {value: chosen for value, chosen in values.items() if chosen.any()}
        for name, values in groups.items()
    }


def confusion_counts(answered: LabelledOutputs) -> np.ndarray:
    """Numbers of records (26, 26) with each true and each predicted class.

    On the diagonal those where both are the class; elsewhere those where the row's class was true
    and the column's was predicted, but not true.
    """
    labels, outputs = answered.labels.astype(int), answered.outputs
    return np.diag((answered.labels & outputs).sum(axis=0)) + labels.T @ (
        outputs & ~answered.labels
    )


def confusion_costs(answered: LabelledOutputs, weights) -> np.ndarray:
    """Gains and losses of the outputs (26, 26), in records.

    On the diagonal the gain of each class; elsewhere, at most 0, the loss by wrongly predicting the
    column's class where the row's was true. A record contributes one at most. A pair of classes
    that are both true and both predicted is not a confusion.
    """
    labels, outputs = answered.labels, answered.outputs
    share = 1 / count_classes(labels, outputs)
    right = share @ (labels & outputs)
    wrong = labels.T.astype(float) @ (share[:, None] * (outputs & ~labels))
    return np.diag(right * np.diag(weights)) - wrong * (1 - weights)


def roc_curve(label, probability) -> np.ndarray:
    """Points (n_points, 2), false and true positive rate, from (0, 0) to (1, 1).

    label: (n_records,), bool, with both values.
    """
    true, false = _counts_above(label, probability)
    return _thinned(np.stack([false / false[-1], true / true[-1]], axis=1))


def precision_recall_curve(label, probability) -> np.ndarray:
    """Points (n_points, 2), recall and precision, at each threshold where the recall rises.

    From the highest threshold down; between two points the precision is that of the second.
    label: (n_records,), bool, at least one of them true.
    """
    true, false = _counts_above(label, probability)
    rising = np.flatnonzero(np.diff(true)) + 1
    true, false = true[rising], false[rising]
    return _thinned(np.stack([true / true[-1], true / (true + false)], axis=1))


def calibration(labels, probabilities) -> np.ndarray:
    """Calibration (10, 3) in bins of width 0.1: number of probabilities, their mean, share of true
    labels; the latter two are NaN for an empty bin."""
    labels, probabilities = np.ravel(labels), np.ravel(probabilities)
    bins = np.minimum((probabilities * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(bins, minlength=_BINS)
    sums = (np.bincount(bins, values, _BINS) for values in (probabilities, labels))
    with np.errstate(invalid="ignore"):
        return np.stack([counts, *(total / counts for total in sums)], axis=1)


def calibration_error(labels, probabilities) -> float:
    """Return the mean distance between probability and share of true labels, bins weighted by
    size."""
    counts, expected, observed = calibration(labels, probabilities).T
    filled = counts > 0
    return float(np.average(np.abs(expected - observed)[filled], weights=counts[filled]))


def _read_header(files: RecordFiles) -> Header:
    text = read_header_text(files.header)
    try:
        return parse_header(text)
    except RecordError:
        unknown = float("nan")
        return Header(files.name, unknown, None, (), (), (), (), unknown, "Unknown", read_dx(text))


def _resampled(answered: LabelledOutputs, weights, resamples) -> dict[str, np.ndarray]:
    return resampled_summaries(
        answered.labels, answered.outputs, answered.probabilities, weights, resamples
    )


def _counts_above(label, probability) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of true and false positives at each distinct threshold, from "none" downwards."""
    order = np.argsort(-probability, kind="stable")
    last = np.append(np.diff(probability[order]) != 0, True)
    true, false = (np.cumsum(truth[order])[last] for truth in (label, ~label))
    return np.concatenate([[0], true]), np.concatenate([[0], false])


def _thinned(points: np.ndarray) -> np.ndarray:
    """At most _CURVE_POINTS + 1 of the points, evenly spread along the curve, with both ends."""
    if len(points) <= _CURVE_POINTS:
        return points
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))])
    wanted = np.searchsorted(length, np.linspace(0, length[-1], _CURVE_POINTS))
    return points[np.unique(np.append(wanted, len(points) - 1))]


def _band_name(low: float, high: float) -> str:
    return f"{low} and older" if high == np.inf else f"{low} to {high - 1}"
