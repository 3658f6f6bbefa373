#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what the tests need on a Debian 12 that has only Go. Says nothing when nothing is missing. Everything that is
# not a Debian package goes into .cache/, so that deleting that directory undoes it.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/apt.sh

# Two at once would both unpack the same kernel.
mkdir -p .cache
exec 9>.cache/setup.lock
flock 9

# What each is for:
#   clang-14 llvm-14 libbpf-dev          make generate (another clang writes other objects)
#   qemu-system-x86 cpio kmod xz-utils   tests/vm: the machine, its initramfs, the modules in it
#   systemd dbus libpam-systemd          PID 1 and logind inside the virtual machine, which sees this file system
#   tinyproxy-bin                        tests/bench: a proxy to compare with
#   openssh-server                       tests/egress: what real clients talk to
#   python3-pip python3-websockets       tests/egress: two of them
#   busybox-static bubblewrap iproute2   what agents and the tests of ways around Paddock run
#   btrfs-progs                          ebpf: a file system whose inode numbers are not unique
#   xvfb xdotool                         tests/desktop: a screen, and a mouse that clicks
#   dunst notification-daemon            two notification servers of different make
#   polkitd                              proof that a person is there
packages=(ca-certificates clang-14 llvm-14 libbpf-dev qemu-system-x86 cpio kmod xz-utils
	systemd dbus libpam-systemd busybox-static bubblewrap iproute2 git btrfs-progs
	xvfb xdotool dunst notification-daemon polkitd tinyproxy-bin openssh-server python3-pip python3-websockets)
# Debian's own npm pulls in 300 packages: leave a node alone that somebody has installed already.
command -v npm >/dev/null || packages+=(nodejs npm)

# once NAME FILE COMMAND...: runs the command unless it succeeded before with FILE as it is now.
once() {
	local name=$1 stamp
	stamp=.cache/stamps/$1-$(sha256sum <"$2" | cut -c1-16)
	shift 2
	[ -e "$stamp" ] && return
	"$@" || {
		echo "setup: $* failed" >&2
		return 1
	}
	rm -f .cache/stamps/"$name"-*
	mkdir -p .cache/stamps
	: >"$stamp"
}

mapfile -t missing < <(missing_packages "${packages[@]}")
if [ ${#missing[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] || {
		echo "setup: these Debian packages are missing, and installing them takes root: ${missing[*]}" >&2
		exit 1
	}
	install_packages "${missing[@]}"
fi

# Programs are pinned there, which is how they outlive the daemon. Containers often come without it.
if [ "$(stat -f -c %T /sys/fs/bpf 2>/dev/null)" != bpf_fs ]; then
	if ! mount -t bpf bpf /sys/fs/bpf; then
		echo "setup: cannot mount the BPF file system on /sys/fs/bpf: run as root, in a container with --privileged" >&2
		exit 1
	fi
fi

# The connect gate hangs on it. Where cgroup v1 rules, as in some containers, systemd's place for it is "unified".
if ! grep -q ' cgroup2 ' /proc/mounts; then
	place=/sys/fs/cgroup
	[ -z "$(ls -A $place)" ] || place=$place/unified
	if ! { mkdir -p $place && mount -t cgroup2 cgroup2 $place; }; then
		echo "setup: cannot mount cgroup v2 on $place: run as root, in a container with --privileged" >&2
		exit 1
	fi
fi

tests/setup/kernels.sh

for tool in otelcol hec codex claude; do
	script=tests/$tool/install.sh
	if [ -x "$script" ]; then
		once "$tool" "$script" "$script"
	fi
done
