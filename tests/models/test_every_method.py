"""Every method on every lead set: trained, saved, loaded, asked."""

import numpy as np
import pytest

from ecg.models.devices import find_devices
from ecg.models.model_files import save_model
from ecg.models.predictor import Predictor, load_predictor
from ecg.models.registry import METHODS
from ecg.records.diagnoses import OUTPUT_CODES
from ecg.records.leads import LEAD_SETS, lead_rows
from ecg.training.dataset import prepare_dataset
from tests.narrow import fitted, narrow_method
from tests.synthetic import beats, digitise, header_text

pytestmark = pytest.mark.usefixtures("without_graphs")


@pytest.fixture(scope="module", params=METHODS)
def method_and_dataset(request, training_folder, tmp_path_factory):
    method = narrow_method(request.param)
    cache = tmp_path_factory.mktemp("cache")
    return method, prepare_dataset(training_folder, method.preparation, cache, workers=1)


@pytest.mark.parametrize("lead_set", LEAD_SETS)
def test_every_method_trains_and_answers_on_every_lead_set(method_and_dataset, lead_set, tmp_path):
    method, dataset = method_and_dataset
    model = fitted(method, dataset, lead_set, devices=find_devices())
    assert np.isfinite(model.training_log["history"]["loss"]).all()
    assert np.isfinite(model.training_log["history"]["val_loss"]).all()

    signal = beats(300 * 25, 300)[lead_rows(lead_set)]
    record = header_text("A1", 300, 300 * 25, LEAD_SETS[lead_set]), digitise(signal)
    save_model(model, tmp_path)
    predictor = load_predictor(tmp_path, lead_set)
    answer = predictor.answer(*record)
    assert predictor.n_unusable == 0
    assert answer == Predictor(model).answer(*record)
    assert tuple(answer.codes) == OUTPUT_CODES
    assert len(answer.labels) == len(answer.probabilities) == 30
    assert set(answer.labels) <= {0, 1}
    assert 1 in answer.labels
    assert np.isfinite(answer.probabilities).all()
    assert all(0 <= probability <= 1 for probability in answer.probabilities)
    assert len(set(answer.probabilities)) > 20
