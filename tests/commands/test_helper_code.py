import numpy as np
import pytest

import helper_code
from ecg.records.headers import RecordError
from ecg.records.leads import TWELVE_LEADS
from tests.synthetic import beats, digitise, header_text, write_record

HEADER = header_text("A1", 257, 500, ["V2", "II", "I"], dx="10370003,1", baseline=3, age="NaN")


def test_the_contracts_functions_exist():
    names = (
        "is_number is_integer is_finite_number sort_leads find_challenge_files load_header "
        "load_recording choose_leads get_recording_id get_leads get_age get_sex get_num_leads "
        "get_frequency get_num_samples get_adc_gains get_baselines get_labels save_outputs "
        "load_outputs"
    )
    assert all(callable(getattr(helper_code, name)) for name in names.split())


@pytest.mark.parametrize(
    ("x", "number", "integer", "finite"),
    [
        ("3", True, True, True),
        (3.5, True, False, True),
        ("1e3", True, True, True),
        ("nan", True, False, False),
        ("inf", True, False, False),
        ("x", False, False, False),
        (None, False, False, False),
        (10**400, False, False, False),
    ],
)
def test_kinds_of_numbers(x, number, integer, finite):
    assert helper_code.is_number(x) == number
    assert helper_code.is_integer(x) == integer
    assert helper_code.is_finite_number(x) == finite


def test_values_are_read_from_a_header():
    assert helper_code.get_recording_id(HEADER) == "A1"
    assert helper_code.get_leads(HEADER) == ("V2", "II", "I")
    assert np.isnan(helper_code.get_age(HEADER))
    assert helper_code.get_sex(HEADER) == "Female"
    assert helper_code.get_num_leads(HEADER) == 3
    assert helper_code.get_frequency(HEADER) == 257
    assert helper_code.get_num_samples(HEADER) == 500
    assert helper_code.get_labels(HEADER) == ["10370003", "1"]
    np.testing.assert_array_equal(helper_code.get_adc_gains(HEADER, ["I", "V2"]), [1000, 1000])
    np.testing.assert_array_equal(helper_code.get_baselines(HEADER, ["I"]), [3])


def test_leads_are_chosen_by_name():
    recording = np.arange(6).reshape(3, 2)
    chosen = helper_code.choose_leads(recording, HEADER, ["i", "V2"])
    np.testing.assert_array_equal(chosen, [[4, 5], [0, 1]])
    with pytest.raises(RecordError, match="A1: expected leads III; found V2, II, I"):
        helper_code.choose_leads(recording, HEADER, ["III"])
    with pytest.raises(RecordError, match="A1: expected 3 leads, found 2 rows"):
        helper_code.choose_leads(recording[:2], HEADER, ["I"])


def test_files_are_found_and_loaded_with_the_chosen_leads(tmp_path):
    signal = beats(100, 100)
    write_record(tmp_path / "g1", "A1", signal, 100)
    (tmp_path / "B2.hea").write_text("B2")
    headers, recordings = helper_code.find_challenge_files(tmp_path)
    assert headers == [str(tmp_path / "g1" / "A1.hea"), str(tmp_path / "B2.hea")]
    assert recordings == [str(tmp_path / "g1" / "A1.mat"), str(tmp_path / "B2.hea")]
    text = helper_code.load_header(headers[0])
    assert helper_code.get_leads(text) == TWELVE_LEADS
    np.testing.assert_array_equal(helper_code.load_recording(recordings[0]), digitise(signal))
    np.testing.assert_array_equal(
        helper_code.load_recording(recordings[0], text, ("V6", "I")), digitise(signal)[[11, 0]]
    )


def test_outputs_are_saved_and_loaded(tmp_path):
    path = tmp_path / "A1.csv"
    helper_code.save_outputs(path, "A1", ["1", "2"], [0, 1], [0.25, 0.75])
    assert helper_code.load_outputs(path) == ("A1", ("1", "2"), (0, 1), (0.25, 0.75))
