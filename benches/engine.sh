#!/bin/sh
# Training step, inference and single-image latency of the CPU engine beside PyTorch's, same network, in turns.
# usage: benches/engine.sh [ROUNDS]      PYTHON names an interpreter with torch; THREADS the threads of both.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
threads=${THREADS:-$(nproc)}
binary=$(cargo build --release --bench engine --message-format json |
    "$python" -c 'import json, sys
lines = [json.loads(line) for line in sys.stdin]
print(next(l["executable"] for l in lines if l.get("executable") and l["target"]["kind"] == ["bench"]))')
RAYON_NUM_THREADS=$threads exec "$python" benches/torch_engine.py "$binary" "$threads" "${1:-12}"
