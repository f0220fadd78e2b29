import json
import math
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg.models.prediction import ModelSummary, Prediction
from ecg.pages import NOTICE
from ecg.pages.fhir import to_bundle
from ecg.pages.predictions import Failure
from ecg.records.diagnoses import DIAGNOSES, SINUS_RHYTHM
from ecg.records.record import Record
from ecg.signals.global_measurements import NOT_MEASURED, GlobalMeasurements

NOW = datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)
AF = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("AF")
MEASURED = GlobalMeasurements(71.26, 160.0, 92.0, 391.0, 425.2, -12.0)
LOINC = {
    "heart_rate_bpm": "8867-4",
    "pr_ms": "8625-6",
    "qrs_ms": "8633-0",
    "qt_ms": "8634-8",
    "qtc_ms": "76635-2",
    "qrs_axis_deg": "8632-2",
}


def prediction(file="ward/7/A1.hea", age=61.0, sex="Female", **changes) -> Prediction:
    present = np.arange(26) == SINUS_RHYTHM
    found = Prediction(
        file,
        Record("A1", np.zeros((2, 10), np.float32), 100.0, ("I", "II"), age, sex, ()),
        10.0,
        2,
        ModelSummary("multiscale_se (AIRCAS_MEL1), 2 leads", "16 records of A"),
        "clinical",
        True,
        MEASURED,
        np.where(present, 0.9, 0.1),
        present,
        np.zeros(26, bool),
        (),
        (),
    )
    return replace(found, **changes)


def unusable(**changes) -> Prediction:
    nothing = np.zeros(26, bool)
    return prediction(
        usable=False,
        measurements=NOT_MEASURED,
        probabilities=np.zeros(26),
        present=nothing,
        warnings=("no beats are found",),
        **changes,
    )


def resources(*results, kind=None) -> list[dict]:
    """The resources of a valid Bundle, all of them or those of a kind."""
    bundle = validated(to_bundle(results, NOW))
    found = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in found if kind in (None, resource["resourceType"])]


def validated(bundle: dict) -> dict:
    """The Bundle, which keeps FHIR's rules and whose references lead to its own entries."""
    text = json.dumps(bundle, allow_nan=False)
    parsed = Bundle.model_validate_json(text)
    # Nothing was ignored in parsing.
    assert json.loads(parsed.model_dump_json()) == json.loads(text)
    urls = [entry["fullUrl"] for entry in bundle["entry"]]
    assert len(set(urls)) == len(urls)
    for entry in bundle["entry"]:
        assert entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}"
    assert set(references(bundle)) <= set(urls)
    return bundle


