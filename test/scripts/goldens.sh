#!/usr/bin/env bash
# Records anew what a real kubelet does with the scenarios of test/oracle, as
# goldens that davit is compared with. The first run builds Kubernetes.
#   RUN=pattern       only scenarios whose names match
#   RECORD_TWICE=1    records each twice and fails on those that differ
#   RECORD_RAW=dir    also keeps what was seen before it is reduced
#   PARALLEL=8        so many scenarios at the same time
#   PKG=./test/...    only these recorders
#   VM=1              also what it does on cgroup v2, in a virtual machine
. "$(dirname "$0")/lib.sh"
need_root goldens
need_programs "${RUN_PROGRAMS[@]}" "${TEST_PROGRAMS[@]}" unshare=util-linux /usr/lib/cni/ptp=containernetworking-plugins
[ -z "${VM:-}" ] || need_programs qemu-system-x86_64=qemu-system-x86 debootstrap=debootstrap mke2fs=e2fsprogs
find_go

if [ -n "${RECORD_RAW:-}" ]; then
	mkdir -p "$RECORD_RAW"
	RECORD_RAW=$(cd "$RECORD_RAW" && pwd)
	export RECORD_RAW
fi
if [ -z "${PKG:-}" ]; then
	# RUN picks scenarios: the other recorders have none.
	PKG=./test/oracle/record
	[ -n "${RUN:-}" ] || PKG=$(grep -rlE '^//go:build goldens\b' --include='*_test.go' test/oracle | xargs -r -n 1 dirname | sort -u | sed 's,^,./,')
fi
# shellcheck disable=SC2086 # PKG may name several
go test -tags goldens -count 1 -p 1 -parallel "${PARALLEL:-8}" -timeout 60m -v $PKG </dev/null
give_back test/oracle
