#!/bin/sh
# Training step, inference, single-image latency and memory of the CPU engine beside PyTorch's, same networks, in turns.
# usage: benches/engine.sh [ROUNDS [KIND:SIZE...]]      PYTHON names an interpreter with torch; THREADS the threads of both.
#        KIND: dense ae vae lenet5 alexnet unet         [default: 12 rounds of each at 28 pixels, and vae:64]
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
threads=${THREADS:-$(nproc)}
rounds=${1:-12}
[ $# = 0 ] || shift
[ $# -gt 0 ] || set -- dense:28 ae:28 vae:28 lenet5:28 alexnet:28 unet:28 vae:64
binary=${ENGINE:-$(cargo build --release --bench engine --message-format json |
    "$python" -c 'import json, sys
lines = [json.loads(line) for line in sys.stdin]
print(next(l["executable"] for l in lines if l.get("executable") and l["target"]["kind"] == ["bench"]))')}
RAYON_NUM_THREADS=$threads exec "$python" benches/engine.py "$binary" "$threads" "$rounds" "$@"
