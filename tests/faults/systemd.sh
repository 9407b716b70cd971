#!/usr/bin/env bash
# The service under a real systemd: PID 1 of a namespace of its own, over a copy of this machine's files that vanishes with it.
# Prints one line a check, with figures; exits 1 where one fails, 77 where the machine cannot run it (not root, no systemd, ...).
#   tests/faults/systemd.sh [ANOMALYD [ANOMALYD.deb]]
# ANOMALYD defaults to the release build. With a package, that is installed by dpkg; without one, the same files are laid out by hand.
# shellcheck disable=SC2317,SC2016 # functions are called by name; another shell expands
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

skip() { echo "systemd: SKIPPED: $*"; exit 77; }

# --- PID 1's side -------------------------------------------------------------------------------------------------------------

# Makes the root file system of the namespace in DIR, and becomes systemd.
become_systemd() {
  local dir=$1 device
  mount --make-rprivate /
  mount -t tmpfs -o size=75% tmpfs "$dir"
  mkdir "$dir"/{upper,work,root}
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
  cd "$dir/root"
  mount -t proc proc proc
  mount -t sysfs sysfs sys
  mount -t cgroup2 cgroup2 sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs dev
  for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
  done
  mkdir dev/pts dev/shm
  mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
  ln -s pts/ptmx dev/ptmx
  ln -s /proc/self/fd dev/fd
  for device in run tmp var/log; do mount -t tmpfs tmpfs "$device"; done
  chmod 1777 tmp
  # Nothing of this machine's own services, users of anomalyd or state.
  rm -rf etc/systemd/system/* etc/anomalyd var/lib/anomalyd data etc/machine-id usr/sbin/policy-rc.d usr/bin/anomalyd usr/share/anomalyd
  sed -i '/^anomalyd:/d' etc/passwd etc/group
  : >etc/fstab
  echo 0123456789abcdef0123456789abcdef >etc/machine-id
  find usr/lib/systemd/system/*.target.wants -mindepth 1 ! -name '*journald*' ! -name systemd-tmpfiles-setup.service \
    ! -name systemd-sysusers.service -delete
  mkdir old
  pivot_root . old
  umount -l /old
  echo anomalyd-test >/proc/sys/kernel/hostname
  ip link set lo up
  exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
    --unit=basic.target --log-target=journal --show-status=false
}

if [ "${1:-}" = --become-systemd ]; then
  become_systemd "$2"
fi

# --- this side ----------------------------------------------------------------------------------------------------------------

anomalyd=${1:-${CARGO_TARGET_DIR:-$root/target}/release/anomalyd}
package=${2:-}
[ -x "$anomalyd" ] || { echo "systemd: no program at $anomalyd: build it first, or name it" >&2; exit 2; }
[ "$(id -u)" = 0 ] || skip "not root"
for tool in unshare nsenter pivot_root systemctl journalctl ip; do
  command -v "$tool" >/dev/null || skip "no $tool"
done
[ -x /lib/systemd/systemd ] || skip "no systemd"
[ -e "$root/models/detector/current" ] || skip "no models/detector"
cgroup=/sys/fs/cgroup
[ -e $cgroup/cgroup.controllers ] || cgroup=$cgroup/unified
[ -e $cgroup/cgroup.controllers ] || skip "no cgroup2"

scratch=$(mktemp -d)
init=''
failed=0
leave() {
  [ -z "$init" ] || kill -KILL "$init" 2>/dev/null || true
  wait 2>/dev/null || true
  for _ in $(seq 50); do
    find "$cgroup/anomalyd-test-$$" -depth -type d -exec rmdir {} + 2>/dev/null && break
    [ -d "$cgroup/anomalyd-test-$$" ] || break
    sleep 0.1
  done
  rm -rf "$scratch"
}
trap leave EXIT

now() { date +%s%N; }
since() { echo "$((($(now) - $1) / 1000000)) ms"; }
inside() { nsenter -t "$init" -m -u -i -n -p -C -- "$@"; }
journal() { inside journalctl --no-pager -o cat "$@"; }
property() { inside systemctl show -P "$2" "$1"; }
is() { [ "$(inside systemctl is-active "$1" 2>/dev/null || true)" = "$2" ]; }
# said UNIT PATTERN [TIMES]: whether its journal has it, so often at least
said() { [ "$(journal -u "$1" | grep -c -e "$2")" -ge "${3:-1}" ]; }
restarted() { [ "$(property "$1" NRestarts)" -ge 1 ] && is "$1" active; }

# eventually COMMAND...: polls; false after minutes, which prove nothing on a machine that does other things.
eventually() {
  local end=$((SECONDS + 600))
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# check NAME COMMAND...: one line; what the last command of a check leaves in $figures goes with it.
figures=''
check() {
  local name=$1
  shift
  figures=''
  if "$@"; then
    echo "systemd: ok: $name${figures:+: $figures}"
  else
    echo "systemd: FAILED: $name${figures:+: $figures}"
    failed=1
    { journal -n 15; inside systemctl status --no-pager -n 0 anomalyd.service; } | sed 's/^/    /' || true
  fi
}

# count STATE TABLE: rows, and different files among them.
count() {
  inside anomalyd --log json --state "$1" query "SELECT COUNT(*) AS n, COUNT(DISTINCT source) AS m FROM $2" --format csv \
    2>/dev/null | tail -n 1
}
# whether so many files are scored, once each
scored() { [ "$(count "${2:-/var/lib/anomalyd}" scores)" = "$1,$1" ]; }

# --- the machine --------------------------------------------------------------------------------------------------------------

boot() {
  mkdir "$cgroup/anomalyd-test-$$" || return 1
  (
    echo "$BASHPID" >"$cgroup/anomalyd-test-$$/cgroup.procs"
    exec unshare -m -u -i -n -C -p -f --kill-child bash "$0" --become-systemd "$scratch"
  ) >"$scratch.log" 2>&1 &
  local parent=$!
  eventually pid_one "$parent" && eventually up_or_gone "$parent" && kill -0 "$parent" 2>/dev/null
}
up_or_gone() { is basic.target active || ! kill -0 "$1" 2>/dev/null; }
# The child of unshare, once it is systemd; there may be none any more.
pid_one() {
  kill -0 "$1" 2>/dev/null || return 0
  init=$(pgrep -P "$1" | head -n 1)
  [ -n "$init" ] && [ "$(cat "/proc/$init/comm")" = systemd ]
}

put() { install -D -m "$1" "$2" "/proc/$init/root$3"; }

lay_out() {
  local file
  put 755 "$anomalyd" /usr/bin/anomalyd
  for file in anomalyd.service anomalyd@.service; do put 644 "$root/systemd/$file" "/usr/lib/systemd/system/$file"; done
  put 644 "$root/systemd/anomalyd.sysusers" /usr/lib/sysusers.d/anomalyd.conf
  put 644 "$root/systemd/anomalyd.tmpfiles" /usr/lib/tmpfiles.d/anomalyd.conf
  put 644 "$root/systemd/anomalyd.toml" /etc/anomalyd/anomalyd.toml
  for file in "$root"/pipelines/*.toml; do put 644 "$file" "/etc/anomalyd/pipelines/${file##*/}"; done
  mkdir -p "/proc/$init/root/usr/share/anomalyd"
  cp -r "$root/models" "$root/samples" "$root/systemd/anomalyd.service.d" "/proc/$init/root/usr/share/anomalyd/"
  inside systemd-sysusers anomalyd.conf 2>/dev/null
  inside systemd-tmpfiles --create anomalyd.conf
  inside systemctl daemon-reload
}
# patience UNIT...: a busy machine stops a service in more than the unit's 45 s.
patience() {
  local unit folder
  for unit in "$@"; do
    folder=/proc/$init/root/etc/systemd/system/$unit.service.d
    mkdir -p "$folder"
    printf '[Service]\nTimeoutStartSec=600\nTimeoutStopSec=600\n' >"$folder/patience.conf"
  done
  inside systemctl daemon-reload
}
install_it() {
  if [ -n "$package" ]; then
    put 644 "$package" /tmp/anomalyd.deb
    inside dpkg -i --force-depends /tmp/anomalyd.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; return 1; }
    figures="by dpkg"
  else
    lay_out
    figures="by hand"
  fi
  patience anomalyd anomalyd@
  figures+=", $(inside stat -c '%U:%G %a' /var/lib/anomalyd), user $(inside id -u anomalyd)"
  [ "$(inside stat -c '%U:%G %a' /var/lib/anomalyd)" = "anomalyd:anomalyd 750" ]
}

