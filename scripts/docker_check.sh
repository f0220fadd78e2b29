#!/usr/bin/env bash
# Builds the image and runs the Challenge's commands in it under strict conditions: no network, a
# read-only root file system except /tmp, and a user that is unknown to the image; then as root with
# a writable root, to check that nothing is written outside the mounted folders.
#
#   bash scripts/docker_check.sh [--full]
#
# With a running Docker engine, the base image of the Dockerfile is pulled. Otherwise (as root on
# Debian 12) a temporary engine is started, and a minimal Debian with Python replaces the base image.
# --full installs TensorFlow's CUDA packages as in the Dockerfile and checks that the loader finds
# them; without it, tensorflow-cpu of the same version is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
full=${1:-}
work=$(mktemp -d)
engine=
built=

say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

clean_up() {
    if [ -n "$built" ]; then
        "$docker" rm --force --volumes "$image" >/dev/null 2>&1 || true
        "$docker" image rm --force "$image" >/dev/null 2>&1 || true
    fi
    if [ -n "$engine" ]; then
        kill "$engine" && wait "$engine" || true
        grep -o " $work/[^ ]*" /proc/mounts | sort -r | xargs -r -n1 umount -l || true
    fi
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT

start_engine() {
    if ! command -v dockerd >/dev/null || ! command -v mmdebstrap >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            docker.io iptables mmdebstrap >"$work/apt.log" 2>&1
    fi
    docker=/usr/bin/docker # the client of this package can build without plug-ins
    export DOCKER_HOST=unix://$work/docker.sock
    local driver=vfs
    modprobe overlay 2>/dev/null || true
    if grep -qw overlay /proc/filesystems; then driver=overlay2; fi
    dockerd --host "$DOCKER_HOST" --data-root "$work/engine" --exec-root "$work/exec" \
        --pidfile "$work/dockerd.pid" --storage-driver "$driver" \
        --bridge none --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
    engine=$!
    for _ in $(seq 60); do
        if "$docker" info >/dev/null 2>&1; then return; fi
        sleep 1
    done
    tail "$work/dockerd.log" >&2
    return 1
}

# The substitute gets this machine's certificates, since only this machine may trust the certificate
# of the package index.
import_base_image() {
    local certificates=/etc/ssl/certs/ca-certificates.crt
    local rootfs=/var/cache/ecg-docker-check/bookworm-python.tar
    local unfinished=/var/cache/ecg-docker-check/unfinished.tar # .tar determines the format
    if [ ! -s "$rootfs" ]; then
        mkdir -p "$(dirname "$rootfs")"
        mmdebstrap --quiet --variant=minbase --include=ca-certificates,python3,python3-pip \
            --customize-hook='rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED' \
            --customize-hook='ln -s python3 "$1/usr/bin/python"' \
            --customize-hook="copy-in $certificates /etc/ssl/certs/" \
            bookworm "$unfinished"
        mv "$unfinished" "$rootfs"
    fi
    "$docker" import --change "ENV PIP_CERT=$certificates" --change 'CMD ["python3"]' \
        "$rootfs" "$1" >/dev/null
}

.venv/bin/hadolint Dockerfile
say "Dockerfile linted"

docker=docker
if ! docker info >/dev/null 2>&1; then
    start_engine
    import_base_image "$(sed -n 's/^FROM //p' Dockerfile)"
    say "engine started, substitute for the base image made"
fi

# A unique name, since others may use the same engine.
image=ecg-check-$$
mkdir "$work/context"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -C "$work/context" -xf -
if [ "$full" != --full ]; then
    sed -i 's/^tensorflow\[and-cuda\]/tensorflow-cpu/' "$work/context/requirements.txt"
fi
DOCKER_BUILDKIT=1 "$docker" build --progress plain --network host --tag "$image" "$work/context" \
    >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; exit 1; }
