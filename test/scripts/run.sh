#!/usr/bin/env bash
# Runs the pods of examples/manifests with a davit and a containerd of their own,
# until Ctrl-C, and takes everything down again.
#   NETNS=name   in this network namespace; made, and removed at the end, if missing
#   RUN_ONCE=1   end as soon as the pods are ready and did what they should
. "$(dirname "$0")/lib.sh"
. test/scripts/teardown.sh
need_root run
need_programs "${RUN_PROGRAMS[@]}"
find_go

NETNS=${NETNS:-}
RUN_ONCE=${RUN_ONCE:-}
[[ -z $NETNS || $NETNS =~ ^[A-Za-z0-9_.-]+$ ]] || die "NETNS=$NETNS is not the name of a namespace"

test/scripts/build.sh
say "packing the example image"
go run ./examples/pack -out bin/images/web.tar
give_back bin

dir=$(mktemp -d "$RUN_DIRS/davit-run-XXXXXX")
chmod 711 "$dir"
echo $$ >"$dir/pid"
finish() {
	local status=$?
	trap '' INT TERM HUP
	[ -z "${view:-}" ] || kill "$view" 2>/dev/null || true
	if [ $status != 0 ] && [ $status != 143 ]; then
		tail -n 30 "$dir"/davit.log "$dir"/containerd.log 2>/dev/null >&2 || true
	fi
	echo
	say "taking everything down"
	take_down "$dir" || { [ $status != 0 ] || status=1; }
	exit $status
}
trap finish EXIT
trap 'exit 0' INT # the way a run is meant to end
trap 'exit 143' TERM HUP

# make_netns gives the namespace lo and a default route that ends inside: davit
# finds the node's address by it, and packets to Service addresses need one.
make_netns() {
	ip netns add "$NETNS"
	echo "$NETNS" >"$dir/netns"
	ip -n "$NETNS" link set lo up
	ip -n "$NETNS" link add uplink type veth peer name nowhere
	ip -n "$NETNS" addr add 192.0.2.2/24 dev uplink
	ip -n "$NETNS" link set uplink up
	ip -n "$NETNS" link set nowhere up
	ip -n "$NETNS" route add default via 192.0.2.1
}
enter=()
if [ -n "$NETNS" ]; then
	[ -e "/run/netns/$NETNS" ] || make_netns
	echo "$NETNS" >"$dir/inside"
	enter=(nsenter "--net=/run/netns/$NETNS" --)
fi

# launch NAME PROGRAM ARG...: in a session of its own, out of reach of Ctrl-C.
launch() {
	local name=$1
	shift
	setsid "${enter[@]}" "$@" >"$dir/$name.log" 2>&1 </dev/null &
	echo $! >"$dir/$name.pid"
}
# wait_for SECONDS NAME COMMAND...: until the command succeeds.
wait_for() {
	local deadline=$((SECONDS + $1)) name=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		kill -0 "$(cat "$dir/$name.pid")" 2>/dev/null || die "$name has ended"
		[ $SECONDS -lt $deadline ] || die "$name does not answer"
		sleep 0.1
	done
}

say "starting containerd"
cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd/root"
state = "$dir/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"]
[grpc]
address = "$dir/containerd.sock"
TOML
launch containerd containerd --config "$dir/containerd.toml"
wait_for 30 containerd ctr --address "$dir/containerd.sock" version

say "starting davit"
cat >"$dir/config.yaml" <<YAML
nodeName: example
stateDir: $dir/state
runDir: $dir/run
logDir: $dir/logs
containerd: {address: $dir/containerd.sock, namespace: davit-example}
cgroup: {driver: cgroupfs, root: /$(basename "$dir")}
images: {preload: $ROOT/bin/images}
source: {manifests: $ROOT/examples/manifests}
metrics: {address: ""}
YAML
launch davit "$ROOT/bin/davit" run --config "$dir/config.yaml"
sock=$dir/run/davit.sock
davit=("$ROOT/bin/davit" --socket "$sock")
wait_for 30 davit "${davit[@]}" version
wait_for 30 davit test -S "$sock"

# settled: every pod runs with all its containers ready, or has completed.
settled() {
	local rows
	rows=$("${davit[@]}" get pods -A 2>/dev/null | tail -n +2) || return 1
	[ "$(wc -l <<<"$rows")" = "$(cat examples/manifests/*.yaml | grep -c '^kind: Pod$')" ] || return 1
	! awk '{ split($3, r, "/"); if (!($4 == "Completed" || $4 == "Running" && r[1] == r[2])) print }' <<<"$rows" | grep -q .
}

look_inside() {
	cat <<TEXT

To look inside, in another terminal:
  export DAVIT_SOCKET=$sock
  sudo -E bin/davit get pods -A -o wide
  sudo -E bin/davit logs web -c writer -f
  sudo -E bin/davit exec web -c server -- /web get http://localhost:8080/
  sudo -E bin/davit get pods web -o yaml
Logs of the daemons: $dir/davit.log, $dir/containerd.log
TEXT
}

# check does what look_inside tells, and looks at the answers.
check() {
	local out
	"${davit[@]}" get pods -A -o wide
	out=$("${davit[@]}" exec web -c server -- /web get http://localhost:8080/)
	[[ $out == "page "*", written on web-example" ]] || die "the web server answered: $out"
	for _ in $(seq 100); do
		out=$("${davit[@]}" logs web -c writer)
		[[ $out == *"served: page "* ]] && break
		sleep 0.1
	done
	[[ $out == *"served: page "* ]] || die "the writer printed: $out"
	out=$("${davit[@]}" logs job -c prepare; "${davit[@]}" logs job -c work)
	[ "$out" = $'everything is prepared\nthe work is done' ] || die "the job printed: $out"
	say "the example pods do what they should"
}

if [ -n "$RUN_ONCE" ]; then
	wait_for 120 davit settled || { "${davit[@]}" get pods -A; exit 1; }
	check
	exit 0
fi
look_inside
printf '\nThe pods, as they change; Ctrl-C takes everything down:\n\n'
"${davit[@]}" get pods -A -w &
view=$!
while kill -0 "$(cat "$dir/davit.pid")" 2>/dev/null; do sleep 1 & wait $! || true; done
die "davit has ended"
