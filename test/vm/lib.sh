# What the jobs in the VM share.
set -eu
fail() {
	echo "FAILED: $*"
	davit get pods -A -o wide || true
	journalctl -u davit --no-pager -n 60 || true
	exit 1
}
trap 'journalctl -u davit -u containerd --no-pager >/job/out/journal.log 2>&1 || true' EXIT

# poll SECONDS WHAT COMMAND...: until the command succeeds. Processes start
# slowly here, so there is no hurry.
poll() {
	limit=$1 what=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		limit=$((limit - 2))
		[ "$limit" -gt 0 ] || fail "waited in vain for $what"
		sleep 2
	done
	echo "ok: $what"
}

# row POD: STATUS, READY, RESTARTS and IP of a pod.
row() { davit get pods -o wide | awk -v pod="$1" '$1 == pod {print $3, $2, $4, $6}'; }
is() { [ "$(row "$1" | cut -d' ' -f1-3)" = "$2" ]; }
