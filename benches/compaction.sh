#!/usr/bin/env bash
# A closed day of many parts: read time before and after `anomalyd compact`, by our query and (where PYTHON has it) by DuckDB.
#   benches/compaction.sh WORK [PARTS [ROWS [PICTURE]]]
# Run from the repository; 4000 parts of 10 rows; PICTURE (0) is the bytes of a picture in each row; ANOMALYD is the program.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; state=$(realpath "$1")/state; parts=${2:-4000}; rows=${3:-10}; picture=${4:-0}
anomalyd=${ANOMALYD:-anomalyd}; python=${PYTHON:-python3}
rm -rf "$state"
binary=$(cargo build --release --bench compaction --message-format json |
  sed -n 's/.*"kind":\["bench"\].*"name":"compaction".*"executable":"\([^"]*\)".*/\1/p')
duck() {
  "$python" - "$state" 2>/dev/null <<'PYTHON' || echo -
import sys, time
import duckdb
times = []
for _ in range(3):
    begun = time.perf_counter()
    duckdb.sql(f"SELECT COUNT(*), MAX(score) FROM read_parquet('{sys.argv[1]}/reports/scores/*/*/*.parquet', hive_partitioning = true)").fetchall()
    times.append(time.perf_counter() - begun)
print(f"{1e3 * min(times):.1f}")
PYTHON
}
size() { du -sk "$state/reports" | cut -f1; }
"$binary" make "$state" "$parts" "$rows" "$picture"
before=("$("$binary" query "$state")" "$(duck)" "$(size)")
begun=$(date +%s%N)
ANOMALYD__COMPACTION__QUIET_S=0 "$anomalyd" --state "$state" compact &
pid=$!; peak=0
while resident=$(awk '/VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [ -n "$resident" ]; do peak=$resident; sleep 0.02; done
wait $pid
echo "compacted in $((($(date +%s%N) - begun) / 1000000)) ms, peak memory $((peak / 1024)) MiB"
after=("$("$binary" query "$state")" "$(duck)" "$(size)")
line() {
  awk -v name="$1" -v unit="$2" -v before="$3" -v after="$4" 'BEGIN {
    if (before == "-" || after == "-") print name ": not measured"
    else printf "%s: %s %s before, %s %s after, ratio %.1f\n", name, before, unit, after, unit, before / after }'
}
line "anomalyd query" ms "${before[0]}" "${after[0]}"
line "DuckDB" ms "${before[1]}" "${after[1]}"
line "on disk" KiB "${before[2]}" "${after[2]}"