# pipeline NAME LINES: the installed file with an inbox, and more.
pipeline() {
  local file=/proc/$init/root/etc/anomalyd/pipelines/$1.toml
  { echo "inbox = \"/data/$1\""; cat "$root/pipelines/$1.toml"; printf '\n[watch]\nsettle_ms = 200\n%b' "${2:-}"; } >"$file.new"
  mv "$file.new" "$file"
}

# frames SEED COUNT: so many, of names and contents that no other seed has, in frames-SEED.
frames() {
  local frame
  "$anomalyd" simulate detector --size 128 --count "$2" --seed "$1" --anomalies 0 --out "$scratch/simulated" >/dev/null
  mv "$scratch/simulated/frames" "$scratch/frames-$1"
  rm -r "$scratch/simulated"
  for frame in "$scratch/frames-$1"/frame-*; do mv "$frame" "$scratch/frames-$1/more-$1-${frame##*/frame-}"; done
}

# drop NAME FILE...: renamed in, whole at once.
drop() {
  local inbox=/proc/$init/root/data/$1 file
  shift
  mkdir -p "${inbox}.arriving" "$inbox"
  for file in "$@"; do
    cp "$file" "$inbox.arriving/"
    mv "$inbox.arriving/${file##*/}" "$inbox/"
  done
}

