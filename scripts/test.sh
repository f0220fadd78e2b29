#!/usr/bin/env bash
# Makes .venv if necessary, then lints and tests in two processes.
#
#   bash scripts/test.sh [--fast | --all] [ARGUMENTS OF PYTEST]
#
# --fast skips tests that train a network or start a process; --all adds the nightly tests.
# `-n 0` runs the tests in a single process.
set -euo pipefail
cd "$(dirname "$0")/.."

tier="not nightly"
case "${1:-}" in
    --fast) tier="not (training or contract or nightly)" && shift ;;
    --all) tier="" && shift ;;
esac
bash scripts/venv.sh
.venv/bin/ruff check .
.venv/bin/ruff format --check .
# In the order of tests/conftest.py, which puts what takes longest first.
.venv/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "$tier" "$@"
