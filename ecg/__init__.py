"""ECG classifier for the 26 scored diagnoses of the PhysioNet/CinC Challenge 2021."""

import logging
import os

__version__ = "1.0.0"

# Hide TensorFlow's notes, which do not help a user, but not its warnings and errors. TensorFlow
# reads this when it is imported, so it is set before any module of the package is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
# Hide its warning about retracing: it mistakes five models, each traced once, for a loop.
logging.getLogger("tensorflow").addFilter(lambda note: "retracing" not in note.getMessage())
