#!/usr/bin/env bash
# What the gate makes of a poisoned retrain, a line a case: simulated detector frames, and what somebody put among them.
#   benches/poisoned.sh WORK        ANOMALYD is the program; WORK gets frames, models and a JSON file a case
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,3p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
anomalyd=${ANOMALYD:-anomalyd}
cd "$work"; rm -rf clean more odd mixed stars black known base models ./*.json

frames() { # FOLDER INSTRUMENT COUNT SEED SHARE_OF_ANOMALIES
  "$anomalyd" simulate "$2" --size 64 --count "$3" --seed "$4" --anomalies "$5" --split --out "$1" >/dev/null 2>>log
}
frames clean detector 1500 41 0
frames more detector 1500 42 0
frames odd detector 150 43 1
frames stars telescope 1500 44 0
frames known detector 400 45 1
# The files of `more`, a tenth of them replaced by anomalies.
mkdir mixed; find more/normal -type f | sort | head -1350 | xargs cp -t mixed
find odd/anomalous -type f | sort | while read -r file; do cp "$file" "mixed/$(echo "$file" | tr / _)"; done
# Nothing but black, each file with a word of its own: copies would count once.
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

pipeline="$here/pipelines/poisoned.toml"
"$anomalyd" --models base train "$pipeline" --data clean/normal >/dev/null 2>>log

try() { # CASE FLAGS...
  local name=$1; shift
  for anomalies in given injected; do
    rm -rf models; cp -r base models
    local known=(); [ "$anomalies" = injected ] || known=(--gate-anomalous known/anomalous)
    "$anomalyd" --models models retrain "$pipeline" --json "$@" "${known[@]}" >"$name-$anomalies.json" 2>>log || echo '{}' >"$name-$anomalies.json"
    python3 - "$name" "$anomalies" "$name-$anomalies.json" <<'PYTHON'
import json, sys
name, anomalies, path = sys.argv[1:]
found = json.load(open(path)).get("promotion")
if not found:
    print(f"{name:<24} {anomalies:<9} not trained, see the log")
    sys.exit()
verdict = found["verdict"]
pair = lambda key, digits: "{:.{d}f} / {:.{d}f}".format(verdict[key]["candidate"], verdict[key]["current"], d=digits)
alarms = verdict["false_alarms"]
worse = [word for word, key in [("-ELBO", "negative_elbo"), ("AUROC", "auroc"), ("recall", "recall")] if verdict[key]["worse"]]
worse += ["false alarms"] * alarms["outside"]
print(f"{name:<24} {anomalies:<9} {found['event']:<9} {pair('negative_elbo', 1):>15} {pair('auroc', 4):>15} {pair('recall', 3):>13} "
      f"{alarms['candidate']:>4} / {alarms['current']} of {alarms['frames']:<5} {', '.join(worse)}")
PYTHON
  done
}
echo "candidate / current; worse: what the gate names"
printf '%-24s %-9s %-9s %15s %15s %13s %-16s %s\n' case anomalies verdict -ELBO AUROC recall "false alarms" worse
try other-seed --from scratch --seed 2 --data clean/normal
try more-frames --data clean/normal more/normal
try tenth-anomalous --data mixed
try tenth-anomalous-scratch --from scratch --data mixed
try all-black --data black
try half-black --data clean/normal black
try wrong-instrument --data stars/normal
try half-wrong-instrument --data clean/normal stars/normal
