from pathlib import Path

import numpy as np
import pytest

from ecg.evaluation.labelled_outputs import LabelledOutputs
from ecg.pages.report_facts import describe_evaluation, limits, notices
from ecg.records.discovery import RecordFiles
from ecg.simulation.names import record_name

LOG = {
    "sources": {"A": 12, "HR": 1230},
    "n_simulated": 0,
    "start": None,
    "n_training": 1000,
    "validated_on_training_records": False,
}


def description(**log) -> dict:
    """A model's description, as far as the facts need it."""
    return {
        "method": {
            "name": "mtfnet",
            "source": "a team",
            "decision": {"rule": "record_maximum", "divisor": 5.0},
        },
        "prevalence": [0.5] * 25 + [0.002],
        "training_log": LOG | log,
    }


def answered(n_real: int, n_simulated: int = 0, source: str = "A") -> LabelledOutputs:
    n = n_real + n_simulated
    names = [f"{source}{i:04d}" for i in range(n_real)]
    names += [record_name("A", 0, 12, i) for i in range(n_simulated)]
    files = [RecordFiles(Path(f"{name}.hea"), Path(f"{name}.mat")) for name in names]
    return LabelledOutputs(
        lead_set=12,
        files=np.array(files, object),
        sources=np.array([source] * n_real + ["SIMA"] * n_simulated, object),
        sexes=np.array(["Female"] * n_real + ["Male"] * n_simulated, object),
        ages=np.array([50.0] * n_real + [20.0] * n_simulated),
        fs=np.full(n, 500.0),
        labels=np.zeros((n, 26), bool),
        outputs=np.zeros((n, 26), bool),
        probabilities=np.zeros((n, 26)),
    )


def facts(records, descriptions) -> dict:
    return dict(describe_evaluation(records, descriptions))


def test_facts_say_what_was_describe_evaluation():
    found = facts({12: answered(1500, 20)}, {12: description()})
    assert found["model"] == [("", "mtfnet: a team")]
    assert found["trained on"] == [("", "1,242 records of HR (1,230), A (12)")]
    assert found["tested on"] == [("", "1,500 real records of A (1,500), and 20 simulated ones")]
    assert found["patients"] == [("", "median age 50 years (50 to 50); female (1,500)")]
    assert found["sampling rate"] == [("", "500 Hz (1,520)")]
    assert found["labelled with"] == [
        ("", "findings at least 1/5 as probable as the record's likeliest")
    ]


def test_facts_that_differ_between_lead_sets_name_them():
    records = {12: answered(3), 6: answered(3), 2: answered(4)}
    found = facts(records, dict.fromkeys(records, description()))
    assert found["tested on"] == [
        ("12 and 6 leads", "3 real records of A (3)"),
        ("2 leads", "4 real records of A (4)"),
    ]
    assert len(found["model"]) == 1


def warnings(records, **log) -> list[str]:
    found = notices({12: records}, {12: description(**log)})
    return [notice.text for notice in found if notice.is_warning]


def test_simulated_records_are_warned_of():
    assert warnings(answered(3, source="B")) == []
    assert "All 3 tested records are simulated" in warnings(answered(0, 3))[0]
    assert "3 of 7 tested records are simulated" in warnings(answered(4, 3))[0]


def test_a_model_of_simulated_records_alone_is_warned_of():
    simulated = {"sources": {"SIMA": 50}, "n_simulated": 50}
    assert warnings(answered(3), **simulated) == [
        "The model for 12 leads was trained on simulated records alone."
    ]
    before = {"digest": "0f", "n_training": 9, "sources": {"A": 9}, "n_simulated": 0, "start": None}
    assert warnings(answered(3), **simulated, start=before) == []


@pytest.mark.parametrize(("source", "is_shared"), [("HR", True), ("Q", False)])
def test_sources_that_the_model_was_trained_on_are_named(source, is_shared):
    found = notices({12: answered(3, source=source)}, {12: description()})
    assert any("trained on records of HR too" in notice.text for notice in found) == is_shared


def test_a_source_of_the_model_that_it_started_from_counts_too():
    before = {"digest": "0f", "n_training": 9, "sources": {"Q": 9}, "n_simulated": 0, "start": None}
    found = notices({12: answered(3, source="Q")}, {12: description(start=before)})
    assert "trained on records of Q too" in found[0].text


def test_findings_that_are_rare_in_training_are_among_the_limits():
    (rare,) = (limit for limit in limits(description()) if "training records had" in limit)
    assert "Fewer than about 10 training records had TInv:" in rare
    assert not any("validation" in limit for limit in limits(description()))
    found = limits(description(validated_on_training_records=True))
    assert any("validation records were among its training records" in limit for limit in found)
