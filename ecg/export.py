"""`python -m ecg.export MODEL OUT.onnx`: a trained model as a file for ONNX Runtime.

The file answers prepared windows with calibrated probabilities of the 26 diagnoses; its metadata
says how to prepare a recording and how to decide. Needs the packages of requirements-onnx.txt.
"""

import argparse
import os
from pathlib import Path

from ecg.models.descriptions import find_model_folder, find_models
from ecg.pages import NOTICE
from ecg.records.leads import LEAD_SETS
from ecg.runtime.command_line import running
from ecg.runtime.files import check_place


def main(arguments=None, prog="python -m ecg.export") -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=NOTICE)
    parser.add_argument("model", help='folder that train_model.py wrote, or "starter"')
    parser.add_argument("file", type=Path, metavar="OUT.onnx")
    parser.add_argument(
        "--leads",
        type=int,
        choices=LEAD_SETS,
        help="which of the folder's models; default: the one with the most leads",
    )
    options = parser.parse_args(arguments)
    with running("ecg.export"):
        check_place(options.file)
        folder = find_model_folder(options.model)
        lead_set = options.leads or find_models(folder)[0]
        # A GPU's layers cannot all be converted, and its rounding differs.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        from ecg.models.onnx_files import write_onnx  # loads TensorFlow

        difference = write_onnx(folder, lead_set, options.file, NOTICE)
    size = options.file.stat().st_size / 1e6
    print(
        f"{options.file}: {lead_set} leads, {size:.1f} MB; probabilities differ from Keras's by at "
        f"most {difference:.1g}"
    )


if __name__ == "__main__":
    main()
