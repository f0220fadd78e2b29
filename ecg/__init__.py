"""ECG classifier for the 26 scored diagnoses of the PhysioNet/CinC Challenge 2021."""

import logging
import os

# TensorFlow's notes at start say nothing that helps a user; its warnings and errors stay. It
# reads this when it is imported, so it is set here, before any module of the package is.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# It also takes five models in one process, each traced once, for a loop that traces anew.
logging.getLogger("tensorflow").addFilter(lambda note: "retracing" not in note.getMessage())
