#!/usr/bin/env bash
# Simulates, trains, tests, scores and reports, on a machine that has only Python.
set -euo pipefail
usage() {
    cat <<'USAGE'
bash scripts/demo.sh [FOLDER]

Simulates training and test records, trains the five models (preset "demo"), tests, scores and writes
the report. Half of the test records come from sources that are not in the training set. Uses an
NVIDIA GPU if there is one.

FOLDER    output folder: new, empty, or that of an interrupted demo, which is resumed; default: demo
          in the repository. Remove the folder to start over.
USAGE
}

folder=
for argument; do
    case $argument in
    -h | --help)
        usage
        exit
        ;;
    -*)
        echo "demo.sh: unknown option $argument; see demo.sh --help" >&2
        exit 2
        ;;
    *)
        if [ -n "$folder" ]; then
            echo "demo.sh: expected one folder, found $folder and $argument" >&2
            exit 2
        fi
        folder=$argument
        ;;
    esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${folder:-$root/demo}
if [ -e "$folder/.simulated" ]; then
    echo "resuming the demo in $folder"
elif [ -e "$folder" ] && { [ ! -d "$folder" ] || [ -n "$(ls -A "$folder")" ]; }; then
    echo "demo.sh: expected a new or empty folder, or that of an earlier demo; found $folder" >&2
    exit 1
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
cd "$root"
# The demo uses its own settings.
unset ECG_METHOD ECG_PRESET ECG_LEADS ECG_EPOCHS ECG_SEED ECG_CACHE ECG_TIME_LIMIT_H
records=600 # for training
seen=(simulated-hospital simulated-heart-centre simulated-county)
unseen=(simulated-ambulance simulated-telemetry) # 300 and 250 Hz
lead_sets=(12 6 4 3 2)
lines=()
newline=$'\n' # bash 3.2 and 5 differ on $'\n' within a quoted ${…}

say() { printf '\n[%4d s] %s\n' "$SECONDS" "$*"; }

bash scripts/venv.sh
python=.venv/bin/python
touch "$folder/.simulated"
say "environment ready"

if [ ! -e "$folder/.records_complete" ]; then
    $python -m ecg.simulation "$folder/training" --records $records --seed 1 --source "${seen[@]}"
    for leads in "${lead_sets[@]}"; do
        $python -m ecg.simulation "$folder/test/seen/$leads" --records 60 --seed 2 \
            --leads "$leads" --source "${seen[@]}"
        $python -m ecg.simulation "$folder/test/unseen/$leads" --records 60 --seed 2 \
            --leads "$leads" --source "${unseen[@]}"
    done
    touch "$folder/.records_complete"
fi
say "records simulated"

ECG_PRESET=demo $python train_model.py "$folder/training" "$folder/model"
say "models trained"

$python test_model.py "$folder/model" "$folder/test" "$folder/outputs" --strict
say "test records classified"

for sources in seen unseen; do
    for leads in "${lead_sets[@]}"; do
        scores=$($python evaluate_model.py "$folder/test/$sources/$leads" "$folder/outputs")
        lines+=("$sources,$leads,${scores##*$newline}")
    done
done
printf '%s\n' "sources,leads,${scores%%$newline*}" "${lines[@]}" >"$folder/scores.csv"
$python -m ecg.report "$folder/model" "$folder/test" "$folder/outputs" "$folder/report.html"
say "scored; by definition, always predicting sinus rhythm has a Challenge metric of 0"
echo
while IFS=, read -r sources leads auroc auprc accuracy f_measure metric; do
    printf '%-8s %-6s %-7s %-7s %-9s %-10s %s\n' \
        "$sources" "$leads" "$auroc" "$auprc" "$accuracy" "$f_measure" "$metric"
done <"$folder/scores.csv"
cat <<PLACES

training records   $folder/training
test records       $folder/test/{seen,unseen}/{12,6,4,3,2}
models             $folder/model
outputs            $folder/outputs
scores             $folder/scores.csv
report             $folder/report.html
PLACES
