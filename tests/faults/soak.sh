#!/usr/bin/env bash
# The service under a sustained rate: do memory, descriptors, threads, queues grow?
#   tests/faults/soak.sh SECONDS RATE [CSV]      RATE in files a second; samples every 10 s go to CSV (default: soak.csv)
# ANOMALYD is the program. Exits 1 where a slope is above its bound by four standard errors, or a file is lost. See soak.py.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
exec python3 "$(dirname "$0")/soak.py" --seconds "$1" --rate "$2" --csv "${3:-soak.csv}"
