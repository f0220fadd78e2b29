#!/usr/bin/env bash
# Makes .venv with all pinned packages, including those for development, unless it is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "venv.sh: expected Python 3.11, 3.12 or 3.13 on the PATH, found none" >&2
    exit 1
fi

# The CUDA packages, a download of 3 GB, are only useful with an NVIDIA driver.
if [ -e /proc/driver/nvidia/version ]; then
    tensorflow="tensorflow[and-cuda]"
elif [ "$(uname -sm)" = "Linux x86_64" ]; then
    tensorflow=tensorflow-cpu
else
    tensorflow=tensorflow
fi

wanted=$({ "$python" --version && echo "$tensorflow" && cat requirements*.txt constraints.txt; } | cksum)
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    "$python" -m venv --clear .venv
    sed "s/^tensorflow\[and-cuda\]/$tensorflow/" requirements.txt >.venv/requirements.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --requirement .venv/requirements.txt --requirement requirements-dev.txt \
        --constraint constraints.txt
    echo "$wanted" >.venv/installed
fi
