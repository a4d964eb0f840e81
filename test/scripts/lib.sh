# To be sourced by the scripts beside it: finds the tree, Go and packages.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
ROOT=$PWD

say() { printf '== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" = 0 ] || die "this needs root: sudo make ${1:-}"
}

# go_works PATH: it is a Go that can build this module. From 1.21 on it fetches
# the version that go.mod names, if its own is older.
go_works() {
	local v
	[ -x "$1" ] || return 1
	v=$(cd / && "$1" env GOVERSION 2>/dev/null) || return 1
	[[ $v =~ ^go1\.([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 21 ]
}

# find_go puts Go into PATH. sudo's secure_path hides what is not a system
# directory, so it looks where people put Go, and asks the shell of who called.
find_go() {
	local home="" candidates=() c
	command -v go >/dev/null && candidates+=("$(command -v go)")
	candidates+=(/usr/local/go/bin/go)
	if [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
		home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
		c=$(runuser -l "$SUDO_USER" -c 'command -v go' 2>/dev/null </dev/null | tail -n 1) || true
		[ -n "$c" ] && candidates+=("$c")
	fi
	for h in $home "${HOME:-/root}"; do
		candidates+=("$h/go/bin/go" "$h/.local/go/bin/go" "$h/.local/bin/go")
		for c in "$h"/sdk/go*/bin/go "$h"/.asdf/shims/go "$h"/.go/bin/go; do candidates+=("$c"); done
	done
	for c in /usr/lib/go-*/bin/go /opt/go/bin/go /snap/bin/go; do candidates+=("$c"); done
	for c in "${candidates[@]}"; do
		if go_works "$c"; then
			PATH=$(dirname "$c"):$PATH
			export PATH
			return
		fi
	done
	die "Go 1.21 or later was not found (looked at: ${candidates[*]}). Install it from https://go.dev/dl/ into /usr/local/go, or put it into PATH."
}

# need_programs PROGRAM=PACKAGE...: installs the packages of programs that are
# missing. An installed service is not started by this.
need_programs() {
	local pair missing=()
	PATH=$PATH:/usr/sbin:/sbin
	for pair in "$@"; do
		command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
	done
	[ ${#missing[@]} = 0 ] && return
	[ "$(id -u)" = 0 ] || die "missing: ${missing[*]} (Debian packages); install them or run this as root"
	command -v apt-get >/dev/null || die "missing: ${missing[*]} (names of Debian packages), and there is no apt-get to install them with"
	say "installing ${missing[*]}"
	(
		policy=/usr/sbin/policy-rc.d
		if [ ! -e $policy ]; then # keeps apt from starting a containerd that nobody asked for
			trap 'rm -f $policy' EXIT
			printf '#!/bin/sh\nexit 101\n' >$policy
			chmod 755 $policy
		fi
		apt_install "${missing[@]}"
	) || die "installing ${missing[*]} failed"
}

apt_install() {
	local log
	log=$(mktemp)
	if { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
		rm -f "$log"
		return 0
	fi
	cat "$log" >&2
	rm -f "$log"
	return 1
}

# What running davit takes, and what its tests take beyond that.
RUN_PROGRAMS=(update-ca-certificates=ca-certificates containerd=containerd runc=runc ip=iproute2 nsenter=util-linux findmnt=util-linux nft=nftables)
TEST_PROGRAMS=(git=git conntrack=conntrack busybox=busybox-static systemd-analyze=systemd)

# give_back makes what root built in somebody's checkout theirs again.
give_back() {
	if [ "$(id -u)" = 0 ] && [ -n "${SUDO_UID:-}" ] && [ "$(stat -c %u "$ROOT")" = "$SUDO_UID" ]; then
		chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$@"
	fi
}