def references(value):
    """Yield every reference within a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from references(part)


def observation(code, *results) -> dict:
    (found,) = (
        resource
        for resource in resources(*results, kind="Observation")
        if code in [coding["code"] for coding in resource["code"]["coding"]]
    )
    return found


@pytest.mark.parametrize("name", [field.name for field in fields(GlobalMeasurements)])
def test_a_measurement_is_a_quantity_in_ucum_units_or_says_why_it_is_absent(name):
    unit = {"heart_rate_bpm": "/min", "qrs_axis_deg": "deg"}.get(name, "ms")
    found = observation(LOINC[name], prediction())
    quantity = found["valueQuantity"]
    assert quantity["value"] == pytest.approx(getattr(MEASURED, name), abs=0.05)
    assert (quantity["system"], quantity["code"]) == ("http://unitsofmeasure.org", unit)
    assert "dataAbsentReason" not in found
    without = prediction(measurements=replace(MEASURED, **{name: None}))
    found = observation(LOINC[name], without)
    assert "valueQuantity" not in found
    assert found["dataAbsentReason"]["coding"][0]["code"] == "unknown"


def test_the_qtc_has_the_code_of_its_formula_and_the_general_one():
    codings = observation("76635-2", prediction())["code"]["coding"]
    assert [coding["code"] for coding in codings] == ["76635-2", "8636-3"]
    assert "Bazett" in codings[0]["display"]


@pytest.mark.parametrize(
    ("present", "uncertain", "codes", "word"),
    [
        (True, False, ["POS"], "present"),
        (True, True, ["POS", "IND"], "probable"),
        (False, True, ["IND"], "possible"),
        (False, False, ["NEG"], "absent"),
    ],
)
def test_a_finding_is_a_component_with_its_probability(present, uncertain, codes, word):
    is_af = np.arange(26) == AF
    found = prediction(
        present=is_af & present,
        uncertain=is_af & uncertain,
        probabilities=np.linspace(0.2, 0.4, 26),
    )
    components = observation("8601-7", found)["component"]
    by_code = {component["code"]["coding"][0]["code"]: component for component in components}
    assert set(by_code) == {diagnosis.codes[0] for diagnosis in DIAGNOSES}
    component = by_code[DIAGNOSES[AF].codes[0]]
    assert component["valueQuantity"]["value"] == pytest.approx(0.2 + 0.2 * AF / 25, abs=1e-4)
    assert component["valueQuantity"]["code"] == "1"
    (interpretation,) = component["interpretation"]
    assert [coding["code"] for coding in interpretation["coding"]] == codes
    assert interpretation["text"] == word


def test_the_report_refers_to_all_observations_and_names_the_findings():
    lbbb = [diagnosis.abbreviation for diagnosis in DIAGNOSES].index("LBBB")
    found = prediction(present=np.isin(np.arange(26), [SINUS_RHYTHM, lbbb]))
    (report,) = resources(found, kind="DiagnosticReport")
    assert report["status"] == "preliminary"
    assert report["code"]["coding"][0]["code"] == "11524-6"
    assert report["issued"] == "2026-03-01T12:30:05Z"
    assert "effectiveDateTime" not in report
    coded = [[coding["code"] for coding in code["coding"]] for code in report["conclusionCode"]]
    assert sorted(coded) == sorted([["426783006"], ["733534002", "164909002"]])
    assert "sinus rhythm (NSR) 90%" in report["conclusion"]
    assert NOTICE in report["conclusion"]
    measured = [
        resource["id"]
        for resource in resources(found, kind="Observation")
        if resource["code"]["text"] != "Age"
    ]
    assert len(measured) == 7
    assert [link["reference"] for link in report["result"]] == [f"urn:uuid:{i}" for i in measured]


def test_a_patient_has_sex_and_age_and_nothing_else():
    (patient,) = resources(prediction(), kind="Patient")
    assert patient.keys() == {"resourceType", "id", "gender"}
    assert patient["gender"] == "female"
    age = observation("30525-0", prediction())
    assert (age["valueQuantity"]["value"], age["valueQuantity"]["code"]) == (61, "a")
    assert age["subject"] == {"reference": f"urn:uuid:{patient['id']}"}
    assert not resources(prediction(age=math.nan, sex="Unknown"), kind="Patient")
    assert len(resources(prediction(age=math.nan, sex="Male"), kind="Patient")) == 1


def test_an_age_of_300_is_one_over_89():
    quantity = observation("30525-0", prediction(age=300.0))["valueQuantity"]
    assert (quantity["comparator"], quantity["value"]) == (">", 89)


def test_a_recording_that_cannot_be_judged_has_reasons_and_no_findings():
    report, *others = resources(unusable())
    assert report["status"] == "preliminary"
    assert "conclusionCode" not in report
    assert "cannot be judged" in report["conclusion"]
    observations = [other for other in others if "dataAbsentReason" in other]
    assert len(observations) == 7
    for found in observations:
        assert found["dataAbsentReason"]["coding"][0]["code"] == "not-performed"
        assert "component" not in found
    (outcome,) = resources(unusable(), kind="OperationOutcome")
    assert [issue["severity"] for issue in outcome["issue"]] == ["error", "warning"]
    assert outcome["issue"][1]["diagnostics"] == "no beats are found"


def test_a_warning_is_in_the_conclusion_a_note_and_an_outcome():
    found = prediction(warnings=("the arm electrodes look swapped",), notes=("2-lead model",))
    (report,) = resources(found, kind="DiagnosticReport")
    assert "Warning: the arm electrodes look swapped." in report["conclusion"]
    (outcome,) = resources(found, kind="OperationOutcome")
    assert [issue["severity"] for issue in outcome["issue"]] == ["warning"]
    notes = [note["text"] for note in observation("8601-7", found)["note"]]
    assert notes == ["the arm electrodes look swapped", "2-lead model"]
    assert not resources(prediction(), kind="OperationOutcome")


def test_a_file_that_could_not_be_read_is_an_outcome_beside_the_others():
    failure = Failure("ward/7/B1.hea", "ward/7/B1.mat: expected a signal file, found none")
    first, *others = resources(failure, prediction())
    assert first["resourceType"] == "OperationOutcome"
    (issue,) = first["issue"]
    assert (issue["severity"], issue["details"]["text"]) == ("error", "B1.hea")
    assert issue["diagnostics"] == "B1.mat: expected a signal file, found none"
    assert len([other for other in others if other["resourceType"] == "DiagnosticReport"]) == 1


def test_no_folder_is_named():
    folder = "/srv/Jane Doe/1970-01-01"
    found = prediction(f"{folder}/A1.hea", warnings=(f"{folder}/A1.mat: 3 samples are missing",))
    failure = Failure(f"{folder}/B1.hea", f"{folder}/B1.hea: expected a gain of 1000/mV")
    text = json.dumps(to_bundle([found, failure], NOW))
    assert "Jane" not in text
    assert "A1.mat: 3 samples are missing" in text
    assert "B1.hea: expected a gain of 1000/mV" in text


def test_models_are_devices_and_stand_once():
    other = prediction(model=ModelSummary("mtfnet, 12 leads", "8 records"))
    devices = resources(prediction(), prediction("A2.hea"), other, kind="Device")
    assert [device["modelNumber"] for device in devices] == [
        "multiscale_se (AIRCAS_MEL1), 2 leads",
        "mtfnet, 12 leads",
    ]
    assert "Trained on 8 records." in [note["text"] for note in devices[1]["note"]]


def test_ids_depend_on_the_content_but_neither_on_the_time_nor_on_the_folder():
    def ids(*results, issued=NOW):
        return [entry["fullUrl"] for entry in to_bundle(results, issued)["entry"]]

    assert ids(prediction()) == ids(prediction("elsewhere/A1.hea"), issued=NOW + timedelta(1))
    signal = np.ones((2, 10), np.float32)
    changed = prediction(record=replace(prediction().record, signal=signal))
    shared = set(ids(prediction())) & set(ids(changed))
    assert shared == {resource_url for resource_url in shared if "Device" in kind_of(resource_url)}
    assert len(shared) == 1
    assert len(ids(prediction(), prediction())) == 2 * len(ids(prediction())) - 1


def kind_of(url) -> str:
    (kind,) = (
        entry["resource"]["resourceType"]
        for entry in to_bundle([prediction()], NOW)["entry"]
        if entry["fullUrl"] == url
    )
    return kind


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        to_bundle([prediction()], datetime(2026, 3, 1))


sentences = st.text(max_size=30).map(lambda text: f"a {text} b")
flags = st.lists(st.booleans(), min_size=26, max_size=26).map(np.array)
numbers = st.none() | st.floats(-1e4, 1e4)
odd_predictions = st.builds(
    lambda file, age, sex, values, shares, present, uncertain, texts, usable: prediction(
        file,
        age,
        sex,
        measurements=GlobalMeasurements(*values) if usable else NOT_MEASURED,
        probabilities=np.array(shares) * usable,
        present=present & usable,
        uncertain=uncertain & usable,
        warnings=tuple(texts[:2]),
        notes=tuple(texts[2:]),
        usable=usable,
    ),
    st.text(min_size=1, max_size=20),
    st.just(math.nan) | st.floats(0, 1e6),
    st.sampled_from(["Male", "Female", "Unknown"]),
    st.lists(numbers, min_size=6, max_size=6),
    st.lists(st.floats(0, 1), min_size=26, max_size=26),
    flags,
    flags,
    st.lists(sentences, max_size=4),
    st.booleans(),
)
failures = st.builds(Failure, st.text(min_size=1, max_size=20), sentences)


@settings(deadline=None, max_examples=60)
@given(st.lists(odd_predictions | failures, min_size=1, max_size=4))
def test_every_result_gives_a_valid_bundle(results):
    bundle = validated(to_bundle(results, NOW))
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds.count("DiagnosticReport") == sum(
        isinstance(result, Prediction) for result in results
    )
    assert to_bundle(results, NOW) == bundle
