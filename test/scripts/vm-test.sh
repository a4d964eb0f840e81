#!/usr/bin/env bash
# The smoke test in a VM with systemd as PID 1 and cgroup v2, then a second boot
# of the same disk: what a reboot leaves of the pods. Then, on a fresh disk, the
# cgroups of pods of every kind, compared with the real kubelet's.
. "$(dirname "$0")/lib.sh"
need_root vm-test
need_programs "${TEST_PROGRAMS[@]}" qemu-system-x86_64=qemu-system-x86 debootstrap=debootstrap mke2fs=e2fsprogs
find_go

test/scripts/build.sh
say "packing the example image"
go run ./examples/pack -out bin/images/web.tar
give_back bin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
job=$work/job
mkdir -p "$job/manifests" "$job/images"
cp bin/davit systemd/davit.service test/vm/lib.sh "$job"
cp bin/images/web.tar "$job/images"
cp examples/manifests/*.yaml test/vm/manifests/*.yaml "$job/manifests"

say "the VM's disk"
test/vm/vm.sh disk "$work/disk.img"
for boot in smoke reboot; do
	say "boot: $boot"
	cp "test/vm/$boot.sh" "$job/run.sh"
	started=$SECONDS
	if ! flock "${TMPDIR:-/tmp}/davit-vm.lock" test/vm/vm.sh boot "$work/disk.img" "$job"; then
		tail -n 100 "$job/out/"*.log >&2 || true
		die "the $boot test in the VM failed"
	fi
	say "$boot: passed in $((SECONDS - started)) s"
done

say "boot: cgroups"
started=$SECONDS
DAVIT=$PWD/bin/davit go test -tags vm -count 1 -timeout 60m -v -run TestDavitV2 ./test/oracle/cgroups </dev/null ||
	die "the cgroups in the VM differ from kubelet's"
say "cgroups: passed in $((SECONDS - started)) s"
