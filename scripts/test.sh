#!/usr/bin/env bash
# Makes .venv if necessary, then lints and tests in two processes. Arguments are passed to pytest;
# `-n 0` runs the tests in a single process.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/venv.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest --numprocesses 2 --dist loadfile "$@"
