#!/bin/bash
# A virtual machine with systemd as PID 1 and cgroup v2, for the tests that need
# a real boot.
#
#   vm.sh image                 build kernel and root image into the cache, once
#   vm.sh disk FILE             a fresh root disk
#   vm.sh boot DISK JOB         boot DISK with the directory JOB as /job (a copy,
#                               read-write), run /job/run.sh as root, power off
#
# boot prints what run.sh prints and exits with its status; /job/out is copied
# back to JOB/out. Booting the same DISK again is a reboot of the machine. 124:
# time limit; 125: the guest ended without a status (both show the console).
#
# There is no hardware virtualisation to count on, so the processor is emulated
# and every process start is dear: the guest boots without udev, initramfs,
# generators and network device. docs/testing.md has the why of each choice.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
: "${DAVIT_TEST_CACHE:=/var/cache/davit-test}" "${VM_LIMIT:=900}" "${VM_MEMORY:=3072}"
here=$(cd "$(dirname "$0")" && pwd)
suite=trixie
packages=systemd,systemd-sysv,dbus,containerd,runc,nftables,iproute2,procps,kmod
image=$DAVIT_TEST_CACHE/vm-$(sha256sum "$here/vm.sh" | cut -c1-12)

say() { echo "vm: $*" >&2; }

