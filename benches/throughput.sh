#!/usr/bin/env bash
# 10,000 MNIST PNG files to committed Parquet, beside a Python script of the same network (Pillow, torch, pyarrow).
#   benches/throughput.sh DATA WORK [RUNS]       DATA holds digits/mnist; the two alternate, RUNS (3) times
# ANOMALYD is the program (default: anomalyd), ANOMALYD_PYTHON a Python with torch, pillow and pyarrow.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
data=$(realpath "$1"); mkdir -p "$2"; work=$(realpath "$2"); runs=${3:-3}
here=$(cd "$(dirname "$0")" && pwd)
anomalyd=${ANOMALYD:-anomalyd}; python=${ANOMALYD_PYTHON:-python3}

if [ ! -d "$work/png" ]; then
  "$python" - "$data/digits/mnist/t10k-images-idx3-ubyte.gz" "$work/png" <<'PY'
import gzip, pathlib, sys
import numpy
from PIL import Image
out = pathlib.Path(sys.argv[2]); out.mkdir(parents=True)
images = numpy.frombuffer(gzip.open(sys.argv[1]).read(), numpy.uint8, offset=16).reshape(-1, 28, 28)
for index, image in enumerate(images):
    Image.fromarray(image).save(out / f"{index:05}.png")
PY
fi
for _ in $(seq "$runs"); do
  rm -rf "$work/state" "$work/peer.parquet"
  "$python" "$here/throughput_peer.py" "$work/png" "$work/peer.parquet"
  # The whole process, from start to exit: start-up, scoring, commit.
  "$python" - "$anomalyd" "$work" <<'PY'
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.argv[1], "--state", f"{sys.argv[2]}/state", "score", "digits", f"{sys.argv[2]}/png"],
               check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"anomalyd 10000 images in {seconds:.2f} s: {10000 / seconds:.0f} images/s, peak {peak:.0f} MiB")
PY
done
