#!/usr/bin/env bash
# Makes the models in starter/, their card and their stored answers anew.
set -euo pipefail
usage() {
    cat <<'USAGE'
bash scripts/starter.sh RECORDS

Trains the models that ship with the project on a folder of records (those that
benchmarks/public_records.txt names, see benchmarks/select_records.py), cross-validates the same recipe
by folds and by source, and writes starter/ and tests/starter/starter_answers.csv. Takes hours; if
interrupted, rerun the same command to resume. Environment variables:

LEADS     lead sets, such as "12 2"; the others in starter/ stay; default: "12 6 4 3 2"
PARTS     what to do, in this order; default: "models folds sources pack card answers"
            models   train the models
            folds    cross-validate by 5 folds
            sources  cross-validate by source
            pack     copy the models to starter/, with operating points from the folds
            card     write starter/MODEL_CARD.md from the folds and sources
            answers  store what the models answer to simulated records
STARTER   folder to write to; default: starter
WORK      folder for everything else, kept to resume; default: out/starter
ECG_…     settings of the training, see docs/settings.md; default: the full recipe
USAGE
}

fail() {
    echo "starter.sh: $*" >&2
    exit 2
}

case ${1:-} in
-h | --help)
    usage
    exit
    ;;
esac
[ $# = 1 ] || fail "expected one folder of records, found $# arguments; see starter.sh --help"
[ -d "$1" ] || fail "expected a folder of records, found $1"
lead_sets=${LEADS:-12 6 4 3 2}
parts=${PARTS:-models folds sources pack card answers}
for part in $parts; do
    case $part in
    models | folds | sources | pack | card | answers) ;;
    *) fail "PARTS: expected some of models folds sources pack card answers, found $part" ;;
    esac
done
for leads in $lead_sets; do
    case $leads in
    12 | 6 | 4 | 3 | 2) ;;
    *) fail "LEADS: expected some of 12 6 4 3 2, found $leads" ;;
    esac
done
records=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${STARTER:-$root/starter}" "${WORK:-$root/out/starter}"
starter=$(cd "${STARTER:-$root/starter}" && pwd)
work=$(cd "${WORK:-$root/out/starter}" && pwd)
cd "$root"
python=.venv/bin/python
[ -x $python ] || bash scripts/venv.sh
export ECG_CACHE=${ECG_CACHE:-$work/cache} # all parts share a lead set's stage on simulated records
unset ECG_LEADS ECG_START

say() { printf '\n[%5d s] %s\n' "$SECONDS" "$*"; }
wanted() { [[ " $parts " == *" $1 "* ]]; }

# The commit; "-dirty" where other files than this script's outputs differ from it.
describe_commit() {
    local commit
    commit=$(git rev-parse --short=7 HEAD 2>/dev/null) || { echo unknown && return; }
    git diff --quiet HEAD -- . ':!starter' ':!tests/starter/starter_answers.csv' || commit+=-dirty
    echo "$commit"
}

# The settings that decide what is trained, as one types them.
describe_command() {
    env | grep -E '^ECG_(METHOD|PRESET|EPOCHS|SEED)=' | sort | tr '\n' ' ' || true
    echo "python train_model.py RECORDS MODEL"
}

for leads in $lead_sets; do
    if wanted models; then
        ECG_LEADS=$leads $python train_model.py "$records" "$work/model"
        # Not before: what was trained at an earlier commit is kept only if this one trains the same.
        describe_commit >"$work/commit"
        describe_command >"$work/command"
        say "$leads leads: trained"
    fi
    if wanted folds; then
        $python -m ecg.cross_validation "$records" "$work/folds" --leads "$leads"
        say "$leads leads: cross-validated by folds"
    fi
    if wanted sources; then
        $python -m ecg.cross_validation "$records" "$work/sources" --by-source --leads "$leads"
        say "$leads leads: cross-validated by source"
    fi
done
if wanted pack; then
    $python -m benchmarks.pack_models "$work/model" "$starter" --folds "$work/folds" \
        --commit "$(cat "$work/commit")" --command "$(cat "$work/command")"
fi
if wanted card; then
    $python -m benchmarks.model_card "$starter" "$records" "$work/folds" "$work/sources"
fi
if wanted answers; then
    $python -m benchmarks.starter_answers "$starter" --write
fi
say "done: $parts, $lead_sets leads"
cat <<PLACES

models and card    $starter
stored answers     $root/tests/starter/starter_answers.csv
work files         $work

Once starter/ has all five lead sets: check the card, then commit
    git add starter tests/starter/starter_answers.csv
PLACES
