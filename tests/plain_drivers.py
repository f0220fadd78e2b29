"""Minimal versions of the organisers' train_model.py, test_model.py and helper_code.py.

They read only the Challenge's header dialect, load signals with scipy, and write an empty output if
run_model raises.
"""

import sys
from pathlib import Path

from scipy.io import loadmat

import team_code


def leads_of(header) -> list[str]:
    count = int(header.split("\n")[0].split(" ")[1])
    return [line.split(" ")[-1].strip() for line in header.split("\n")[1 : count + 1]]


def test(model_directory, data_directory, output_directory) -> None:
    header_files = sorted(Path(data_directory).glob("*.hea"))
    headers = {path: path.read_text() for path in header_files}
    order = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    lead_sets = {tuple(sorted(leads_of(h), key=order.index)) for h in headers.values()}
    models = {leads: team_code.load_model(model_directory, leads) for leads in lead_sets}
    Path(output_directory).mkdir(parents=True, exist_ok=True)
    for path, header in headers.items():
        recording = loadmat(path.with_suffix(".mat"))["val"]
        model = models[tuple(sorted(leads_of(header), key=order.index))]
        try:
            classes, labels, probabilities = team_code.run_model(model, header, recording)
        except Exception:  # noqa: BLE001 - as the organisers' scripts do
            classes, labels, probabilities = [], [], []
        lines = (
            f"#{path.stem}",
            ",".join(classes),
            ",".join(map(str, labels)),
            ",".join(map(str, probabilities)),
        )
        (Path(output_directory) / f"{path.stem}.csv").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    command, *folders = sys.argv[1:]
    {"train": team_code.training_code, "test": test}[command](*folders)
