"""The Challenge's three functions; everything they do is in the package `ecg`."""

from ecg.models.predictor import load_predictor
from ecg.models.settings import read_settings
from ecg.records.leads import lead_set_for
from ecg.training.model_folders import train_model_folder


def training_code(data_directory, model_directory):
    """Trains one model for each of the five lead sets on the records in `data_directory`.

    Options come from the `ECG_…` environment variables, see the README.
    """
    train_model_folder(data_directory, model_directory, read_settings())


def load_model(model_directory, leads):
    """What `run_model` takes to answer records with these leads (names, in any order).

    It is the model of the largest of the five lead sets that `leads` contains.
    """
    return load_predictor(model_directory, lead_set_for(leads))


def run_model(model, header, recording):
    """(classes, labels, probabilities) of one record: SNOMED CT codes, 0/1, numbers in [0, 1].

    header: text of the header file. recording: digital values, (n_leads, n_samples), in the
    header's lead order. A record that cannot be used is answered as sinus rhythm, and named on
    stderr.
    """
    return model.answer(header, recording)
