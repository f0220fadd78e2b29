"""Predictions as an HL7 FHIR R4 Bundle, for systems that hold clinical records.

All files of a call share one Bundle: FHIR's type "collection" is a set of resources without an
order or a transaction, the models are described once, and the output is a single JSON document.

A file gives a DiagnosticReport, an Observation for each measurement, and one for the findings with
a component for each of the 26. A Patient and an Observation of the age are added where the file
states sex or age; nothing identifies the person. Warnings, and files that cannot be judged or read,
are OperationOutcomes. A file is named without its folder. The date of the recording is always
marked as unknown, because no reader keeps it.

Sources of the codes
- LOINC: loinc.org, pages of the codes below. 8636-3 is a QTc by any formula, and its page refers to
  76635-2 for Bazett's, so QTc has both.
- SNOMED CT: the Challenge's codes, see `ecg.records.diagnoses`. The two codes of a class that the
  Challenge scores as one stand together, as its records use either. Display texts are left out,
  because the Challenge's names are not SNOMED CT's terms.
- The rest: HL7 Terminology (diagnostic service sections, table 0074; observation categories and
  interpretations; data-absent-reason) and UCUM.
"""

import hashlib
import json
import math
import re
import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ecg import __version__
from ecg.models.prediction import USUAL_RANGES, ModelSummary, Prediction
from ecg.pages import NOTICE
from ecg.pages.predictions import Failure, diagnosis_name, presence, to_dict
from ecg.records.diagnoses import DIAGNOSES
from ecg.runtime.files import printable

_LOINC, _SNOMED = "http://loinc.org", "http://snomed.info/sct"
_UCUM = "http://unitsofmeasure.org"
_HL7 = "http://terminology.hl7.org/CodeSystem"
_REASON_EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

_STUDY, _IMPRESSION = ("11524-6", "EKG study"), ("8601-7", "EKG impression")
_AGE = ("30525-0", "Age")
# Measurement -> LOINC codes with LOINC's names, UCUM unit, unit in words.
_MEASUREMENTS = {
    "heart_rate_bpm": ([("8867-4", "Heart rate")], "/min", "beats/minute"),
    "pr_ms": ([("8625-6", "P-R Interval")], "ms", "ms"),
    "qrs_ms": ([("8633-0", "QRS duration")], "ms", "ms"),
    "qt_ms": ([("8634-8", "Q-T interval")], "ms", "ms"),
    "qtc_ms": (
        [
            ("76635-2", "Q-T interval corrected based on Bazett formula"),
            ("8636-3", "Q-T interval corrected"),
        ],
        "ms",
        "ms",
    ),
    "qrs_axis_deg": ([("8632-2", "QRS axis")], "deg", "degrees"),
}
_WORDS = {"yes": "present", "probable": "probable", "possible": "possible", "-": "absent"}
_OLDEST, _OVER = 150.0, 89  # years; PTB-XL writes 300 for everyone over 89
_CANNOT_BE_JUDGED = "cannot be judged as an ECG; no diagnoses"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:ecg:fhir")  # of all ids


def to_bundle(results: Iterable[Prediction | Failure], issued: datetime) -> dict:
    """Return a FHIR R4 Bundle of the results, in their order, as JSON can hold it.

    issued: the time of the predictions, with its time zone. The ids do not depend on it: they are
    UUIDs of the content, so a recording has the same ids whenever and wherever the same model
    predicts it. A file that is given twice counts as two. Raises ValueError for a time without a
    zone.
    """
    if issued.tzinfo is None:
        raise ValueError(f"issued: expected a time with its time zone, found {issued}")
    time = issued.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    resources: dict[str, dict] = {}
    n_seen: Counter[str] = Counter()
    for result in map(_without_folder, results):
        content = _content(result)
        seed = f"{content} {n_seen[content]}"
        n_seen[content] += 1
        if isinstance(result, Failure):
            found = [_outcome(seed, result.file, [("error", result.error)])]
        else:
            found = _resources(result, seed, time)
        resources |= {resource["id"]: resource for resource in found}  # a model's device once
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": time,
        "entry": [
            {"fullUrl": _url(resource), "resource": resource} for resource in resources.values()
        ],
    }


