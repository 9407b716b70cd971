#!/usr/bin/env bash
# Accuracy on public images, from the command line alone: trains and evaluates each task, prints one line a model.
#   benches/accuracy.sh DATA WORK [TASK...]      TASK: mnist-one mnist-held-out hsc timepix-clusters timepix-frames elpv
# DATA holds digits/ stamps/ detector/ cracks/; WORK gets folders of links, models and a JSON file an evaluation.
# KIND=ae or KIND=dense trains another kind of model on the same tasks (dense: 512 and 128 units down to 16, and back).
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,5p' "$0" | cut -c3-; exit 2; }
data=$(realpath "$1"); mkdir -p "$2"; work=$(realpath "$2"); shift 2
tasks=${*:-mnist-one mnist-held-out hsc timepix-clusters timepix-frames elpv}
here=$(cd "$(dirname "$0")" && pwd)
anomalyd=${ANOMALYD:-anomalyd}

mkdir -p "$work/pipelines"
for pipeline in "$here"/pipelines/*.toml; do
  case ${KIND:-vae} in
    vae) cat "$pipeline" ;;
    ae) sed 's/^kind = "vae"/kind = "ae"/' "$pipeline" ;;
    dense) sed 's/^kind = "vae"/kind = "dense"/; s/^channels = \[.*/channels = [512, 128]/; s/^latent = .*/latent = { kind = "vector", dim = 16 }/' "$pipeline" ;;
    *) echo "no kind $KIND" >&2; exit 2 ;;
  esac >"$work/pipelines/${pipeline##*/}"
done

# Each task is a training of its own, not a successor of the one before it: no gate.
afresh() { rm -rf "${work:?}/models/${1:?}"; run train "$@" >/dev/null; }
run() { "$anomalyd" --models "$work/models" --pipelines "$work/pipelines" "$@" 2>>"$work/log"; }
figure() { grep -m1 -E "^  \"$2\"" "$1" | grep -oE '[0-9.]+([eE]-?[0-9]+)?' | tail -1; }
line() { printf '%-40s auroc %.4f  ap %.4f  recall %.3f  false alarms %.4f\n' "$1" \
  "$(figure "$2" auroc)" "$(figure "$2" average_precision)" "$(figure "$2" recall_at_alpha)" "$(figure "$2" false_alarm_rate)"; }
summary() { # NAME FILE...
  local name=$1; shift
  for file in "$@"; do figure "$file" auroc; done | sort -n |
    awk -v name="$name" '{ sum += $1; if (NR == 1) worst = $1 } END { printf "%-40s mean auroc %.4f  worst %.4f\n", name, sum / NR, worst }'
}
# Every n-th file of a folder to test, the others to train, as links.
halve() { # FROM NAME N [GLOB]
  rm -rf "${work:?}/${2:?}"; mkdir -p "$work/$2/train" "$work/$2/test"
  find "$1" -type f -name "${4:-*}" | sort | awk -v n="$3" '{ print (NR % n == 0 ? "test" : "train"), $0 }' |
    while read -r side file; do ln -s "$file" "$work/$2/$side/"; done
}

mnist() { # PIPELINE one|held
  local images="$data/digits/mnist" files=() normal
  for digit in 0 1 2 3 4 5 6 7 8 9; do
    normal=$digit
    [ "$2" = one ] || normal=$(seq 0 9 | grep -v "$digit" | paste -sd,)
    afresh "$1" --data "$images/train-images-idx3-ubyte.gz" --labels "$images/train-labels-idx1-ubyte.gz" --normal-label "$normal"
    run evaluate "$1" --data "$images/t10k-images-idx3-ubyte.gz" --labels "$images/t10k-labels-idx1-ubyte.gz" --normal-label "$normal" --json >"$work/$1-$digit.json"
    line "$1, digit $digit" "$work/$1-$digit.json"
    files+=("$work/$1-$digit.json")
  done
  summary "$1" "${files[@]}"
}
against() { # PIPELINE NORMAL NAME ANOMALOUS...
  local pipeline=$1 normal=$2 name=$3; shift 3
  run evaluate "$pipeline" --normal "$normal" --anomalous "$@" --json >"$work/$pipeline-$name.json"
  line "$pipeline, against $name" "$work/$pipeline-$name.json"
}

for task in $tasks; do
  case $task in
    mnist-one) mnist mnist-one one ;;
    mnist-held-out) mnist mnist-held-out held ;;
    hsc)
      halve "$data/stamps/hsc_galaxies/normal_boring" hsc 3
      afresh hsc --data "$work/hsc/train"
      against hsc "$work/hsc/test" top100 "$data/stamps/hsc_galaxies/anomaly_top100"
      against hsc "$work/hsc/test" interesting "$data"/stamps/hsc_galaxies/interesting_* ;;
    timepix-clusters)
      halve "$data/detector/timepix/clusters_png16/beta_track" timepix-clusters 3
      afresh timepix-clusters --data "$work/timepix-clusters/train"
      against timepix-clusters "$work/timepix-clusters/test" alpha_blob "$data/detector/timepix/clusters_png16/alpha_blob" ;;
    timepix-frames)
      halve "$data/detector/timepix/frames_png16/sr90_0mm" timepix-frames 4
      afresh timepix-frames --data "$work/timepix-frames/train"
      against timepix-frames "$work/timepix-frames/test" crookes "$data/detector/timepix/frames_png16/crookes" ;;
    elpv)
      rm -rf "$work/elpv-all"; mkdir -p "$work/elpv-all/sound" "$work/elpv-all/defect"
      while IFS=, read -r file probability kind _; do
        case "$probability,$kind" in
          0.0,mono*) ln -s "$data/cracks/elpv/images/$file" "$work/elpv-all/sound/" ;;
          1.0,mono*) ln -s "$data/cracks/elpv/images/$file" "$work/elpv-all/defect/" ;;
        esac
      done < <(tail -n +2 "$data/cracks/elpv/labels.csv")
      rm -rf "$work/elpv"; mkdir -p "$work/elpv/train" "$work/elpv/test"
      find "$work/elpv-all/sound" -type l | sort | awk '{ print (NR % 3 == 0 ? "test" : "train"), $0 }' |
        while read -r side file; do cp -P "$file" "$work/elpv/$side/"; done
      afresh elpv --data "$work/elpv/train"
      against elpv "$work/elpv/test" defect "$work/elpv-all/defect" ;;
    *) echo "unknown task $task" >&2; exit 2 ;;
  esac
done