build_image() {
	exec 9>"$DAVIT_TEST_CACHE/vm.lock"
	flock 9
	[[ -e $image/complete ]] && return
	say "building the image in $image"
	rm -rf "$image"
	mkdir -p "$image"
	local root=$image/root mirror
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
	debootstrap --variant=minbase --include="$packages" "$suite" "$root" "${mirror:?apt knows no Debian mirror}" >"$image/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$image/debootstrap.log" >&2; return 1; }

	# The cloud kernel has NVMe and ext4 built in. Unpacked, not installed: its
	# package would bring an initramfs, which nothing here needs.
	chroot "$root" bash -euc '
		cd /tmp
		kernel=$(apt-cache depends linux-image-cloud-amd64 | awk "/Depends: linux-image-[0-9]/ {print \$2; exit}")
		apt-get -qq -o APT::Sandbox::User=root download "$kernel"
		dpkg-deb --fsys-tarfile "$kernel"_*.deb | tar -x --keep-directory-symlink -C /
		rm -f ./*.deb
		depmod "${kernel#linux-image-}"'
	cp "$root"/boot/vmlinuz-* "$image/vmlinuz"
	rm -rf "$root"/boot/* "$root"/var/{cache,lib}/apt/* "$root"/usr/share/{doc,man,info,locale,zoneinfo} \
		"$root"/etc/resolv.conf "$root"/etc/apt/sources.list*
	configure "$root"
	mke2fs -q -t ext4 -E assume_storage_prezeroed=1 -d "$root" "$image/root.img" 4G >/dev/null
	rm -rf "$root"
	touch "$image/complete"
	for old in "$DAVIT_TEST_CACHE"/vm-*; do [[ $old == "$image" ]] || rm -rf "$old"; done
}

# configure ROOT: the unit that runs the job, and nothing that a boot can do without.
configure() {
	local etc=$1/etc unit
	local units=$etc/systemd/system
	echo testvm >"$etc/hostname"
	printf '127.0.0.1 localhost testvm\n::1 localhost\n' >"$etc/hosts"
	printf 'search example.test\nnameserver 127.0.0.1\n' >"$etc/resolv.conf"
	tr -d - </proc/sys/kernel/random/uuid >"$etc/machine-id"
	touch "$etc/.updated" "$1/var/.updated"
	mkdir -p "$1/job" "$units/multi-user.target.wants" "$etc/systemd/system-generators"
	for unit in "$1"/usr/lib/systemd/system-generators/*; do
		ln -s /dev/null "$etc/systemd/system-generators/$(basename "$unit")"
	done
	for unit in apt-daily{,-upgrade}.timer dpkg-db-backup.timer fstrim.timer systemd-tmpfiles-clean.timer \
		getty.target remote-fs.target containerd.service kmod-static-nodes.service ldconfig.service \
		modprobe@.service systemd-firstboot.service systemd-user-sessions.service \
		systemd-tmpfiles-setup-dev{,-early}.service systemd-update-done.service \
		systemd-journal-{flush,catalog-update}.service systemd-modules-load.service \
		proc-sys-fs-binfmt_misc.automount systemd-binfmt.service \
		systemd-ask-password-{console,wall}.path sys-{fs-fuse-connections,kernel-config,kernel-debug,kernel-tracing}.mount; do
		ln -sf /dev/null "$units/$unit"
	done
	cat >"$1/usr/local/sbin/run-job" <<-'E'
		#!/bin/sh
		modprobe -a virtio_pci virtio_blk virtio_console
		while ! [ -b /dev/vda ] || ! [ -c /dev/hvc0 ]; do sleep 0.1; done
		exec >/dev/hvc0 2>&1 </dev/null
		stty -opost <&1
		mount /dev/vda /job || exit 125
		mkdir -p /job/out
		cd /job && sh ./run.sh
	E
	chmod 755 "$1/usr/local/sbin/run-job"
	cat >"$units/job.service" <<-'E'
		[Unit]
		Description=The job of this boot
		After=multi-user.target
		SuccessAction=poweroff
		FailureAction=poweroff
		[Service]
		Type=exec
		Environment=HOME=/root
		ExecStart=/usr/local/sbin/run-job
		ExecStopPost=/bin/sh -c 'echo $EXIT_STATUS >/job/.status; sync /job/.status'
		TimeoutStopSec=60
	E
	ln -s ../job.service "$units/multi-user.target.wants/job.service"
}

boot() {
	local disk=$1 job=$2 tmp status=0 answer
	tmp=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" EXIT
	rm -rf "$job/out"
	mke2fs -q -t ext4 -O ^has_journal -E assume_storage_prezeroed=1 -d "$job" "$tmp/job.img" 4G >/dev/null
	# No cx16: this QEMU emulates cmpxchg16b with wrong flags, and the kernel
	# panics. q35 for its HPET, by which the guest calibrates its clock.
	TMPDIR=$tmp timeout -k 10 "$VM_LIMIT" qemu-system-x86_64 \
		-no-user-config -nodefaults -display none -no-reboot -nic none \
		-machine q35 -accel tcg,thread=multi,tb-size=512 -cpu Westmere-v1,+rdrand,-cx16 \
		-smp 2 -m "$VM_MEMORY" -kernel "$image/vmlinuz" \
		-append 'root=/dev/nvme0n1 rootwait rw console=ttyS0 quiet panic=-1 mitigations=off' \
		-serial "file:$tmp/console" \
		-drive "if=none,id=root,file=$disk,format=raw,cache=unsafe" -device nvme,drive=root,serial=root \
		-drive "if=none,id=job,file=$tmp/job.img,format=raw,cache=unsafe" -device virtio-blk-pci,drive=job \
		-device virtio-serial-pci -chardev stdio,id=out,signal=off -device virtconsole,chardev=out \
		</dev/null || status=$?
	debugfs -R "rdump /out $job" "$tmp/job.img" >/dev/null 2>&1 || true
	mkdir -p "$job/out"
	cp "$tmp/console" "$job/out/console.log" || true
	answer=$(debugfs -R 'cat .status' "$tmp/job.img" 2>/dev/null || true)
	if [[ $status == 0 && $answer =~ ^[0-9]+$ ]]; then
		return "$answer"
	fi
	say "qemu ended with $status, the job's status is '${answer}'; the end of the console:"
	tail -n 40 "$tmp/console" >&2
	[[ $status == 124 ]] && return 124
	return 125
}

case "${1:-} $#" in
"image 1") mkdir -p "$DAVIT_TEST_CACHE" && build_image ;;
"disk 2") "$0" image && cp --sparse=always "$image/root.img" "$2" ;;
"boot 3") boot "$2" "$3" ;;
*) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
