#!/usr/bin/env bash
# davit beside the floor: a bare containerd client that starts the same container.
#   DAVIT_BENCH_CONTAINERD=2  with containerd 2 instead of Debian's
. "$(dirname "$0")/lib.sh"
need_root bench
need_programs "${RUN_PROGRAMS[@]}" "${TEST_PROGRAMS[@]}"
find_go
test/scripts/build.sh
go test -tags bench -count 1 -timeout 60m -run "${RUN:-.}" -v ./test/bench </dev/null
