#!/usr/bin/env bash
# What the gate makes of a poisoned retrain, a line a case: simulated detector frames, and what somebody put among them.
#   benches/poisoned.sh WORK [SEED...]   ANOMALYD is the program; WORK gets frames, models and a JSON file a case
# Honest retrains are the control. Anomalies are put into held-out frames; `known` cases have simulated ones.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1"); shift
seeds=("$@"); [ $# -gt 0 ] || seeds=(1)
here=$(cd "$(dirname "$0")" && pwd)
anomalyd=${ANOMALYD:-anomalyd}
pipeline="$here/pipelines/poisoned.toml"
cd "$work"

frames() { # FOLDER INSTRUMENT COUNT SEED SHARE_OF_ANOMALIES
  "$anomalyd" simulate "$2" --size 64 --count "$3" --seed "$4" --anomalies "$5" --split --out "$1" >/dev/null 2>>log
}

# The frames of one seed: the current version's own, more of them, anomalies, another instrument, and nothing but black.
prepare() { # SEED
  local seed=$1
  rm -rf clean more odd mixed stars black known base models
  frames clean detector 1500 "${seed}41" 0
  frames more detector 1500 "${seed}42" 0
  frames odd detector 150 "${seed}43" 1
  frames stars telescope 1500 "${seed}44" 0
  frames known detector 400 "${seed}45" 1
  # The files of `more`, a tenth of them replaced by anomalies.
  mkdir mixed; find more/normal -type f | sort | head -1350 | xargs cp -t mixed
  find odd/anomalous -type f | sort | while read -r file; do cp "$file" "mixed/$(echo "$file" | tr / _)"; done
  # Each file with a word of its own: copies would count once.
  python3 - black 1500 <<'PYTHON'
import os, struct, sys, zlib
folder, count = sys.argv[1], int(sys.argv[2])
os.makedirs(folder)
chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
pixels = zlib.compress(b"".join(b"\0" + bytes(2 * 64) for _ in range(64)))
for number in range(count):
    with open(f"{folder}/{number:04}.png", "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 16, 0, 0, 0, 0))
                   + chunk(b"tEXt", b"Comment\0%d" % number) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
PYTHON
  "$anomalyd" --models base train "$pipeline" --seed "$seed" --data clean/normal >/dev/null 2>>log
}

try() { # CASE EXPECTED FLAGS...
  local name=$1 expected=$2 file="$1-$seed.json"; shift 2
  rm -rf models; cp -r base models
  "$anomalyd" --models models --state state retrain "$pipeline" --json "$@" >"$file" 2>>log || echo '{}' >"$file"
  python3 - "$name" "$seed" "$expected" "$file" <<'PYTHON'
import json, sys
name, seed, expected, path = sys.argv[1:]
found = json.load(open(path)).get("promotion")
if not found:
    print(f"{name:<22} {seed:>4} not trained, see the log")
    sys.exit()
verdict = found["verdict"]
def pair(figures, key, digits):
    figure = figures[key]
    return "-" if figure is None else "{:.{d}f} / {:.{d}f}".format(figure["candidate"], figure["current"], d=digits)
def worse(figures):
    said = [word for word, key in [("-ELBO", "negative_elbo"), ("AUROC", "auroc"), ("recall", "recall")]
            if figures[key] and figures[key]["worse"]]
    said += ["false alarms"] * figures["false_alarms"]["outside"] + ["unlike"] * figures.get("unlike", False)
    return ", ".join(said) or "-"
def line(start, origin, figures):
    alarms = figures["false_alarms"]
    print(f"{start:<38} {origin:<8} {pair(figures, 'negative_elbo', 1):>16} {pair(figures, 'auroc', 4):>15} "
          f"{pair(figures, 'recall', 3):>13} {alarms['candidate']:>4} / {alarms['current']:<3} of {alarms['frames']:<4} {worse(figures)}")
mark = "" if found["event"] == expected else " (!)"
line(f"{name:<22} {seed:>4} {found['event']}{mark}", "own", verdict)
for other in verdict["others"]:
    line("", other["origin"].removesuffix("/normal").split("/")[-1], other)
PYTHON
}

: >log; rm -f ./*.json
echo "candidate / current, on the current version's own held-out frames and on those of each other folder; (!): not what was expected"
printf '%-22s %4s %-10s %-8s %16s %15s %13s %-16s %s\n' case seed verdict frames -ELBO AUROC recall "false alarms" worse
for seed in "${seeds[@]}"; do
  prepare "$seed"
  try honest-other-seed promoted --from scratch --seed "$((seed + 100))" --data clean/normal
  try honest-warm promoted --data clean/normal
  try honest-more-frames promoted --data clean/normal more/normal
  try honest-more-known promoted --data clean/normal more/normal --gate-anomalous known/anomalous
  try tenth-anomalous refused --data mixed
  try tenth-beside refused --data clean/normal mixed
  try tenth-scratch refused --from scratch --data clean/normal mixed
  try tenth-known refused --data clean/normal mixed --gate-anomalous known/anomalous
  try all-black refused --data black
  try half-black refused --data clean/normal black
  try wrong-instrument refused --data stars/normal
  try half-wrong-instrument refused --data clean/normal stars/normal
done
