#!/usr/bin/env bash
# Cold start to ready, then idle CPU and memory of `anomalyd watch`, with the shipped telescope and detector models.
#   benches/watch.sh WORK [SECONDS]              run from the repository; ANOMALYD is the program; SECONDS (20) idle
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,3p' "$0" | cut -c3-; exit 2; }
mkdir -p "$1"; work=$(realpath "$1"); seconds=${2:-20}
anomalyd=${ANOMALYD:-anomalyd}
rm -rf "$work/state" "$work/pipelines" "$work/inbox"; mkdir -p "$work/pipelines"
for name in telescope detector; do
  mkdir -p "$work/inbox/$name"
  { echo "inbox = \"$work/inbox/$name\""; cat "pipelines/$name.toml"; } >"$work/pipelines/$name.toml"
done
start=$(date +%s%N)
"$anomalyd" --state "$work/state" --pipelines "$work/pipelines" watch telescope detector 2>"$work/log" &
pid=$!
trap 'kill $pid 2>/dev/null || true' EXIT
until grep -q ready "$work/log"; do sleep 0.005; kill -0 $pid; done
echo "ready after $((($(date +%s%N) - start) / 1000000)) ms"
sleep 2
ticks() { awk '{ print $14 + $15 }' "/proc/$pid/stat"; }
before=$(ticks); sleep "$seconds"; after=$(ticks)
awk -v used=$((after - before)) -v hz="$(getconf CLK_TCK)" -v s="$seconds" 'BEGIN { printf "idle: %.2f %% of a core\n", 100 * used / hz / s }'
awk '/VmRSS/ { printf "resident: %.0f MiB\n", $2 / 1024 }' "/proc/$pid/status"