def _without_folder(result: Prediction | Failure) -> Prediction | Failure:
    """Return the result with the file's name in place of its path, also within sentences."""
    folder = str(Path(result.file).parent)

    def shorten(text: str) -> str:
        # Messages name files beside it as well, such as a header's signal file.
        return printable(re.sub(rf"(?<![\w./-]){re.escape(folder)}/+", "", text))

    name = printable(Path(result.file).name or result.file)
    if isinstance(result, Failure):
        return Failure(name, shorten(result.error))
    warnings, notes = (tuple(map(shorten, texts)) for texts in (result.warnings, result.notes))
    return replace(result, file=name, warnings=warnings, notes=notes)


def _content(result: Prediction | Failure) -> str:
    """Return a digest of what tells the result from that of another file or model."""
    digest = hashlib.sha256(json.dumps(to_dict(result), sort_keys=True).encode())
    if isinstance(result, Prediction):
        digest.update(np.ascontiguousarray(result.record.signal).tobytes())
    return digest.hexdigest()


def _resources(prediction: Prediction, seed: str, time: str) -> list[dict]:
    """Return the report of a prediction, then all that belongs to it."""
    device, patient = _device(prediction.model), _patient(prediction, seed)
    shared = {
        "status": "preliminary",
        "subject": _reference(patient) if patient else {"display": _person(prediction)},
        "_effectiveDateTime": _unknown_date(),
        "issued": time,
    }
    observations = [
        observation | shared | {"device": _reference(device)}
        for observation in (
            *(_measurement(prediction, name, seed) for name in _MEASUREMENTS),
            _findings(prediction, seed),
        )
    ]
    report = _report(prediction, seed) | shared
    report["result"] = [_reference(observation) for observation in observations]
    others = [patient, _age(prediction, seed, shared), device]
    issues = [("warning", warning) for warning in prediction.warnings]
    if not prediction.usable:
        issues.insert(0, ("error", _CANNOT_BE_JUDGED))
    if issues:
        others.append(_outcome(seed, prediction.file, issues))
    return [report, *observations, *(resource for resource in others if resource)]


def _report(prediction: Prediction, seed: str) -> dict:
    report = {
        "resourceType": "DiagnosticReport",
        "id": _id(seed, "report"),
        "identifier": [{"value": prediction.file}],
        "category": [{"coding": [{"system": f"{_HL7}/v2-0074", "code": "EC"}]}],
        "code": _coded([_STUDY]),
        "conclusion": _conclusion(prediction),
    }
    present = [i for i in prediction.order if prediction.present[i]]
    if present:
        report["conclusionCode"] = [_class_code(i) for i in present]
    return report


def _conclusion(prediction: Prediction) -> str:
    """Return sentences: what is found, what is doubtful about the recording, what this is not."""
    sentences = []
    if not prediction.usable:
        sentences.append(f"The recording {_CANNOT_BE_JUDGED}.")
    else:
        for word in ("yes", "probable", "possible"):
            found = [
                f"{diagnosis_name(i)} {prediction.probabilities[i]:.0%}"
                for i in prediction.order
                if presence(prediction, i) == word
            ]
            if found:
                sentences.append(f"{_WORDS[word].capitalize()}: {', '.join(found)}.")
        if prediction.is_normal:
            sentences.append("Nothing abnormal found.")
        elif not prediction.present.any():
            sentences.append("No diagnosis is probable enough to be called present.")
    sentences += [f"Warning: {warning}." for warning in prediction.warnings]
    return " ".join([*sentences, "Not confirmed by a clinician.", NOTICE])


def _measurement(prediction: Prediction, name: str, seed: str) -> dict:
    codes, unit, words = _MEASUREMENTS[name]
    # FHIR asks for this category wherever the code of the heart rate is used.
    category = "vital-signs" if name == "heart_rate_bpm" else "procedure"
    observation = _observation(seed, name, category, codes)
    value = getattr(prediction.measurements, name)
    if value is None:
        observation["dataAbsentReason"] = _absent(prediction)
    else:
        observation["valueQuantity"] = _quantity(round(value, 1), unit, words)
    if name in USUAL_RANGES:
        low, high = USUAL_RANGES[name]
        observation["referenceRange"] = [
            {
                "low": _quantity(low, unit, words),
                "high": _quantity(high, unit, words),
                "text": "adults at rest",
            }
        ]
    return observation


