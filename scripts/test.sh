#!/usr/bin/env bash
# Makes .venv where it is missing, then lints and tests. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

bash scripts/venv.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/python -m pytest "$@"
