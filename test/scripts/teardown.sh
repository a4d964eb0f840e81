# To be sourced: takes down what one run of run.sh made, from its directory
# alone, so that it also works after the run itself was killed.
# shellcheck shell=bash

# A run's directory is $RUN_DIRS/davit-run-XXXXXX and holds
#   pid         of run.sh
#   netns       name of the network namespace, if the run made it
#   config.yaml davit's configuration
#   davit.pid, containerd.pid
RUN_DIRS=/tmp

# ours DIR: pids of the shims of DIR's containerd, and of programs that lie in
# DIR (the log pump).
ours() {
	local p exe
	for p in /proc/[0-9]*; do
		exe=$(readlink "$p/exe" 2>/dev/null) || continue
		if [[ $exe == "$1"/* ]] || { [[ $exe == */containerd-shim* ]] && grep -qzxF -- "$1/containerd.sock" "$p/cmdline" 2>/dev/null; }; then
			echo "${p#/proc/}"
		fi
	done
}

# ended PID [SECONDS]: waits until a process is gone.
ended() {
	local i
	for ((i = 0; i < ${2:-10} * 10; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		[ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" = Z ] && return 0
		sleep 0.1
	done
	return 1
}

# stop DIR NAME: ends the daemon of which DIR/NAME.pid holds the pid.
stop() {
	local pid
	pid=$(cat "$1/$2.pid" 2>/dev/null) || return 0
	grep -qF -- "$1/" "/proc/$pid/cmdline" 2>/dev/null || return 0
	kill -TERM "$pid" 2>/dev/null || return 0
	ended "$pid" 20 || kill -KILL "$pid" 2>/dev/null || true
}

# leftovers DIR: what `davit cleanup` should have removed and did not.
leftovers() {
	local c pid
	for pid in $(ours "$1"); do echo "process $pid: $(tr '\0' ' ' <"/proc/$pid/cmdline")"; done
	findmnt -rno TARGET | grep -F -- "$1/" | sed 's/^/mount /'
	for c in /sys/fs/cgroup/{,*/}"$(basename "$1")"/kubepods; do
		[ -d "$c" ] && echo "cgroup $c"
	done
	if [ -s "$1/inside" ]; then
		"${enter[@]}" nft list tables 2>/dev/null | grep davit | sed 's/^/nft /'
		"${enter[@]}" ip -o link show type veth | grep -oE 'dv[0-9a-f]{6,}' | sed 's/^/link /'
	fi
}

# take_down DIR: everything, in the order in which it leans on each other. It
# fails if it had to do what davit should have done.
take_down() ( # a subshell: errors do not end it half way
	set +e
	dir=$1 enter=()
	[[ $dir == "$RUN_DIRS"/davit-run-?* ]] || return 1
	stop "$dir" davit
	if [ -s "$dir/inside" ]; then
		ns=$(cat "$dir/inside")
		[ -e "/run/netns/$ns" ] && enter=(nsenter "--net=/run/netns/$ns" --)
	fi
	if [ -S "$dir/containerd.sock" ] && [ -x bin/davit ]; then
		timeout 60 "${enter[@]}" bin/davit cleanup --config "$dir/config.yaml" >"$dir/cleanup.log" 2>&1 || cat "$dir/cleanup.log" >&2
	fi
	stop "$dir" containerd
	# What is still there after that is a fault, but not one to leave behind.
	left=$(leftovers "$dir")
	[ -z "$left" ] || printf 'davit cleanup left behind:\n%s\n' "$left" >&2
	for pid in $(ours "$dir"); do kill -KILL "$pid" 2>/dev/null; done
	for c in /sys/fs/cgroup/{,*/}"$(basename "$dir")"; do
		[ -d "$c" ] || continue
		find "$c" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do kill -KILL "$pid" 2>/dev/null; done
		for _ in 1 2 3 4 5 6 7 8 9 10; do
			find "$c" -depth -type d -exec rmdir {} + 2>/dev/null
			[ -d "$c" ] || break
			sleep 0.2
		done
	done
	findmnt -rno TARGET | grep -F -- "$dir/" | sort -r | while read -r m; do umount -l "$(printf '%b' "$m")"; done
	if [ -s "$dir/netns" ]; then ip netns delete "$(cat "$dir/netns")" 2>/dev/null; fi
	rm -rf --one-file-system "$dir"
	[ -z "$left" ]
)
