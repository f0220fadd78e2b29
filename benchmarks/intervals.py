"""`python -m benchmarks.intervals [FOLDER]`: how far measured intervals are from the true ones.

Simulated records of every source, whose hearts say when each wave begins and ends; and, where a
FOLDER is given, its ECG files (of any format that `python -m ecg.predict` reads) against what the
cardiograph printed: as the files themselves store it, or as a CSV file says (--printed, with the
columns file, rate, pr, qrs, qt; an empty cell is unknown).

A simulated wave lasts as long as it is at least 2 % of its peak, by the root mean square over the
eight independent leads without any noise; for the Gaussian waves of the simulation that is 2.8
standard deviations to either side. Its intervals are those of the heart's usual beats.

Per interval: the median and the 90th percentile of the absolute error and the median error, all in
ms (the rate: beats a minute), of the records that have a value; the share without one of those that
should have it ("null"); the share with one of those that should have none, such as a PR interval in
atrial fibrillation ("false").
"""

import argparse
import csv
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np

from ecg.records.formats import read_ecg
from ecg.records.headers import RecordError
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS, lead_rows
from ecg.records.record import select_leads
from ecg.signals.global_measurements import GlobalMeasurements
from ecg.signals.measurements import measure_globally
from ecg.signals.preprocessing import resample
from ecg.simulation.heart import BEAT_WAVES, Heart, beat_table, dipole, lead_field
from ecg.simulation.populations import draw_patient
from ecg.simulation.recorders import record_signal
from ecg.simulation.recordings import heart_signal
from ecg.simulation.rhythms import beat_times
from ecg.simulation.sources import SOURCES

INTERVALS = ("rate", "pr", "qrs", "qt")
_FIELDS = ("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms")
_SHARE = 0.02  # of a wave's peak: the wave is over below
_LONGEST_S = 10.0
_FINE_FS = 1000.0  # Hz, at which waves are drawn
_BEFORE_S, _DRAWN_S = 0.6, 1.6  # QRS onset, and length of the drawing
_P_ROWS, _QRS_ROWS, _T_ROWS = (
    [BEAT_WAVES.index(name) for name in names]
    for names in (
        ("right P", "left P"),
        ("first QRS", "main QRS", "late QRS", "last QRS"),
        ("T rise", "T fall"),
    )
)

Measure = Callable[[np.ndarray, float], GlobalMeasurements]


def true_intervals(heart: Heart, kind: str) -> dict[str, float]:
    """pr, qrs and qt, ms, of a simulated beat (heart.BEAT_KINDS); pr is NaN without a P wave."""
    table = beat_table(heart, kind)
    field = lead_field(heart)
    p_onset, _ = _limits_s(table, field, _P_ROWS)
    qrs_onset, qrs_end = _limits_s(table, field, _QRS_ROWS)
    _, t_end = _limits_s(table, field, _T_ROWS)
    return {
        "pr": 1000 * (qrs_onset - p_onset),
        "qrs": 1000 * (qrs_end - qrs_onset),
        "qt": 1000 * (t_end - qrs_onset),
    }


def _limits_s(table, field, rows) -> tuple[float, float]:
    """When the waves of these rows begin and end, s; NaN where the beat has none of them."""
    alone = np.zeros_like(table)
    alone[:, 1] = 1 / _FINE_FS  # a width that is never 0
    alone[rows] = table[rows]
    if not alone[:, 2:].any():
        return math.nan, math.nan
    n_samples = round(_DRAWN_S * _FINE_FS)
    leads = field @ dipole(np.array([_BEFORE_S]), alone[None], _FINE_FS, n_samples)
    size = np.sqrt((leads**2).mean(axis=0))
    lasting = np.flatnonzero(size >= _SHARE * size.max())
    return lasting[0] / _FINE_FS - _BEFORE_S, lasting[-1] / _FINE_FS - _BEFORE_S


