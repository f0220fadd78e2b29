"""A user's own file -> `Record`: any WFDB record, a table, DICOM ECG waveforms, EDF.

DICOM needs pydicom, EDF needs edfio: see requirements-formats.txt.
"""

import csv
import importlib
import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ecg.headers import RecordError
from ecg.leads import TWELVE_LEADS, canonical_lead
from ecg.record_files import RecordFiles
from ecg.records import Record, read_record
from ecg.signals import window_length

_PER_MV = {"mv": 1.0, "uv": 1e3, "µv": 1e3, "μv": 1e3, "v": 1e-3}
_ADU = re.compile(r"adu/(\d+\.?\d*|\.\d+)", re.IGNORECASE)
_LONGEST_S = 3600.0  # of a file
_QUOTED = 80  # characters of a file that a message shows
_TIME_COLUMNS = {"time", "t", "seconds", "sample", "index", ""}
# Codes of leads: MDC's 2:n (DICOM's own, part 16, CID 3001) and SCP-ECG's 5.6.3-9-n count alike.
_LEAD_OF_NUMBER = dict(zip((1, 2, 61, 62, 63, 64, *range(3, 9)), TWELVE_LEADS, strict=True))
_LEAD_CODE = re.compile(r"(?:2:|5\.6\.3-9-)(\d+)")
_LEAD_WORDS = re.compile(r"\b(?:lead|ecg|ekg)\b|\(.*?\)", re.IGNORECASE)


def units_per_mv(unit: str) -> float:
    """How many of the unit make one mV: of "mV", "uV", "V", or "adu/GAIN", GAIN per mV.

    Raises ValueError for any other.
    """
    adu = _ADU.fullmatch(unit)
    per_mv = float(adu[1]) if adu else _PER_MV.get(unit.lower(), 0.0)
    if not per_mv:
        raise ValueError(f"unit: expected mV, uV, V or adu/GAIN (GAIN > 0), found '{unit}'")
    return per_mv


def read_file(path: str | Path, fs: float | None = None, unit: str = "mV") -> Record:
    """The recording in a file of any known form: a table (.csv, .tsv, .txt), DICOM (.dcm), EDF
    (.edf), or a WFDB record by its header, its signal file or the name of both without ending.

    fs, unit: of a table, see `read_csv`. Of what is longer than an hour the first one is read.
    Raises RecordError naming the file.
    """
    path = Path(path)
    if path.is_dir():
        raise RecordError(f"{path}: expected a file, found a folder")
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv", ".txt"):
        return read_csv(path, fs, unit, _LONGEST_S)
    if ending in (".dcm", ".dicom"):
        return read_dicom(path, _LONGEST_S)
    if ending == ".edf":
        return read_edf(path, _LONGEST_S)
    stem = path.with_suffix("") if ending in (".hea", ".mat", ".dat") else path
    header = stem.with_name(f"{stem.name}.hea")
    if not header.is_file():
        raise RecordError(
            f"{path}: expected a WFDB record (with {header.name}) or a .csv, .dcm or .edf file, "
            f"found {'another' if path.is_file() else 'none'}"
        )
    signals = (stem.with_name(f"{stem.name}{ending}") for ending in (".mat", ".dat"))
    recording = next((file for file in signals if file.is_file()), header)
    return read_record(RecordFiles(header, recording), _LONGEST_S)


def read_csv(path: Path, fs: float | None, unit: str, duration_s: float) -> Record:
    """The record of a table: a line of column names, which are leads, then a line a sample.

    Columns are parted by comma, semicolon or tab; an empty field or NaN is a missing sample; a
    column of times is not read. fs: Hz. unit: see `units_per_mv`.
    Raises RecordError naming the file, and the line where there is one to blame.
    """
    if fs is None:
        raise RecordError(f"{path}: a table has no sampling rate; expected --fs HZ, found none")
    with _open_text(path) as file:
        first = file.readline()
        delimiter = max(",;\t", key=first.count)
        names = [canonical_lead(name.strip(' "')) for name in first.strip().split(delimiter)]
        columns = [i for i, name in enumerate(names) if name.lower() not in _TIME_COLUMNS]
        leads = tuple(names[i] for i in columns)
        _check_leads(path, leads)
        lines = csv.reader(
            itertools.islice(file, window_length(fs, duration_s)), delimiter=delimiter
        )
        try:
            rows = [_numbers(path, i, row, columns) for i, row in enumerate(lines, start=2) if row]
        except csv.Error as error:
            raise RecordError(f"{path}, line {lines.line_num + 1}: {error}") from error
    if not rows:
        raise RecordError(f"{path}: expected a line for each sample, found none")
    signal = np.array(rows, np.float64).T / units_per_mv(unit)
    return _record(path.stem, signal, fs, leads)


