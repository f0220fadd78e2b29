import pytest

from benchmarks.one_lead import LEADS, main
from tests.synthetic import write_folder


@pytest.mark.training
def test_each_choice_of_leads_is_scored(tmp_path, monkeypatch, capsys):
    write_folder(tmp_path / "data", 12)
    monkeypatch.chdir(tmp_path)
    for name, text in {"PRESET": "demo", "EPOCHS": "1", "WORKERS": "1"}.items():
        monkeypatch.setenv(f"ECG_{name}", text)
    main([str(tmp_path / "data"), "--folds", "3"])
    lines = capsys.readouterr().out.splitlines()[-len(LEADS) :]
    assert [line.split("4 records")[0].strip() for line in lines] == ["I and II", "I", "II"]
    assert len({line.partition("records: ")[2] for line in lines}) > 1
