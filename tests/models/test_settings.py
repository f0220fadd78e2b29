from pathlib import Path

import pytest

from ecg.models.registry import METHODS
from ecg.models.settings import (
    PRESET_NAMES,
    Settings,
    SettingsError,
    read_settings,
)


def test_an_empty_environment_gives_the_defaults():
    settings = read_settings({"PATH": "/bin", "ECG_EPOCHS": ""})
    assert settings == Settings(workers=settings.workers)
    assert settings.workers >= 1


def test_every_setting_is_read(untrained):
    assert read_settings(
        {
            "ECG_METHOD": "mtfnet",
            "ECG_PRESET": "demo",
            "ECG_LEADS": "2, 12",
            "ECG_EPOCHS": "3",
            "ECG_SEED": "7",
            "ECG_CACHE": "/cache",
            "ECG_WORKERS": "4",
            "ECG_TIME_LIMIT_H": "1.5",
            "ECG_DEBUG": "1",
            "ECG_DASK": "tcp://10.0.0.1:8786",
            "ECG_START": str(untrained),
        }
    ) == Settings(
        *("mtfnet", "demo", (12, 2), 3, 7, Path("/cache"), 4, 1.5, True, "tcp://10.0.0.1:8786"),
        start=untrained,
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("ECG_METOD", "x", "ECG_METOD: unknown setting; the known ones are ECG_METHOD, ECG_PRESET"),
        (
            "ECG_METHOD",
            "resnet",
            "expected one of multiscale_se, branched_se, mtfnet, se_ecgnet, antialiased_resnet18; "
            "found 'resnet'",
        ),
        ("ECG_PRESET", "tiny", "expected one of full, demo; found 'tiny'"),
        ("ECG_LEADS", "12,5", "expected some of 12,6,4,3,2; found '12,5'"),
        ("ECG_EPOCHS", "0", "expected a whole number from 1 to 1000000, found '0'"),
        ("ECG_EPOCHS", "1.5", "expected a whole number from 1 to 1000000, found '1.5'"),
        ("ECG_SEED", "-1", "expected a whole number from 0 to 4294967295, found '-1'"),
        ("ECG_SEED", "4294967296", "expected a whole number from 0 to 4294967295, found"),
        ("ECG_WORKERS", "many", "expected a whole number from 1 to 1000000, found 'many'"),
        ("ECG_DASK", "10.0.0.1", "expected tcp://HOST:PORT or tls://HOST:PORT, found '10.0.0.1'"),
        ("ECG_TIME_LIMIT_H", "0", "expected a positive number of hours, found '0'"),
        ("ECG_TIME_LIMIT_H", "nan", "expected a positive number of hours, found 'nan'"),
        ("ECG_START", "nowhere", "nowhere: expected a folder with trained models"),
    ],
)
def test_an_unknown_name_or_value_lists_the_known_ones(name, text, message):
    with pytest.raises(SettingsError, match=f"^{name}: ") as caught:
        read_settings({name: text})
    assert message in str(caught.value)


def test_names_of_methods_and_presets_are_those_of_the_registry():
    assert all(tuple(system.published) == PRESET_NAMES for system in METHODS.values())
