"""Read EDF and EDF+ files with edfio."""

from pathlib import Path

from ecg.records.formats.building import MAX_DURATION_S, build_record, library_errors
from ecg.records.formats.channel_labels import is_lead, parse_lead, units_per_mv
from ecg.records.headers import RecordError
from ecg.records.record import Record


def read_edf(path: Path, start_s: float = 0.0, duration_s: float = MAX_DURATION_S) -> Record:
    """Read the signals labelled as leads, from `start_s` on. Raises RecordError naming the file."""
    with library_errors(path, "EDF"):
        import edfio

        # Memory-maps the file.
        file = edfio.read_edf(path)
        signals = {parse_lead(s.label): s for s in file.signals if is_lead(s.label)}
        rates = {signal.sampling_frequency for signal in signals.values()}
        if len(rates) != 1:
            found = ", ".join(f"{rate:g} Hz" for rate in sorted(rates)) or "no leads"
            raise RecordError(f"{path}: expected leads of one sampling rate, found {found}")
        fs = float(rates.pop())
        # Whole seconds lie on samples; the end of the file may not.
        end_s = min(start_s + duration_s, file.duration)
        values = [
            signal.get_data_slice(min(start_s, end_s), end_s)
            / _per_mv(path, signal.physical_dimension)
            for signal in signals.values()
        ]
        return build_record(path, values, fs, tuple(signals), sex=_sex(file))


def _per_mv(path: Path, unit: str) -> float:
    try:
        return units_per_mv(unit.strip())
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error


def _sex(file) -> str:
    # EDF+: "code sex birthdate name".
    fields = str(file.local_patient_identification).split()
    return {"M": "Male", "F": "Female"}.get(fields[1] if len(fields) > 1 else "", "Unknown")