# --- the checks ---------------------------------------------------------------------------------------------------------------

refuses_without_inbox() {
  ! inside systemctl start anomalyd 2>/dev/null || return 1
  sleep 6 # longer than RestartSec
  figures="exit $(property anomalyd ExecMainStatus), $(property anomalyd NRestarts) restarts"
  [ "$figures" = "exit 3, 0 restarts" ] && eventually said anomalyd 'error: no pipeline in .* has an inbox'
}

starts() {
  mkdir -p "/proc/$init/root/data/detector"
  pipeline detector
  local began
  began=$(now)
  inside systemctl reset-failed anomalyd || true
  inside systemctl start anomalyd || return 1
  figures="ready after $(since "$began")"
  is anomalyd active && eventually said anomalyd 'ok: pipeline detector'
}

scores_what_arrives() {
  local began samples
  mapfile -t samples < <(find "$root/samples/detector" -name '*.png' | sort)
  began=$(now)
  drop detector "${samples[@]}"
  eventually scored "${#samples[@]}" || { figures="$(count /var/lib/anomalyd scores) of ${#samples[@]}"; return 1; }
  dropped=${#samples[@]}
  figures="$dropped files after $(since "$began"), $(count /var/lib/anomalyd anomalies | cut -d, -f1) flagged"
}

state_is_closed() {
  local open
  open=$(inside find /var/lib/anomalyd '(' -perm /0007 -o ! -user anomalyd ')' ! -type l)
  figures="$(inside stat -c %a /var/lib/anomalyd), $(inside find /var/lib/anomalyd | wc -l) files and folders, open to others: $(wc -w <<<"$open")"
  [ -z "$open" ] && [ "$(inside stat -c %a /var/lib/anomalyd)" = 750 ]
}

# In the service's own mount namespace, with all of root's rights: what refuses is the sandbox, not the permissions.
is_confined() {
  local pid place answer line
  pid=$(property anomalyd MainPID)
  for place in /etc /usr/bin /data/detector /etc/anomalyd /var/log /home; do
    answer=$(inside nsenter -t "$pid" -m -- touch "$place/probe" 2>&1) && { figures="$place can be written"; return 1; }
    grep -q 'Read-only file system' <<<"$answer" || { figures=$answer; return 1; }
  done
  inside nsenter -t "$pid" -m -- sh -c 'touch /var/lib/anomalyd/probe && rm /var/lib/anomalyd/probe' || return 1
  figures="/etc /usr /home /var/log and the inbox are read-only, the state is not"
  local status
  status=$(inside cat "/proc/$pid/status")
  for line in 'NoNewPrivs:\t1' 'Seccomp:\t2' 'CapBnd:\t0+'; do
    grep -qP "^$line\$" <<<"$status" || { figures="not $line"; return 1; }
  done
  [ "$(inside cat "/proc/$pid/net/dev" | grep -c :)" = 1 ] || { figures="there is more than a loopback"; return 1; }
  figures+=", no capabilities, seccomp, no network"
}

# Without a network, over the control socket in the state folder.
status_asks_the_service() {
  figures=$(inside anomalyd --state /var/lib/anomalyd status | head -n 3 | tr -s ' \n' ' ' | cut -c1-100)
  inside test -S /var/lib/anomalyd/control.sock && [[ $figures == running* || $figures == ready* ]]
}

reload_takes_a_changed_pipeline() {
  # alpha may change without a new model; rows carry the digest of the pipeline file.
  pipeline detector '# changed\n'
  inside systemctl reload anomalyd || return 1
  eventually said anomalyd ': ready\|"ready"' 2 || return 1
  drop detector "$scratch/frames-7/more-7-000000.png"
  dropped=$((dropped + 1))
  eventually scored "$dropped" || return 1
  figures="rows under $(inside anomalyd --state /var/lib/anomalyd query \
    'SELECT COUNT(DISTINCT pipeline_digest) AS n FROM scores' --format csv 2>/dev/null | tail -n 1) pipeline files"
  [ "$figures" = "rows under 2 pipeline files" ]
}

reload_keeps_the_old_where_the_new_is_wrong() {
  pipeline detector 'nonsense = 1\n'
  inside systemctl reload anomalyd || return 1
  eventually said anomalyd 'reload failed' || return 1
  drop detector "$scratch/frames-7/more-7-000001.png"
  dropped=$((dropped + 1))
  eventually scored "$dropped" && is anomalyd active
}

start_pre_refuses_a_wrong_pipeline() {
  inside systemctl stop anomalyd || return 1
  ! inside systemctl start anomalyd 2>/dev/null || return 1
  sleep 6
  figures="exit $(property anomalyd ExecMainStatus), $(property anomalyd NRestarts) restarts: $(journal -u anomalyd | grep -o 'error: .*nonsense.*' | head -n 1 | cut -c1-90)"
  [ "$(property anomalyd ExecMainStatus)" = 3 ] && is anomalyd failed &&
    eventually said anomalyd 'error: /etc/anomalyd/pipelines/detector.toml:.*nonsense' || return 1
  pipeline detector
  inside systemctl start anomalyd
}

# A process that does not move is killed and started again: what it held is scored, once.
watchdog_restarts() {
  mkdir -p "/proc/$init/root/etc/systemd/system/anomalyd.service.d"
  printf '[Service]\nWatchdogSec=20\nTimeoutAbortSec=3\n' >"/proc/$init/root/etc/systemd/system/anomalyd.service.d/hasty.conf"
  inside systemctl daemon-reload
  inside systemctl restart anomalyd || return 1
  local pid began
  pid=$(property anomalyd MainPID)
  drop detector "$scratch"/frames-7/more-7-0000[1-9]?.png
  dropped=$((dropped + 90))
  inside kill -STOP "$pid"
  began=$(now)
  eventually restarted anomalyd || return 1
  figures="killed and ready again after $(since "$began")"
  eventually scored "$dropped" || { figures+=", scored $(count /var/lib/anomalyd scores) of $dropped"; return 1; }
  figures+=", $dropped of $dropped files scored, once each"
  eventually said anomalyd 'Watchdog timeout' || return 1
  rm "/proc/$init/root/etc/systemd/system/anomalyd.service.d/hasty.conf"
  inside systemctl daemon-reload
}

# stop_after SECONDS SEED: more files than can be scored in that time, and a stop.
stop_after() {
  local began took before
  inside systemctl stop anomalyd || return 1
  frames "$2" 1900
  drop detector "$scratch/frames-$2"/*.png
  dropped=$((dropped + 1900))
  inside systemctl start anomalyd || return 1
  sleep "$1"
  began=$(now)
  inside systemctl stop anomalyd || return 1
  took=$(since "$began")
  before=$(count /var/lib/anomalyd scores)
  figures="stopped in $took with exit $(property anomalyd ExecMainStatus) ($(property anomalyd Result)), ${before%,*} of $dropped scored"
  [ "$(property anomalyd ExecMainStatus) $(property anomalyd Result)" = "0 success" ] || return 1
  was_full=$([ "${before%,*}" -ge "$dropped" ] || echo yes)
}
stop_with_a_full_queue() {
  local was_full=''
  # A fast machine has scored them all by then.
  stop_after 0.5 8 || return 1
  [ -n "$was_full" ] || stop_after 0.2 9 || return 1
  [ -n "$was_full" ] || stop_after 0 10 || return 1
  [ -n "$was_full" ] || { figures+=": the queue was not full"; return 1; }
  inside systemctl start anomalyd || return 1
  eventually scored "$dropped" || { figures+=", then $(count /var/lib/anomalyd scores)"; return 1; }
  figures+=", after the next start $dropped of $dropped, once each"
}

instances_stand_side_by_side() {
  inside systemctl stop anomalyd || return 1
  mkdir -p "/proc/$init/root/data/telescope"
  pipeline telescope
  inside systemctl start anomalyd@detector anomalyd@telescope || return 1
  local frames
  mapfile -t frames < <(find "$root/samples/telescope/normal" -name '*.fits' | sort | head -n 3)
  drop telescope "${frames[@]}"
  eventually scored 3 /var/lib/anomalyd/telescope || return 1
  eventually scored "$dropped" /var/lib/anomalyd/detector || return 1
  figures="$(inside stat -c '%n %U %a' /var/lib/anomalyd/detector /var/lib/anomalyd/telescope | tr '\n' ' ')"
  is anomalyd@detector active && is anomalyd@telescope active && inside systemctl stop 'anomalyd@*'
}

# get PATH: asks the running service over TCP, from the machine's network
get() {
  inside bash -c 'exec 3<>/dev/tcp/127.0.0.1/9464; printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$1" >&3; cat <&3' get "$1" \
    2>/dev/null
}
connects() { inside timeout 3 bash -c '</dev/tcp/"$0"/9464' "$1" 2>/dev/null; }
is_ready() { get /readyz | grep -q '^HTTP/1.[01] 200'; }

# The unit has no network: a TCP port is refused by name until the drop-in opens the loopback.
http_needs_its_drop_in() {
  local etc=/proc/$init/root/etc
  inside systemctl stop anomalyd || return 1
  sed -i 's/^# listen = /listen = /' "$etc/anomalyd/anomalyd.toml"
  ! inside systemctl start anomalyd 2>/dev/null || return 1
  inside systemctl stop anomalyd || return 1
  eventually said anomalyd 'error: http.listen 127.0.0.1:9464 cannot be listened on: .*http.conf' || return 1
  mkdir -p "$etc/systemd/system/anomalyd.service.d"
  cp "/proc/$init/root/usr/share/anomalyd/anomalyd.service.d/http.conf" "$etc/systemd/system/anomalyd.service.d/"
  inside systemctl daemon-reload
  inside systemctl start anomalyd || return 1
  eventually is_ready || { figures="not ready: $(get /readyz | tail -n 1)"; return 1; }
  figures="refused without it; with it ready, and $(get /metrics | grep -c '^anomalyd_') figures"
  [ "$(get /metrics | grep -c '^anomalyd_')" -gt 0 ] || return 1
  # Even where the settings open it to others, the drop-in lets nobody but this machine in.
  echo 0123456789abcdef0123456789abcdef >"$etc/anomalyd/token"
  inside chown root:anomalyd /etc/anomalyd/token
  chmod 640 "$etc/anomalyd/token"
  sed -i 's/^listen = .*/listen = "0.0.0.0:9464"/; s/^# token_file = /token_file = /' "$etc/anomalyd/anomalyd.toml"
  inside ip address add 192.0.2.7/32 dev lo || return 1
  inside systemctl restart anomalyd || return 1
  eventually connects 127.0.0.1 || return 1
  ! connects 192.0.2.7 || { figures="another address is let in"; return 1; }
  figures+="; nobody from another address"
  inside ip address del 192.0.2.7/32 dev lo
  inside systemctl stop anomalyd || return 1
  sed -i 's/^listen = .*/# listen = "127.0.0.1:9464"/; s/^token_file = /# token_file = /' "$etc/anomalyd/anomalyd.toml"
  rm "$etc/systemd/system/anomalyd.service.d/http.conf"
  inside systemctl daemon-reload
}

# The inbox is read-only until the drop-in opens it: frames are scored and lie where they are, and the log says what to do.
# With the drop-in they move to the archive, those scored before it too.
after_needs_its_drop_in() {
  local root_of=/proc/$init/root frames frame
  local drop_in=$root_of/etc/systemd/system/anomalyd@telescope.service.d/after.conf
  mkdir -p "$root_of/data/archive" "${drop_in%/*}"
  inside chown -R anomalyd: /data/telescope /data/archive
  pipeline telescope '[after]\nscored = { move = "/data/archive" }\n'
  mapfile -t frames < <(find "$root/samples/telescope/normal" -name '*.fits' | sort | tail -n 2)
  inside systemctl start anomalyd@telescope || return 1
  drop telescope "${frames[0]}"
  eventually scored 4 /var/lib/anomalyd/telescope || return 1
  eventually said anomalyd@telescope 'scored moves files to /data/archive: Read-only file system.*ReadWritePaths' || return 1
  [ -e "$root_of/data/telescope/${frames[0]##*/}" ] || { figures="moved without the drop-in"; return 1; }
  inside systemctl stop anomalyd@telescope || return 1
  sed 's,^ReadWritePaths=.*,ReadWritePaths=/data,' "$root_of/usr/share/anomalyd/anomalyd.service.d/after.conf" >"$drop_in"
  inside systemctl daemon-reload
  inside systemctl start anomalyd@telescope || return 1
  drop telescope "${frames[1]}"
  for frame in "${frames[@]}"; do
    eventually test -e "$root_of/data/archive/${frame##*/}" || { figures="${frame##*/} is not moved"; return 1; }
  done
  eventually scored 5 /var/lib/anomalyd/telescope || return 1
  figures="without it a warning, and nothing moves; with it $(find "$root_of/data/archive" -type f | wc -l) of 5 files moved, 5 scored"
  inside systemctl stop anomalyd@telescope
  pipeline telescope
}

# An upgrade starts service and instances again and leaves edited files alone; removal stops them and leaves the state.
package_comes_and_goes() {
  local before after unit
  inside systemctl start anomalyd anomalyd@telescope || return 1
  before=$(property anomalyd MainPID) after=$(property anomalyd@telescope MainPID)
  inside dpkg -i --force-depends /tmp/anomalyd.deb >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; return 1; }
  for unit in anomalyd anomalyd@telescope; do
    eventually is "$unit" active || { figures="$unit is down after the upgrade"; return 1; }
  done
  if [ "$before" = "$(property anomalyd MainPID)" ] || [ "$after" = "$(property anomalyd@telescope MainPID)" ]; then
    figures="not started again"
    return 1
  fi
  grep -q '^inbox' "/proc/$init/root/etc/anomalyd/pipelines/detector.toml" || { figures="an edited file was replaced"; return 1; }
  inside dpkg -r anomalyd >"$scratch/dpkg.log" 2>&1 || { cat "$scratch/dpkg.log"; return 1; }
  for unit in anomalyd anomalyd@telescope; do
    ! is "$unit" active || { figures="$unit runs without its package"; return 1; }
  done
  [ -e "/proc/$init/root/var/lib/anomalyd/ledger.sqlite" ] && [ ! -e "/proc/$init/root/usr/bin/anomalyd" ]
}

