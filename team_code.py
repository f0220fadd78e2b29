"""The Challenge's three functions, implemented in the package `ecg`."""

from ecg.models.predictor import load_predictor
from ecg.models.settings import read_settings
from ecg.records.leads import lead_set_for
from ecg.training.model_folders import train_model_folder


def training_code(data_directory, model_directory):
    """Train one model for each of the five lead sets on the records in `data_directory`.

    The models are written to `model_directory`. Options are the `ECG_…` environment variables, see
    docs/settings.md.
    """
    train_model_folder(data_directory, model_directory, read_settings())


def load_model(model_directory, leads):
    """Load the model for records with these leads, to be passed to `run_model`.

    leads: names, in any order. The model is that of the largest lead set that `leads` contains.
    """
    return load_predictor(model_directory, lead_set_for(leads))


def run_model(model, header, recording):
    """Classify one record; return its classes, labels and probabilities.

    header: text of the header file. recording: digital values (n_leads, n_samples), in the header's
    lead order. Classes are SNOMED CT codes, labels 0 or 1, probabilities in [0, 1]. A record that
    cannot be used is answered as sinus rhythm and named on stderr.
    """
    return model.answer(header, recording)
