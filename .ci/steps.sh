# shellcheck shell=bash
# Sourced by the scripts beside it: moves to the top of the repository, and defines `step`.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export CI=true CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0 RUST_BACKTRACE=1
export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
# Nobody answers questions here, and one stream keeps messages in order.
exec </dev/null 2>&1

# Seconds after which no step goes on; unset where only the steps' own limits count.
budget_s=""
# Names of the steps to run; all, if there are none.
wanted=()
steps_run=0

# step NAME LIMIT_S COMMAND...: runs the command, and ends the script if it fails or takes too long.
step() {
    local name=$1 limit=$2 status=0
    shift 2
    [[ ${#wanted[@]} -eq 0 || " ${wanted[*]} " == *" $name "* ]] || return 0
    steps_run=$((steps_run + 1))
    if [[ -n $budget_s && $((budget_s - SECONDS)) -lt $limit ]]; then
        limit=$((budget_s - SECONDS))
    fi
    if [[ $limit -le 0 ]]; then
        echo "step $name: no time left of $budget_s s"
        exit 1
    fi
    printf '\n=== %s (at %s s): %s\n' "$name" "$SECONDS" "$*"
    timeout --kill-after=10 "$limit" "$@" || status=$?
    case $status in
        0) ;;
        124 | 137)
            echo "step $name: not done after $limit s"
            exit 1
            ;;
        *)
            echo "step $name: failed with status $status"
            exit 1
            ;;
    esac
}

# Ends the script with status 2 if a name in `wanted` was none of the steps'.
no_step_is_unknown() {
    [[ $steps_run -ge ${#wanted[@]} ]] && return
    echo "no such step among: ${wanted[*]}"
    exit 2
}

# Installs cargo-nextest, which runs the tests, where it is missing: a matter of minutes, once.
ensure_nextest() {
    command -v cargo-nextest >/dev/null && return
    echo "=== installing cargo-nextest"
    timeout --kill-after=10 1200 cargo install --quiet --locked cargo-nextest
}

# Installs valgrind, which counts instructions, where it is missing: a package of the system.
ensure_valgrind() {
    command -v valgrind >/dev/null && return
    echo "=== installing valgrind"
    timeout --kill-after=10 300 bash -c \
        'apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends valgrind'
}

# Fetches node_exporter, which reads what a pool writes, where it is missing: from a package of the system, which is
# unpacked and not installed, so that no service starts. Names it in PAGEPOOL_NODE_EXPORTER, for the tests.
ensure_node_exporter() {
    local dir program
    dir="${CARGO_TARGET_DIR:-target}/node-exporter"
    program=$(command -v prometheus-node-exporter || command -v node_exporter || echo "$dir/usr/bin/prometheus-node-exporter")
    if [[ ! -x $program ]]; then
        echo "=== fetching node_exporter"
        mkdir -p "$dir"
        # shellcheck disable=SC2016
        timeout --kill-after=10 300 bash -euo pipefail -c '
            cd "$1"
            rm -f -- *.deb
            fetch() { apt-get download --quiet prometheus-node-exporter; }
            fetch || { apt-get update --quiet && fetch; }
            dpkg --extract prometheus-node-exporter_*.deb .
        ' - "$dir"
    fi
    PAGEPOOL_NODE_EXPORTER=$(realpath "$program")
    export PAGEPOOL_NODE_EXPORTER
}

# Installs chromium, in which a test looks at the stress tool's page, where it is missing: a package of the system. Names
# it in PAGEPOOL_CHROMIUM, for the tests.
ensure_chromium() {
    if [[ -z ${PAGEPOOL_CHROMIUM:-} ]]; then
        if ! command -v chromium >/dev/null; then
            echo "=== installing chromium"
            timeout --kill-after=10 600 bash -c \
                'apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends chromium'
        fi
        PAGEPOOL_CHROMIUM=$(command -v chromium)
    fi
    export PAGEPOOL_CHROMIUM
}
