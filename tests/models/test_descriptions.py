from pathlib import Path

import pytest

from ecg.models import descriptions
from ecg.models.descriptions import ModelFolderError, find_model_folder


@pytest.mark.parametrize("path", ["model", "./starter", "a/starter", Path("starter")])
def test_a_path_is_a_path(path):
    assert find_model_folder(path) == Path(path)


@pytest.mark.parametrize("place", ["ecg", "."])
def test_the_starter_models_are_at_the_root_or_in_the_installed_package(
    place, tmp_path, monkeypatch
):
    monkeypatch.setattr(descriptions, "_PACKAGE", tmp_path / "ecg")
    expected = f"^starter: no starter models are installed.*{tmp_path / 'starter'}.*./starter"
    with pytest.raises(ModelFolderError, match=expected):
        find_model_folder("starter")
    (tmp_path / place / "starter").mkdir(parents=True)
    assert find_model_folder("starter") == (tmp_path / place / "starter")
