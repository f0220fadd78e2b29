#!/usr/bin/env bash
# Builds the site into docs/_build/index.html; a warning is an error. --examples runs the examples
# too, a few minutes more.
set -euo pipefail
cd "$(dirname "$0")/.."

gallery=0
case "$*" in
"") ;;
--examples) gallery=1 ;;
*)
    echo "docs.sh: expected --examples or nothing, found $*" >&2
    exit 2
    ;;
esac

bash scripts/venv.sh
# Goes with .venv when that is made anew, as it is when a requirement changes.
if [ ! -e .venv/installed_docs ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --requirement requirements-docs.txt --constraint constraints.txt
    touch .venv/installed_docs
fi
rm -rf docs/_build docs/api docs/gallery
.venv/bin/python -m sphinx --quiet --fail-on-warning --keep-going \
    --define "plot_gallery=$gallery" docs docs/_build
echo "docs/_build/index.html"