began_all=$SECONDS
if ! boot; then
  sed 's/^/    /' "$scratch.log" >&2 || true
  rm -f "$scratch.log"
  skip "systemd does not come up in a namespace here"
fi
rm -f "$scratch.log"
echo "systemd: ok: $(/lib/systemd/systemd --version | head -n 1) is PID 1 of a namespace"
frames 7 100
dropped=0

check "installed" install_it
check "as installed, without an inbox, it says so and stays down" refuses_without_inbox
check "start" starts
check "frames dropped in are scored" scores_what_arrives
check "the state folder is closed to others" state_is_closed
check "the sandbox is in force" is_confined
check "status asks the running service" status_asks_the_service
check "reload takes a changed pipeline" reload_takes_a_changed_pipeline
check "reload keeps the old where the new is wrong" reload_keeps_the_old_where_the_new_is_wrong
check "a wrong pipeline is refused at the start" start_pre_refuses_a_wrong_pipeline
check "a process that stands still is started again by the watchdog" watchdog_restarts
check "stop with a full queue" stop_with_a_full_queue
check "one instance an instrument" instances_stand_side_by_side
check "TCP needs its drop-in" http_needs_its_drop_in
check "moving files needs its drop-in" after_needs_its_drop_in
[ -z "$package" ] || check "the package is upgraded and removed" package_comes_and_goes
echo "systemd: $([ $failed = 0 ] && echo "all held" || echo "FAILED") in $((SECONDS - began_all)) s"
exit $failed