def read_dicom(path: Path, duration_s: float) -> Record:
    """The record of a DICOM ECG: of its waveforms the longest that has standard leads.

    Raises RecordError naming the file.
    """
    pydicom = _optional("pydicom", path)
    from pydicom.waveforms import multiplex_array

    def read() -> Record:
        dataset = pydicom.dcmread(path)
        groups = list(dataset.get("WaveformSequence", ()))
        if not groups:
            raise RecordError(f"{path}: expected an ECG waveform, the file has none")
        # Cardiographs add an averaged beat, of a second or so, to the recording.
        best = max(range(len(groups)), key=lambda i: _n_standard_samples(groups[i]))
        group = groups[best]
        channels = group.ChannelDefinitionSequence
        leads = tuple(map(_dicom_lead, channels))
        values = multiplex_array(dataset, best, as_raw=False).T
        per_mv = [_per_mv(path, _dicom_unit(channel)) for channel in channels]
        fs = float(group.SamplingFrequency)
        signal = values[:, : window_length(fs, duration_s)] / np.array(per_mv)[:, None]
        age = re.fullmatch(r"(\d+)Y", str(dataset.get("PatientAge", "")))
        sex = {"M": "Male", "F": "Female"}.get(str(dataset.get("PatientSex", "")), "Unknown")
        return _record(path.stem, signal, fs, leads, float(age[1]) if age else math.nan, sex)

    return _by_library(path, "DICOM", read)


def read_edf(path: Path, duration_s: float) -> Record:
    """The record of an EDF or EDF+ file: its signals with the label of a lead.

    Raises RecordError naming the file.
    """
    edfio = _optional("edfio", path)

    def read() -> Record:
        # The whole file is mapped, not read.
        signals = {_lead_in(signal.label): signal for signal in edfio.read_edf(path).signals}
        signals = {lead: signal for lead, signal in signals.items() if lead in TWELVE_LEADS}
        rates = {signal.sampling_frequency for signal in signals.values()}
        if len(rates) != 1:
            found = ", ".join(f"{rate:g} Hz" for rate in sorted(rates)) or "no lead at all"
            raise RecordError(f"{path}: expected leads of one sampling rate, found {found}")
        fs = float(rates.pop())
        n_samples = window_length(fs, duration_s)
        values = [
            signal.data[:n_samples] / _per_mv(path, signal.physical_dimension)
            for signal in signals.values()
        ]
        return _record(path.stem, np.array(values), fs, tuple(signals))

    return _by_library(path, "EDF", read)


def _open_text(path: Path):
    try:
        return open(path, newline="", encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from error


def _numbers(path: Path, line: int, row: list[str], columns: list[int]) -> list[float]:
    try:
        return [float(row[i]) if row[i].strip() else math.nan for i in columns]
    except (IndexError, ValueError) as error:
        raise RecordError(
            f"{path}, line {line}: expected a number in each of {len(columns)} columns, found "
            f"'{','.join(row)[:_QUOTED]}'"
        ) from error


def _check_leads(path: Path, leads: tuple[str, ...]) -> None:
    strange = [lead for lead in leads if lead not in TWELVE_LEADS]
    if not leads or strange or len(set(leads)) < len(leads):
        raise RecordError(
            f"{path}: expected names of leads ({', '.join(TWELVE_LEADS)}), each once, on line 1; "
            f"found {', '.join(strange or leads)[:_QUOTED] or 'none'}"
        )


def _record(name, signal, fs, leads, age=math.nan, sex="Unknown") -> Record:
    signal = np.where(np.isfinite(signal), signal, np.nan).astype(np.float32)
    return Record(name, signal, fs, leads, age, sex, ())


def _n_standard_samples(group) -> int:
    leads = set(map(_dicom_lead, group.ChannelDefinitionSequence)) & set(TWELVE_LEADS)
    return len(leads) * int(group.NumberOfWaveformSamples)


def _dicom_lead(channel) -> str:
    source = channel.ChannelSourceSequence[0]
    code = _LEAD_CODE.fullmatch(str(source.get("CodeValue", "")))
    known = _LEAD_OF_NUMBER.get(int(code[1])) if code else None
    return known or _lead_in(str(source.get("CodeMeaning", "")))


def _dicom_unit(channel) -> str:
    units = channel.get("ChannelSensitivityUnitsSequence")
    return str(units[0].CodeValue) if units else "none"


def _lead_in(label: str) -> str:
    """The lead that a label such as "Lead I (Einthoven)" or "ECG V2" names."""
    return canonical_lead(_LEAD_WORDS.sub(" ", label).strip(" -_:"))


def _per_mv(path: Path, unit: str) -> float:
    try:
        return units_per_mv(unit.strip())
    except ValueError as error:
        raise RecordError(f"{path}: {error}") from error


def _optional(package: str, path: Path):
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise RecordError(
            f"{path}: reading it needs {package}: pip install -r requirements-formats.txt"
        ) from error


def _by_library(path: Path, kind: str, read: Callable[[], Record]) -> Record:
    """read(), any error of the library as a RecordError."""
    try:
        return read()
    except RecordError:
        raise
    except Exception as error:  # on broken bytes libraries raise whatever the first misstep is
        raise RecordError(f"{path}: unreadable {kind} file: {error}") from error