def _findings(prediction: Prediction, seed: str) -> dict:
    """Return the Observation of all findings.

    A component has the probability as its value. Its interpretation is POS where the finding is
    present and IND where it is uncertain, so both where it is probable, and NEG otherwise.
    """
    observation = _observation(seed, "findings", "procedure", [_IMPRESSION])
    observation["method"] = {"text": f"{prediction.model.name}; rule: {prediction.rule}"}
    texts = (*prediction.warnings, *prediction.notes)
    if texts:
        observation["note"] = [{"text": text} for text in texts]
    if not prediction.usable:
        return observation | {"dataAbsentReason": _absent(prediction)}
    observation["component"] = [
        {
            "code": _class_code(i),
            "valueQuantity": _quantity(
                round(float(prediction.probabilities[i]), 4), "1", "probability"
            ),
            "interpretation": [_interpretation(prediction, i)],
        }
        for i in prediction.order
    ]
    return observation


def _interpretation(prediction: Prediction, i: int) -> dict:
    flags = {"POS": prediction.present[i], "IND": prediction.uncertain[i]}
    codes = [code for code, is_set in flags.items() if is_set] or ["NEG"]
    return {
        "coding": [
            {"system": f"{_HL7}/v3-ObservationInterpretation", "code": code} for code in codes
        ],
        "text": _WORDS[presence(prediction, i)],
    }


def _patient(prediction: Prediction, seed: str) -> dict | None:
    """Return the person as far as the file states age or sex; None where it states neither."""
    sex = prediction.record.sex
    if sex == "Unknown" and math.isnan(prediction.record.age):
        return None
    return {"resourceType": "Patient", "id": _id(seed, "patient"), "gender": sex.lower()}


def _age(prediction: Prediction, seed: str, shared: dict) -> dict | None:
    age = prediction.record.age
    if math.isnan(age):
        return None
    quantity = _quantity(round(age, 2), "a", "years")
    if age >= _OLDEST:
        quantity |= {"value": _OVER, "comparator": ">"}
    return _observation(seed, "age", "survey", [_AGE]) | shared | {"valueQuantity": quantity}


def _device(model: ModelSummary) -> dict:
    device = {
        "resourceType": "Device",
        "deviceName": [{"name": "ecg", "type": "model-name"}],
        "modelNumber": model.name,
        "type": {"text": "software that classifies ECGs, for research"},
        "version": [{"value": __version__}],
        "note": [{"text": f"Trained on {model.trained_on}."}, {"text": NOTICE}],
    }
    return device | {"id": _id(json.dumps(device, sort_keys=True), "device")}


def _outcome(seed: str, file: str, issues: list[tuple[str, str]]) -> dict:
    """Return an OperationOutcome on a file; issues: (severity, sentence)."""
    return {
        "resourceType": "OperationOutcome",
        "id": _id(seed, "outcome"),
        "issue": [
            {
                "severity": severity,
                "code": "processing",
                "details": {"text": file},
                "diagnostics": text,
            }
            for severity, text in issues
        ],
    }


def _observation(seed: str, part: str, category: str, codes: list[tuple[str, str]]) -> dict:
    return {
        "resourceType": "Observation",
        "id": _id(seed, part),
        "category": [{"coding": [{"system": f"{_HL7}/observation-category", "code": category}]}],
        "code": _coded(codes),
    }


def _coded(codes: list[tuple[str, str]]) -> dict:
    """Return a CodeableConcept of LOINC codes with their names."""
    return {
        "coding": [{"system": _LOINC, "code": code, "display": name} for code, name in codes],
        "text": codes[0][1],
    }


def _class_code(i: int) -> dict:
    """Return the CodeableConcept of class `i`."""
    return {
        "coding": [{"system": _SNOMED, "code": code} for code in DIAGNOSES[i].codes],
        "text": diagnosis_name(i),
    }


def _quantity(value: float, unit: str, words: str) -> dict:
    return {"value": value, "unit": words, "system": _UCUM, "code": unit}


def _absent(prediction: Prediction) -> dict:
    """Return why a value is absent: it is not clear enough, or the recording is not usable."""
    code = "unknown" if prediction.usable else "not-performed"
    text = "not clear enough to be measured" if prediction.usable else _CANNOT_BE_JUDGED
    return {
        "coding": [{"system": f"{_HL7}/data-absent-reason", "code": code}],
        "text": text,
    }


def _unknown_date() -> dict:
    """Return the extension that stands in place of a date, which FHIR wants with a heart rate."""
    return {"extension": [{"url": _REASON_EXTENSION, "valueCode": "unknown"}]}


def _person(prediction: Prediction) -> str:
    return f"person of {prediction.file}, neither age nor sex known"


def _id(seed: str, part: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{seed} {part}"))


def _url(resource: dict) -> str:
    return f"urn:uuid:{resource['id']}"


def _reference(resource: dict) -> dict:
    return {"reference": _url(resource)}
