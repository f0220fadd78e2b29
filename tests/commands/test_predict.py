import csv
import io
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from ecg.models.model_files import save_model
from ecg.models.predictor import load_predictor
from ecg.pages.predictions import notes_on
from ecg.predict import main
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
from ecg.records.record import Record
from ecg.signals.preprocessing import Preparation
from tests.narrow import untrained_model
from tests.recording_files import write_csv, write_dicom, write_edf, write_muse
from tests.synthetic import beats, write_record

FS = 500.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    for lead_set in (12, 2):
        save_model(untrained_model("multiscale_se", lead_set), folder)
    return folder


@pytest.fixture
def signal():
    return np.round(beats(5000, FS), 3)


def run(capsys, *arguments):
    """What the command printed, and its exit status."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    return printed.out, printed.err, status


def probabilities_of(out) -> list[dict]:
    return [
        {one["abbreviation"]: one["probability"] for one in answer["diagnoses"]}
        for answer in json.loads(out)
    ]


def test_formats_of_one_recording_get_the_same_answer(model, tmp_path, signal, capsys):
    files = [
        write_record(tmp_path, "A1", signal, FS),
        write_csv(tmp_path / "B1.csv", signal),
        write_dicom(tmp_path / "C1.dcm", signal, FS),
        write_edf(tmp_path / "D1.edf", signal, FS),
    ]
    out, _, status = run(capsys, model, *files, "--fs", 500, "--json")
    assert status == 0
    reference, *others = probabilities_of(out)
    # DICOM and EDF round to some microvolts.
    for other in others:
        assert other == pytest.approx(reference, abs=2e-3)
    labels = [[d["present"] for d in answer["diagnoses"]] for answer in json.loads(out)]
    assert labels[0] == labels[1] == labels[2] == labels[3]


def test_the_answer_is_run_models(model, tmp_path, signal, capsys):
    header = write_record(tmp_path, "A1", signal, FS)
    out, _, _ = run(capsys, model, header, "--json")
    answer = load_predictor(model, 12).answer(
        header.read_text(), np.round(signal * 1000).astype(np.int16)
    )
    (found,) = json.loads(out)
    by_code = {
        code: (one["probability"], int(one["present"]))
        for one in found["diagnoses"]
        for code in one["codes"]
    }
    expected = dict(
        zip(answer.codes, zip(answer.probabilities, answer.labels, strict=True), strict=True)
    )
    assert by_code.keys() == expected.keys()
    for code, (probability, label) in expected.items():
        assert by_code[code] == (pytest.approx(probability, abs=1e-6), label)
    assert (found["lead_set"], found["fs_hz"], found["duration_s"]) == (12, 500, 10)


def test_the_table_is_readable_and_says_what_was_done(model, tmp_path, signal, capsys):
    leads = ("I", "II", "V5")
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    file = write_csv(tmp_path / "A1.csv", signal[rows], leads)
    out, _, _ = run(capsys, model, file, "--fs", 250)
    assert "20.0 s at 250 Hz, I, II, V5" in out
    assert "answered by the 2-lead model, from I, II" in out
    assert "not used: V5" in out
    assert "resampled from 250 Hz to 100 Hz" in out
    assert "the first 10 s of 20 s were read" in out
    assert "Not a medical device" in out
    table = [line for line in out.splitlines() if "%" in line and "(" in line]
    assert len(table) >= 1
    assert table[0].split()[0] == "yes"


def test_csv_has_a_line_for_each_diagnosis(model, tmp_path, signal, capsys):
    files = [write_record(tmp_path, name, signal, FS) for name in ("A1", "A2")]
    out, _, _ = run(capsys, model, *files, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == 2 * len(DIAGNOSES)
    assert {line["file"] for line in lines} == set(map(str, files))
    assert {line["codes"] for line in lines} == {diagnosis.group for diagnosis in DIAGNOSES}
    assert all(0 <= float(line["probability"]) <= 1 for line in lines)


def test_a_bad_file_costs_the_others_nothing(model, tmp_path, signal, capsys):
    flat, good = np.zeros_like(signal), write_record(tmp_path, "B1", signal, FS)
    bad = [tmp_path / "missing", write_record(tmp_path, "A1", flat, FS)]
    out, err, status = run(capsys, model, *bad, good, "--json")
    assert status == 1
    assert [answer["file"] for answer in json.loads(out)] == [str(good)]
    first, second = err.splitlines()
    assert "missing: expected a WFDB record" in first
    assert "A1.hea: expected a signal in one of the leads" in second


def test_wrong_options_are_one_line(tmp_path, model, capsys):
    for arguments, message in (
        ((tmp_path, "x.csv"), "expected a folder with trained models"),
        ((model, "x.csv", "--unit", "kV"), "expected mV, uV, V or adu/GAIN"),
    ):
        (tmp_path / "x.csv").write_text("I,II\n0,1\n")
        file = tmp_path / arguments[1]
        _, _, status = run(capsys, arguments[0], file, "--fs", 500, *arguments[2:])
        assert message in status
        assert "\n" not in status


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('I,II\n0,"1\n2,3\n', "line 2: expected a number"),
        ('I,II\n0,"' + "1" * 140_000, "line 2: field larger than field limit"),
        ("I" * 200_000 + "\n1\n", "expected names of leads"),
    ],
)
def test_a_table_that_is_none_costs_the_others_nothing(
    content, message, model, tmp_path, signal, capsys
):
    good = write_record(tmp_path, "A1", signal, FS)
    (tmp_path / "odd.csv").write_text(content)
    odd = [tmp_path / "odd.csv", ".", "/"]
    out, err, status = run(capsys, model, *odd, good, "--fs", 500, "--json")
    assert status == 1
    assert len(json.loads(out)) == 1
    first, *folders = err.splitlines()
    assert first.startswith(f"ecg.predict: {tmp_path}/odd.csv")
    assert message in first
    assert len(first) < 500
    assert [line.split(": ")[1] for line in folders] == [".", "/"]


@pytest.mark.parametrize("fs", ["nan", "0", "-1", "inf", "1e9", "fast"])
def test_a_rate_that_is_none_is_refused_with_its_option(fs, model, capsys):
    _, err, status = run(capsys, model, "x.csv", f"--fs={fs}")
    assert status == 2
    assert f"--fs: expected a sampling rate of 50 to 4000 Hz, found '{fs}'" in err


def test_a_page_that_cannot_be_written_is_told_before_the_work(model, tmp_path, capsys):
    page = tmp_path / "missing" / "page.html"
    out, _, status = run(capsys, model, tmp_path / "none.hea", "--explain", page)
    assert (out, status) == (
        "",
        f"ecg.predict: {page}: expected an existing folder {page.parent}, found none",
    )


def test_a_missing_model_costs_the_files_that_need_it_alone(model, tmp_path, signal, capsys):
    only_twelve = tmp_path / "model"
    only_twelve.mkdir()
    for file in model.glob("12_leads.*"):
        shutil.copy(file, only_twelve)
    twelve = write_record(tmp_path, "A1", signal, FS)
    two = write_record(tmp_path, "B1", signal, FS, LEAD_SETS[2])
    out, err, status = run(capsys, only_twelve, two, twelve, "--json")
    assert status == 1
    assert [one["lead_set"] for one in json.loads(out)] == [12]
    assert err.startswith(f"ecg.predict: {two}: not answered: {only_twelve}/2_leads.json: expected")


def test_the_largest_model_that_fits_answers(model, tmp_path, signal, capsys):
    # The folder has models of 12 and 2 leads.
    six = write_record(tmp_path, "A1", signal, FS, LEAD_SETS[6])
    out, _, status = run(capsys, model, six, "--json")
    assert (status, json.loads(out)[0]["lead_set"]) == (0, 2)


def test_notes_name_what_is_missing_flat_short_or_gone():
    signal = beats(1500, FS)[:2].astype(np.float32)
    signal[0, :150] = np.nan
    record = Record("A1", signal, FS, ("II", "V1"), 60.0, "Male", ())
    assert notes_on(record, 2, Preparation(fs=500.0)) == (
        "answered by the 2-lead model, from I, II",
        "not used: V1",
        "missing and taken as flat: I",
        "3.0 s long; 10 s are expected",
        "10.0% of the samples are missing",
    )
    dead = Record("A1", np.full((1, 5000), 3.0, np.float32), FS, ("I",), 60.0, "Male", ())
    assert "without a signal: I" in notes_on(dead, 2, Preparation(fs=500.0))


def test_leads_name_the_columns_of_a_table_without_a_header(model, tmp_path, signal, capsys):
    named = write_csv(tmp_path / "A1.csv", signal[:2], LEAD_SETS[2])
    bare = tmp_path / "B1.csv"
    bare.write_text("".join(named.read_text().splitlines(keepends=True)[1:]))
    options = ("--fs", 500, "--json")
    out, _, status = run(capsys, model, bare, *options, "--leads", "I,lead II")
    assert status == 0
    assert probabilities_of(out) == probabilities_of(run(capsys, model, named, *options)[0])
    _, err, status = run(capsys, model, bare, *options, "--leads", "I,X7")
    assert status == 2
    assert "--leads: expected some of I,II,III,aVR" in err


def test_what_was_done_to_the_leads_is_told(model, tmp_path, signal, capsys):
    file = write_muse(tmp_path / "export", signal, FS)
    out, _, status = run(capsys, model, file, "--json")
    (answer,) = json.loads(out)
    assert (status, answer["lead_set"]) == (0, 12)
    assert "III, aVR, aVL, aVF computed from I and II" in answer["notes"]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.headings, self.outside, self.last = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.outside += [value for name, value in attributes if name in ("src", "href")]
        self.last = tag

    def handle_data(self, text):
        if self.last in ("h2", "h3") and text.strip():
            self.headings.append(text.strip())


def test_the_explanation_is_one_page_with_a_figure_for_each_diagnosis(
    model, tmp_path, signal, capsys
):
    record = write_record(tmp_path, "A1", signal, FS)
    file = write_csv(tmp_path / "<b>.csv", np.tile(signal[:2], 2), LEAD_SETS[2])
    page = tmp_path / "page.html"
    out, _, status = run(capsys, model, record, file, "--fs", 500, "--json", "--explain", page)
    assert status == 0
    text = page.read_text()
    parsed = _Page()
    parsed.feed(text)
    answers = json.loads(out)
    present = [
        f"{one['name']} ({one['abbreviation']})"
        for answer in answers
        for one in answer["diagnoses"]
        if one["present"]
    ]
    assert [head for head in parsed.headings if head in present] == present
    assert text.count('class="ecg"') == len(present)
    assert "first 10 s alone" not in text  # the network itself reads no more
    assert all(place.startswith(("#", "data:")) for place in parsed.outside)
    assert "<b>.csv" not in text
    assert len(text) < 250_000 * len(present)
