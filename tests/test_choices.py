import json
from dataclasses import replace

import pytest

from ecg.models.choices import CHOICES, choices_of
from ecg.models.registry import METHODS, as_published, find_method, method_to_dict, with_epochs


def options_of(description) -> dict:
    return {
        f"{part}.{option}": value
        for part, options in description.items()
        if isinstance(options, dict)
        for option, value in options.items()
    }


@pytest.mark.parametrize("name", METHODS)
def test_each_option_beyond_the_paper_is_a_choice_with_evidence(name):
    method = find_method(name)
    ours, papers = (options_of(method_to_dict(one)) for one in (method, as_published(method)))
    beyond = {option: value for option, value in ours.items() if value != papers[option]}
    named = [item for one in CHOICES.get(name, ()) for item in one.options.items()]
    assert len({option for option, _ in named}) == len(named)
    assert beyond.items() <= dict(named).items()
    assert all(ours[option] == value for option, value in named)


def test_the_full_default_has_all_its_choices_and_json_can_hold_them():
    found = choices_of(method_to_dict(find_method("multiscale_se")))
    assert [one["choice"] for one in json.loads(json.dumps(found))] == [
        one.choice for one in CHOICES["multiscale_se"]
    ]
    assert all(len(one["evidence"]) > 20 for one in found)


def test_a_choice_that_was_not_taken_is_not_claimed():
    method = find_method("multiscale_se")
    every = [one["choice"] for one in choices_of(method_to_dict(method))]
    shorter = [one["choice"] for one in choices_of(method_to_dict(with_epochs(method, 3)))]
    assert shorter
    assert set(shorter) < set(every)
    unmeasured = replace(
        method,
        network=replace(method.network, measured_width=None),
        pretraining=replace(method.pretraining, measured_epochs=0),
    )
    left = [one["choice"] for one in choices_of(method_to_dict(unmeasured))]
    assert every[0] not in left
    (papers,) = choices_of(method_to_dict(as_published(method)))
    assert list(papers["options"]) == ["network.widths"]
    assert choices_of(method_to_dict(find_method("mtfnet"))) == []
