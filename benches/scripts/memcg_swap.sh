#!/bin/sh
# The kernel's swap beside a pool's: the same accesses, as much memory, the same disk.
#
#   benches/scripts/memcg_swap.sh [MIB [SECONDS [DIRECTORY]]]     default: 256 30 /var/tmp
#
# Needs root, a memory controller (cgroup v1 or v2) and `cargo build --release -p pagepool-bench`, or the
# binary's path in PAGEPOOL_BENCH. By hand only, never in CI: it adds a swap area to the system for as
# long as it runs. Whatever ends it, the swap area, its file and the group are gone afterwards.
set -eu

mib=${1:-256}
seconds=${2:-30}
directory=${3:-/var/tmp}
bench=${PAGEPOOL_BENCH:-${CARGO_TARGET_DIR:-target}/release/pagepool-bench}

[ "$(id -u)" = 0 ] || { echo "$0: must be root, to limit memory and to add swap" >&2; exit 2; }
[ -x "$bench" ] || { echo "$0: no $bench; build it, or name it in PAGEPOOL_BENCH" >&2; exit 2; }

scratch=$(mktemp -d "$directory/pagepool-memcg.XXXXXX")
swapfile=$scratch/swap
group=
swap_is_on=

undo() {
    status=$?
    trap - EXIT
    [ -z "$swap_is_on" ] || swapoff "$swapfile" || echo "$0: cannot swapoff $swapfile" >&2
    [ -z "$group" ] || rmdir "$group" || echo "$0: cannot remove $group" >&2
    rm -rf "$scratch"
    exit "$status"
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Written full and not sparse: the kernel swaps to no file with holes.
dd if=/dev/zero of="$swapfile" bs=1M count=$((4 * mib)) status=none
chmod 600 "$swapfile"
mkswap "$swapfile" >/dev/null
swapon -p 32767 "$swapfile"
swap_is_on=yes

bytes=$((mib * 1024 * 1024))
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    version=2
    group=/sys/fs/cgroup/pagepool-memcg.$$
    mkdir "$group"
    echo "$bytes" >"$group/memory.max"
else
    version=1
    group=/sys/fs/cgroup/memory/pagepool-memcg.$$
    mkdir "$group"
    echo "$bytes" >"$group/memory.limit_in_bytes"
    echo 60 >"$group/memory.swappiness" 2>/dev/null || true
fi

echo "memory $mib MiB, working set $((2 * mib)) MiB, Zipf 0.99, every fourth touch a write, $seconds s each"
echo "cgroup v$version, $(uname -sr), swap file and pool's swap in $directory"
# The shell that becomes the bench enters the group by itself, so that nothing of it stands outside.
sh -c 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"' sh "$group" \
    "$bench" --plain-touch "$mib" --touch-seconds "$seconds"
"$bench" --pool-touch "$mib" --touch-seconds "$seconds" --directory "$directory"
