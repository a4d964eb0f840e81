#!/usr/bin/env bash
# Removes what runs of `make run` left that were killed before they could.
. "$(dirname "$0")/lib.sh"
. test/scripts/teardown.sh
need_root cleanup

for dir in "$RUN_DIRS"/davit-run-*; do
	[ -d "$dir" ] || continue
	pid=$(cat "$dir/pid" 2>/dev/null || echo 0)
	if [ -e "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q run.sh; then
		say "$dir belongs to process $pid, which runs: left alone"
		continue
	fi
	say "removing $dir"
	take_down "$dir" || true
done
