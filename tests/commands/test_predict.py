import csv
import io
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle

from ecg.models.model_files import save_model
from ecg.models.predictor import load_predictor
from ecg.pages import NOTICE
from ecg.predict import main
from ecg.records.diagnoses import DIAGNOSES
from ecg.records.leads import LEAD_SETS, TWELVE_LEADS
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
    """Return the command's stdout, stderr and exit status."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr()
    return printed.out, printed.err, status


def probabilities_of(out) -> list[dict]:
    return [
        {diagnosis["abbreviation"]: diagnosis["probability"] for diagnosis in file["diagnoses"]}
        for file in json.loads(out)
    ]


def test_a_recording_gets_the_same_prediction_in_every_format(model, tmp_path, signal, capsys):
    files = [
        write_record(tmp_path, "A1", signal, FS),
        write_csv(tmp_path / "B1.csv", signal),
        write_dicom(tmp_path / "C1.dcm", signal, FS),
        write_edf(tmp_path / "D1.edf", signal, FS),
    ]
    out, _, status = run(capsys, model, *files, "--fs", 500, "--json")
    assert status == 0
    reference, *others = probabilities_of(out)
    # DICOM and EDF round to a few microvolts.
    for other in others:
        assert other == pytest.approx(reference, abs=2e-3)
    labels = [[d["present"] for d in file["diagnoses"]] for file in json.loads(out)]
    assert labels[0] == labels[1] == labels[2] == labels[3]


def test_the_prediction_is_that_of_run_model(model, tmp_path, signal, capsys):
    header = write_record(tmp_path, "A1", signal, FS)
    out, _, _ = run(capsys, model, header, "--json", "--rule", "challenge")
    answer = load_predictor(model, 12).answer(
        header.read_text(), np.round(signal * 1000).astype(np.int16)
    )
    (found,) = json.loads(out)
    by_code = {
        code: (diagnosis["probability"], int(diagnosis["present"]))
        for diagnosis in found["diagnoses"]
        for code in diagnosis["codes"]
    }
    expected = dict(
        zip(answer.codes, zip(answer.probabilities, answer.labels, strict=True), strict=True)
    )
    assert by_code.keys() == expected.keys()
    for code, (probability, label) in expected.items():
        assert by_code[code] == (pytest.approx(probability, abs=1e-6), label)
    assert (found["lead_set"], found["fs_hz"], found["duration_s"]) == (12, 500, 10)


def test_the_table_lists_notes_and_diagnoses(model, tmp_path, signal, capsys):
    leads = ("I", "II", "V5")
    rows = [TWELVE_LEADS.index(lead) for lead in leads]
    file = write_csv(tmp_path / "A1.csv", beats(5000, 250)[rows], leads)
    out, _, _ = run(capsys, model, file, "--fs", 250)
    assert "20.0 s at 250 Hz, I, II, V5" in out
    assert "heart rate 75/min, PR " in out
    assert "age unknown, sex unknown" in out
    assert "2-lead model" in out
    assert "not used: V5" in out
    assert "from 250 Hz to 100 Hz" in out
    assert "first 10 s of 20 s" in out
    assert NOTICE in out
    table = [line for line in out.splitlines() if "%" in line and "(" in line]
    assert len(table) >= 1
    assert table[0].split()[0] in ("yes", "probable", "possible")
    assert "model: multiscale_se (AIRCAS_MEL1" in out


def test_csv_has_a_line_per_diagnosis(model, tmp_path, signal, capsys):
    files = [write_record(tmp_path, name, signal, FS) for name in ("A1", "A2")]
    out, _, _ = run(capsys, model, *files, "--csv")
    lines = list(csv.DictReader(io.StringIO(out)))
    assert len(lines) == 2 * len(DIAGNOSES)
    assert {line["file"] for line in lines} == set(map(str, files))
    assert {line["codes"] for line in lines} == {diagnosis.group for diagnosis in DIAGNOSES}
    assert all(0 <= float(line["probability"]) <= 1 for line in lines)


def test_files_beside_a_bad_file_are_predicted(model, tmp_path, signal, capsys):
    good = write_record(tmp_path, "B1", signal, FS)
    flat = write_record(tmp_path, "A1", np.zeros_like(signal), FS)
    files = [tmp_path / "missing", flat, good]
    out, err, status = run(capsys, model, *files, "--json")
    assert status == 1
    missing, unusable, usable = json.loads(out)
    assert [file["file"] for file in (missing, unusable, usable)] == list(map(str, files))
    assert [file["usable"] for file in (missing, unusable, usable)] == [False, False, True]
    assert missing["error"].startswith(f"{tmp_path}/missing: ")
    assert missing["error"] in err
    assert len(err.splitlines()) == 1
    assert "error" not in unusable
    assert unusable["warnings"]
    assert not unusable["diagnoses"]
    assert len(usable["diagnoses"]) == 26


def test_what_is_no_ecg_gets_no_diagnosis(model, tmp_path, capsys):
    noise = np.random.default_rng(0).normal(0, 0.3, (12, 5000))
    file = write_csv(tmp_path / "noise.csv", noise)
    out, _, status = run(capsys, model, file, "--fs", 500)
    assert status == 0
    assert "cannot be judged as an ECG; no diagnoses" in out
    assert "%" not in out
    out, _, _ = run(capsys, model, file, "--fs", 500, "--csv")
    (line,) = csv.DictReader(io.StringIO(out))
    assert (line["usable"], line["codes"], line["present"]) == ("0", "", "")


def test_json_holds_what_the_contract_names(model, tmp_path, signal, capsys):
    out, _, _ = run(capsys, model, write_record(tmp_path, "A1", signal, FS), "--json")
    (found,) = json.loads(out)
    assert (found["usable"], found["rule"], found["lead_set"]) == (True, "clinical", 12)
    assert found["model"].keys() == {"name", "trained_on"}
    assert list(found["measurements"]) == [
        *("heart_rate_bpm", "pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "qrs_axis_deg")
    ]
    assert found["measurements"]["heart_rate_bpm"] == pytest.approx(75, abs=1)
    for diagnosis in found["diagnoses"]:
        assert diagnosis.keys() == {
            *("codes", "abbreviation", "name", "probability", "present", "uncertain")
        }
        assert isinstance(diagnosis["present"], bool)
    assert (found["age_years"], found["sex"]) == (60, "Female")


def test_fhir_is_one_bundle_of_all_files(model, tmp_path, signal, capsys):
    good = write_record(tmp_path, "B1", signal, FS)
    flat = write_record(tmp_path, "A1", np.zeros_like(signal), FS)
    files = [tmp_path / "missing", flat, good]
    out, _, status = run(capsys, model, *files, "--fhir")
    assert status == 1
    resources = [entry["resource"] for entry in json.loads(out)["entry"]]
    Bundle.model_validate_json(out)
    assert str(tmp_path) not in out
    reports = [resource for resource in resources if resource["resourceType"] == "DiagnosticReport"]
    assert [report["identifier"][0]["value"] for report in reports] == ["A1.hea", "B1.hea"]
    assert "cannot be judged" in reports[0]["conclusion"]
    outcomes = [
        resource["issue"][0]
        for resource in resources
        if resource["resourceType"] == "OperationOutcome"
    ]
    assert [issue["details"]["text"] for issue in outcomes] == ["missing", "A1.hea"]
    (found,) = json.loads(run(capsys, model, good, "--json")[0])
    values = {
        resource["code"]["coding"][0]["code"]: resource["valueQuantity"]["value"]
        for resource in resources
        if "valueQuantity" in resource
    }
    assert values["8867-4"] == pytest.approx(found["measurements"]["heart_rate_bpm"], abs=0.05)


def test_a_measurement_outside_its_usual_range_is_not_nothing_abnormal(model, tmp_path, capsys):
    file = write_csv(tmp_path / "slow.csv", beats(5000, FS, 42))
    out, _, _ = run(capsys, model, file, "--fs", 500, "--json")
    (found,) = json.loads(out)
    assert "heart_rate_bpm" in found["outside_usual_range"]
    assert not found["nothing_abnormal"]
    out, _, _ = run(capsys, model, file, "--fs", 500)
    assert "outside the usual range: heart rate (50 to 100)" in out


def test_a_long_recording_is_told_window_by_window(model, tmp_path, capsys):
    slow, fast = beats(60 * 250, 250, 60), beats(60 * 250, 250, 120)
    silence = np.zeros((12, 30 * 250))
    file = write_csv(tmp_path / "long.csv", np.hstack([slow, silence, fast]))
    out, _, status = run(capsys, model, file, "--fs", 250, "--json")
    (found,) = json.loads(out)
    timeline = found["timeline"]
    assert (status, found["usable"], found["duration_s"]) == (0, True, 150)
    assert timeline["start_s"] == list(range(0, 150, 10))
    assert timeline["usable"] == [True] * 6 + [False] * 3 + [True] * 6
    rates = timeline["heart_rate_bpm"]
    assert rates[:6] == pytest.approx([60] * 6, abs=1)
    assert rates[6:9] == [None] * 3
    assert rates[9:] == pytest.approx([120] * 6, abs=2)
    assert len(timeline["present"]) == 15
    assert not any(timeline["present"][6:9])
    out, _, _ = run(capsys, model, file, "--fs", 250)
    assert "00:02:30 at 250 Hz" in out
    assert "over time: 12 of 15 windows of 10 s usable, heart rate 60 to 120/min" in out


def test_a_folder_stands_for_the_ecg_files_in_it(model, tmp_path, signal, capsys):
    folder = tmp_path / "ward"
    folder.mkdir()
    record = write_record(folder, "A1", signal, FS)
    edf = write_edf(folder / "B1.edf", signal, FS)
    (folder / "readme.md").write_text("no ECG\n")
    out, err, status = run(capsys, model, folder, "--json")
    assert status == 0
    assert [file["file"] for file in json.loads(out)] == [str(record), str(edf)]
    assert err == f"ecg.predict: {folder}: not ECG files, left out: {folder / 'readme.md'}\n"
    (tmp_path / "empty").mkdir()
    out, err, status = run(capsys, model, tmp_path / "empty", record, "--json")
    assert status == 1
    assert [file["usable"] for file in json.loads(out)] == [False, True]


def test_errors_in_options_are_one_line(tmp_path, model, capsys):
    for arguments, message in (
        ((tmp_path, "x.csv"), str(tmp_path)),
        ((model, "x.csv", "--unit", "kV"), "kV"),
    ):
        (tmp_path / "x.csv").write_text("I,II\n0,1\n")
        file = tmp_path / arguments[1]
        _, _, status = run(capsys, arguments[0], file, "--fs", 500, *arguments[2:])
        assert message in status
        assert "\n" not in status


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('I,II\n0,"1\n2,3\n', "line 2"),
        ('I,II\n0,"' + "1" * 140_000, "line 2"),
        ("I" * 200_000 + "\n1\n", "lead names"),
    ],
)
def test_files_beside_a_broken_table_are_predicted(
    content, message, model, tmp_path, signal, capsys
):
    good = write_record(tmp_path, "A1", signal, FS)
    (tmp_path / "broken.csv").write_text(content)
    broken = tmp_path / "broken.csv"
    out, err, status = run(capsys, model, broken, good, "--fs", 500, "--json")
    assert status == 1
    assert [file["usable"] for file in json.loads(out)] == [False, True]
    (line,) = err.splitlines()
    assert line.startswith(f"ecg.predict: {broken}")
    assert message in line
    assert len(line) < 500


@pytest.mark.parametrize("fs", ["nan", "0", "-1", "inf", "1e9", "fast"])
def test_an_impossible_sampling_rate_is_refused(fs, model, capsys):
    _, err, status = run(capsys, model, "x.csv", f"--fs={fs}")
    assert status == 2
    assert "--fs: expected a sampling rate of 50 to 4000 Hz" in err
    assert f"'{fs}'" in err


def test_the_place_of_the_explanation_page_is_checked_first(model, tmp_path, capsys):
    page = tmp_path / "missing" / "page.html"
    out, err, status = run(capsys, model, tmp_path / "none.hea", "--explain", page)
    assert (out, err) == ("", "")
    assert status.startswith(f"ecg.predict: {page}: ")


def test_a_missing_model_concerns_only_the_files_that_need_it(model, tmp_path, signal, capsys):
    only_twelve = tmp_path / "model"
    only_twelve.mkdir()
    for file in model.glob("12_leads.*"):
        shutil.copy(file, only_twelve)
    twelve = write_record(tmp_path, "A1", signal, FS)
    two = write_record(tmp_path, "B1", signal, FS, LEAD_SETS[2])
    out, err, status = run(capsys, only_twelve, two, twelve, "--json")
    assert status == 1
    failed, predicted = json.loads(out)
    assert "error" in failed
    assert predicted["lead_set"] == 12
    assert err.startswith(f"ecg.predict: {two}: ")
    assert f"{only_twelve}/2_leads.json" in err


def test_the_model_with_the_most_usable_leads_is_chosen(model, tmp_path, signal, capsys):
    # The folder has models of 12 and 2 leads.
    six = write_record(tmp_path, "A1", signal, FS, LEAD_SETS[6])
    out, _, status = run(capsys, model, six, "--json")
    assert (status, json.loads(out)[0]["lead_set"]) == (0, 2)


def test_notes_state_missing_and_short_signals(model, tmp_path, capsys):
    signal = beats(1500, FS)[[1, 6]]
    file = write_csv(tmp_path / "A1.csv", signal, ("II", "V1"))
    out, _, _ = run(capsys, model, file, "--fs", 500, "--json")
    (found,) = json.loads(out)
    assert {
        "2-lead model, using I, II",
        "not used: V1",
        "missing, replaced by a flat line: I",
        "3.0 s long, shorter than the expected 10 s",
    } < set(found["notes"])


def test_leads_option_names_the_columns_of_a_table_without_names(model, tmp_path, signal, capsys):
    named = write_csv(tmp_path / "A1.csv", signal[:2], LEAD_SETS[2])
    bare = tmp_path / "B1.csv"
    bare.write_text("".join(named.read_text().splitlines(keepends=True)[1:]))
    options = ("--fs", 500, "--json")
    out, _, status = run(capsys, model, bare, *options, "--leads", "I,lead II")
    assert status == 0
    assert probabilities_of(out) == probabilities_of(run(capsys, model, named, *options)[0])
    _, err, status = run(capsys, model, bare, *options, "--leads", "I,X7")
    assert status == 2
    assert "--leads: " in err
    assert "X7" in err


def test_derived_leads_are_noted(model, tmp_path, signal, capsys):
    file = write_muse(tmp_path / "export", signal, FS)
    out, _, status = run(capsys, model, file, "--json")
    (found,) = json.loads(out)
    assert (status, found["lead_set"]) == (0, 12)
    assert "III, aVR, aVL, aVF computed from I and II" in found["notes"]


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.headings, self.links, self.last = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("src", "href")]
        self.last = tag

    def handle_data(self, text):
        if self.last in ("h2", "h3") and text.strip():
            self.headings.append(text.strip())


def test_the_explanation_is_a_self_contained_page_of_every_file(model, tmp_path, signal, capsys):
    record = write_record(tmp_path, "A1", signal, FS)
    file = write_csv(tmp_path / "<b>.csv", np.tile(signal[:2], 2), LEAD_SETS[2])
    broken = tmp_path / "broken.csv"
    broken.write_text("no ECG\n")
    page = tmp_path / "page.html"
    files = (record, file, broken)
    out, _, status = run(capsys, model, *files, "--fs", 500, "--json", "--explain", page)
    assert status == 1  # of the broken file
    text = page.read_text()
    parsed = _Page()
    parsed.feed(text)
    explained = [
        f"What “{diagnosis['name']}” rests on"
        for prediction in json.loads(out)
        for diagnosis in prediction["diagnoses"]
        if diagnosis["present"] or diagnosis["uncertain"]
    ]
    assert explained
    assert [head for head in parsed.headings if head.startswith("What")] == explained
    assert text.count('class="ecg"') == 2
    assert "could not be read" in text
    assert "tracing and marks of the first" not in text  # the model itself reads no more
    assert all(link.startswith(("#", "data:")) for link in parsed.links)
    assert "<b>.csv" not in text
    assert str(tmp_path) not in text
    assert len(text) < 500_000
