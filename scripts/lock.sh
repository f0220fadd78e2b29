#!/usr/bin/env bash
# Writes constraints.txt: the exact version of every direct and indirect dependency in
# requirements.txt, requirements-dev.txt and requirements-docs.txt, for Python 3.11 to 3.13. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."

# TensorFlow 2.21 is built and tested with CUDA 12.5 and cuDNN 9.3, but only requires these or later
# versions.
nvidia=$(mktemp)
trap 'rm -f "$nvidia"' EXIT
cat >"$nvidia" <<'PINS'
nvidia-cublas-cu12==12.5.3.2
nvidia-cuda-cupti-cu12==12.5.82
nvidia-cuda-nvcc-cu12==12.5.82
nvidia-cuda-nvrtc-cu12==12.5.82
nvidia-cuda-runtime-cu12==12.5.82
nvidia-cudnn-cu12==9.3.0.75
nvidia-cufft-cu12==11.2.3.61
nvidia-curand-cu12==10.3.6.82
nvidia-cusolver-cu12==11.6.3.83
nvidia-cusparse-cu12==12.5.1.3
nvidia-nccl-cu12==2.27.7
nvidia-nvjitlink-cu12==12.5.82
PINS
{
    echo "# Every package that the requirements pull in. Written by scripts/lock.sh."
    uv pip compile --quiet --universal --python-version 3.11 --strip-extras --no-annotate \
        --no-header --no-emit-index-url --constraint "$nvidia" requirements.txt requirements-dev.txt \
        requirements-docs.txt
} >constraints.txt