def simulated_records(
    n_records: int, lead_set: int = 12, fs: float | None = None, seed: int = 0
) -> Iterator[tuple[np.ndarray, float, dict[str, float]]]:
    """Signal (lead_set, n_samples), mV, its rate in Hz, and the truth of so many records.

    The sources take turns; fs: resampled to that rate, in Hz, instead of each source's own.
    """
    for i in range(n_records):
        name = list(SOURCES)[i % len(SOURCES)]
        source = SOURCES[name]
        rng = np.random.default_rng([seed, crc32(name.encode()), i // len(SOURCES)])
        recorder, patient = source.recorder, draw_patient(source.population, rng)
        duration_s = min(rng.uniform(*source.duration_s), _LONGEST_S)
        onsets, kinds = beat_times(patient.rhythm, duration_s, rng)
        signal = heart_signal(patient, onsets, kinds, duration_s, recorder.fs, rng)
        digital = record_signal(signal, recorder, rng)[lead_rows(lead_set)]
        is_beat = np.array([kind != "P alone" for kind in kinds])
        inside = onsets[is_beat & (onsets > 0) & (onsets < duration_s)]
        usual = {"sinus": "sinus", "paced": patient.rhythm.pacing}.get(patient.rhythm.kind, "no P")
        if patient.rhythm.av_block in ("Mobitz I", "complete"):
            usual = "no P"  # it has no one PR interval
        truth = {"rate": 60 / np.diff(inside).mean()} | true_intervals(patient.heart, usual)
        signal = (digital - recorder.baseline) / recorder.adc_gain
        yield resample(signal, recorder.fs, fs or recorder.fs), fs or recorder.fs, truth


def printed_records(
    folder: Path, printed: Path | None = None
) -> Iterator[tuple[np.ndarray, float, dict[str, float]]]:
    """Signal (12, n_samples), mV, leads that a file lacks as NaN, its rate in Hz, and what the
    cardiograph printed of each file of the folder that is an ECG with any of it."""
    table = None if printed is None else _read_printed(printed)
    for file in sorted(folder.iterdir()):
        if table is not None and file.name not in table:
            continue
        try:
            found = read_ecg(str(file))
        except RecordError as error:
            print(f"left out: {error}")
            continue
        values = [getattr(found.printed, field) for field in _FIELDS]
        truth = {
            name: math.nan if value is None else value
            for name, value in zip(INTERVALS, values, strict=True)
        }
        truth = truth if table is None else table[file.name]
        if not all(map(math.isnan, truth.values())):
            yield select_leads(found, TWELVE_LEADS), found.fs, truth


def _read_printed(path: Path) -> dict[str, dict[str, float]]:
    """File -> the values that were printed for it, NaN where a cell is empty."""
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        missing = {"file", *INTERVALS} - set(rows.fieldnames or ())
        if missing:
            raise ValueError(f"{path}: expected the columns {', '.join(sorted(missing))} as well")
        return {
            row["file"]: {name: float(row[name] or "nan") for name in INTERVALS} for row in rows
        }


def errors(records: Iterable[tuple], measure: Measure = measure_globally) -> dict[str, np.ndarray]:
    """Interval -> (n_records, 2): what was measured, and the truth; NaN where there is none.

    records: signal, rate and truth, as the functions above give them.
    """
    found = {name: [] for name in INTERVALS}
    for signal, fs, truth in records:
        measured = measure(signal, fs)
        for name, field in zip(INTERVALS, _FIELDS, strict=True):
            value = getattr(measured, field)
            found[name].append((math.nan if value is None else value, truth[name]))
    return {name: np.array(pairs, float).reshape(-1, 2) for name, pairs in found.items()}


def report(found: dict[str, np.ndarray]) -> list[str]:
    """Return a line per interval."""
    lines = [f"{'':6}{'records':>8}{'median':>8}{'90 %':>8}{'bias':>8}{'null':>8}{'false':>8}"]
    for name, pairs in found.items():
        is_value, is_true = np.isfinite(pairs).T
        error = np.subtract(*pairs[is_value & is_true].T)
        figures = [math.nan] * 3
        if len(error):
            figures = [np.median(np.abs(error)), np.percentile(np.abs(error), 90), np.median(error)]
        shares = [~is_value[is_true], is_value[~is_true]]
        lines.append(
            f"{name:6}{is_true.sum():8}"
            + "".join(f"{figure:8.1f}" for figure in figures)
            + "".join(f"{share.mean():8.1%}" if len(share) else f"{'-':>8}" for share in shares)
        )
    return lines


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="ECG files with printed values")
    parser.add_argument("--printed", type=Path, metavar="CSV", help="the values that were printed")
    parser.add_argument("--records", type=int, default=500, help="simulated ones")
    parser.add_argument("--fs", type=float, metavar="HZ", help="to resample simulated records to")
    options = parser.parse_args()
    for lead_set in LEAD_SETS:
        print(f"{options.records} simulated records, {lead_set} leads", flush=True)
        records = simulated_records(options.records, lead_set, options.fs)
        print("\n".join(report(errors(records))), flush=True)
    if options.folder:
        print(f"printed values of {options.folder}")
        found = errors(printed_records(options.folder, options.printed))
        # What was not printed may still be there.
        known = {name: pairs[np.isfinite(pairs[:, 1])] for name, pairs in found.items()}
        print("\n".join(report(known)))


if __name__ == "__main__":
    main()