built=yes
say "image built: $("$docker" image inspect --format '{{.Size}}' "$image" | numfmt --to=si)B"

# Both header dialects, nested test folders, and sampling rates that are not in the training set.
.venv/bin/python -m ecg.simulation "$work/data/training" --records 12 --seed 1 \
    --source simulated-hospital simulated-heart-centre
for leads in 12 6 4 3 2; do
    .venv/bin/python -m ecg.simulation "$work/data/test/${leads}_leads" --records 2 --seed 2 \
        --leads $leads --source simulated-ambulance simulated-telemetry
done
mkdir "$work/model" "$work/outputs"
user=$(id -u):$(id -g)
if [ "$user" = 0:0 ]; then
    user=4321:4321
    chown "$user" "$work/model" "$work/outputs"
fi
chmod a+rx "$work"
run=("$docker" run --rm --network none --read-only --tmpfs /tmp --user "$user"
    --volume "$work/data:/physionet/data:ro")

"${run[@]}" --volume "$work/model:/physionet/model" --env ECG_PRESET=demo --env ECG_EPOCHS=1 \
    "$image" python train_model.py data/training model
say "trained: $(ls "$work/model" | tr '\n' ' ')"
"${run[@]}" --volume "$work/model:/physionet/model:ro" --volume "$work/outputs:/physionet/outputs" \
    "$image" python test_model.py model data/test outputs --strict
say "tested: $(ls "$work/outputs" | wc -l) outputs"
"${run[@]}" --volume "$work/outputs:/physionet/outputs:ro" \
    "$image" python evaluate_model.py data/test outputs
say "scored"
"${run[@]}" "$image" python -c "import defusedxml, ecgdatakit, edfio, pydicom, xmltodict"
say "readers of all formats found"
mkdir "$work/pages"
chown "$user" "$work/pages"
pages=(--volume "$work/model:/physionet/model:ro" --volume "$work/outputs:/physionet/outputs:ro"
    --volume "$work/pages:/physionet/pages")
"${run[@]}" "${pages[@]}" "$image" python -m ecg.report model data/test outputs pages/report.html
record=$(find "$work/data/test/2_leads" -name '*.hea' | head -n 1)
"${run[@]}" "${pages[@]}" "$image" \
    python -m ecg.predict model "${record/#$work\/data/data}" --explain pages/explanation.html
[ "$(ls "$work/pages"/*.html | wc -l)" = 2 ]
say "pages written"
"${run[@]}" "${pages[@]}" "$image" python -m ecg.predict starter "${record/#$work\/data/data}"
say "shipped models answer"
[ "$(ls "$work/model"/*.weights.h5 | wc -l)" = 5 ]
[ "$(ls "$work/outputs"/*.csv | wc -l)" = "$(find "$work/data/test" -name '*.hea' | wc -l)" ]

"$docker" run --name "$image" --network none --volume "$work/data:/physionet/data:ro" \
    --volume /physionet/model --env ECG_PRESET=demo --env ECG_EPOCHS=1 \
    --env ECG_LEADS=2 "$image" python train_model.py data/training model
# Docker lists its mount points as changes, too.
written=$("$docker" diff "$image" | grep -vE '^[AC] /physionet(/data|/model)?$' || true)
if [ -n "$written" ]; then
    printf 'expected no change outside the mounted folders, found\n%s\n' "$written" >&2
    exit 1
fi
say "trained as root: nothing written outside the mounted folders"

if [ "$full" = --full ]; then
    # Loading the libraries and their dependencies does not need a GPU.
    "${run[@]}" "$image" python -c "
import ctypes
for name in ('libcudart.so.12', 'libcublas.so.12', 'libcublasLt.so.12', 'libcufft.so.11',
             'libcusolver.so.11', 'libcusparse.so.12', 'libcudnn.so.9', 'libnccl.so.2'):
    ctypes.CDLL(name)
"
    say "CUDA libraries found by the loader"
fi
say "image check passed"
