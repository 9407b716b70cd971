#!/usr/bin/env bash
# How well a classifier names the kinds of simulated telescope anomalies that the shipped model flags: taught with 120 frames a kind,
# judged by 60 others; prints its confusion matrix.
#   benches/triage.sh WORK [lenet5|alexnet]     ANOMALYD is the program; WORK gets frames and a copy of the shipped models
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1")
here=$(cd "$(dirname "$0")/.." && pwd)
anomalyd=${ANOMALYD:-anomalyd}

rm -rf "${work:?}"/{known,held,models}
cp -r "$here/models" "$work/models"
cd "$work"
run() { "$anomalyd" --models models --pipelines "$here/pipelines" "$@" 2>>log; }
run simulate telescope --count 840 --seed 31 --anomalies 1 --size 512 --split --out known >/dev/null
run simulate telescope --count 420 --seed 32 --anomalies 1 --size 512 --split --out held >/dev/null
run classify train telescope --data known/anomalous --network "${2:-lenet5}" --augment flip_x=true --augment flip_y=true --precision 0.8 >train.txt
run classify evaluate telescope --data held/anomalous --out .
