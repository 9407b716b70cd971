#!/usr/bin/env bash
# LeNet-5 and AlexNet on MNIST, from the command line alone: trains on the 60,000 (a share of them validates), then prints time,
# images a second, and accuracy and confusion matrix on the 10,000.
#   benches/lenet.sh DATA WORK [NETWORK...]      NETWORK: lenet5 alexnet [default: lenet5]
# DATA holds digits/mnist/*.gz; WORK gets models, figures and the log, and is new. EPOCHS, SEED, ANOMALYD and AUGMENT (such as
# translate=1, done to what is learnt from) may be set.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6p' "$0" | cut -c3-; exit 2; }
images=$(realpath "$1")/digits/mnist; mkdir -p "$2"; work=$(realpath "$2"); shift 2
here=$(cd "$(dirname "$0")/.." && pwd)
anomalyd=${ANOMALYD:-anomalyd}

[ $# -gt 0 ] || set -- lenet5
for network in "$@"; do
  case $network in
    lenet5) options=(--learning-rate 2e-3 --weight-decay 5e-2 --batch-size 64 --epochs "${EPOCHS:-20}") ;;
    alexnet) options=(--width 0.125 --learning-rate 1e-3 --weight-decay 5e-2 --batch-size 64 --epochs "${EPOCHS:-6}") ;;
    *) echo "no network $network" >&2; exit 2 ;;
  esac
  [ -z "${AUGMENT:-}" ] || options+=(--augment "$AUGMENT")
  run() { "$anomalyd" --models "$work/$network" --pipelines "$here/pipelines" classify "$@" 2>>"$work/$network.log"; }
  command=(train digits --data "$images/train-images-idx3-ubyte.gz" --labels "$images/train-labels-idx1-ubyte.gz"
    --network "$network" "${options[@]}" --split "0.92,0.08,0" --patience 30 --seed "${SEED:-1}")
  echo "anomalyd classify ${command[*]}"
  start=$(date +%s.%N)
  run "${command[@]}" >"$work/$network-train.txt"
  end=$(date +%s.%N)
  grep -E '^(frames|parameters|kept epoch|answers|validation|promoted|refused|waits)' "$work/$network-train.txt"
  grep -oE 'images_per_s=[0-9]+' "$work/$network.log" | cut -d= -f2 | sort -n |
    awk -v s="$start" -v e="$end" '{ a[NR] = $1 } END { printf "wall time    %.0f s, median %d images/s in training\n", e - s, a[int((NR + 1) / 2)] }'
  run evaluate digits --data "$images/t10k-images-idx3-ubyte.gz" --labels "$images/t10k-labels-idx1-ubyte.gz" --out "$work/$network-test"
  echo
done
