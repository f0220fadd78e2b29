#!/usr/bin/env bash
# Makes .venv where it is missing, then lints and tests, two files at a time. Arguments go to pytest;
# `-n 0` tests one file after another, in this process.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/venv.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest --numprocesses 2 --dist loadfile "$@"
