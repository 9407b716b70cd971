#!/usr/bin/env bash
# The shipped telescope and detector models on freshly simulated frames: figures by kind of anomaly, and false alarms.
#   benches/simulated.sh WORK [telescope|detector ...]      run from the repository; ANOMALYD is the program
# The models were made from `anomalyd simulate <name> --count N --seed 11 --anomalies 0 --out data/<name>`
# (N: 1000 telescope, 2000 detector) and `anomalyd train <name> --data data/<name>`; the seeds here are others.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1"); shift
anomalyd=${ANOMALYD:-anomalyd}
[ $# -gt 0 ] || set -- telescope detector
for name in "$@"; do
  rm -rf "$work/$name-normal" "$work/$name-anomalous"
  "$anomalyd" simulate "$name" --count 1000 --seed 22 --anomalies 0 --out "$work/$name-normal" >/dev/null
  "$anomalyd" simulate "$name" --count 420 --seed 23 --anomalies 1 --split --out "$work/$name-anomalous" >/dev/null
  echo "== $name"
  "$anomalyd" evaluate "$name" --normal "$work/$name-normal" --anomalous "$work/$name-anomalous/anomalous" --out "$work/$name-plots"
done
