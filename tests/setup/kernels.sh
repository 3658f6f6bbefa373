#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kernels.sh [VERSION...]: Debian kernels for tests/vm, unpacked under .cache/kernels/VERSION:
#
#   vmlinuz              what QEMU boots
#   release              its `uname -r`
#   lib/modules/RELEASE  with the indexes depmod makes
#
# Without arguments, the versions that KERNELS asks for (as in tests/vm). Nothing is installed: apt gets a configuration
# and lists of its own, whose mirror comes from this machine's own sources.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/apt.sh

declare -A suites=([5.10]=bullseye [6.1]=bookworm [6.12]=trixie)
cache=$PWD/.cache/kernels
apt=$cache/apt

# The same default as vm.Kernels. "-nolsm" is the same kernel with another command line.
if [ $# = 0 ]; then
	wanted=${KERNELS:-6.1,6.1-nolsm,6.12}
	[ "$wanted" = all ] && wanted=5.10,6.1,6.12
	IFS=', ' read -r -a names <<<"$wanted"
	mapfile -t names < <(printf '%s\n' "${names[@]%-nolsm}" | sort -u)
	set -- "${names[@]}"
fi

# The first source of Debian's main archive that this machine has itself.
mirror() {
	apt-get indextargets --format '$(ORIGIN)|$(COMPONENT)|$(CREATED_BY)|$(SIGNED_BY)|$(REPO_URI)' |
		awk -F'|' '$2 == "main" && $3 == "Packages" && $5 ~ /\/debian\/?$/ { print $5; exit }'
}

# prepare_apt SUITE: a private apt that knows this suite and nothing else, and cannot install.
prepare_apt() {
	local suite=$1 uri
	uri=$(mirror)
	if [ -z "$uri" ]; then
		echo "setup: no source of Debian's main archive in /etc/apt: cannot download kernels" >&2
		return 1
	fi
	mkdir -p "$apt/$suite"/{lists/partial,archives/partial,etc}
	: >"$apt/$suite/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$apt/$suite/etc/sources.list"
	cat >"$apt/$suite/apt.conf" <<-EOC
		Dir::State "$apt/$suite";
		Dir::State::Lists "$apt/$suite/lists";
		Dir::State::Status "$apt/$suite/status";
		Dir::Cache "$apt/$suite";
		Dir::Etc::SourceList "$apt/$suite/etc/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::Etc::Preferences "/dev/null";
		Dir::Etc::PreferencesParts "/dev/null";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		Acquire::Languages "none";
		// The files are read by the one who runs this, not by the user _apt.
		APT::Sandbox::User "root";
		// An old suite is still the suite we want.
		Acquire::Check-Valid-Until "false";
	EOC
	export APT_CONFIG=$apt/$suite/apt.conf
	patiently apt-get update -q
}

# fetch VERSION SUITE
fetch() {
	local version=$1 suite=$2 package release new
	echo "setup: downloading kernel $version (Debian $suite)"
	prepare_apt "$suite"
	package=$(apt-cache depends --important linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
	case $package in
	linux-image-"$version".*) release=${package#linux-image-} ;;
	*)
		echo "setup: kernel $version: Debian $suite has ${package:-no kernel at all} instead" >&2
		return 1
		;;
	esac
	new=$cache/$version.new
	rm -rf "$new"
	mkdir -p "$new/deb"
	(cd "$new/deb" && patiently apt-get download -q "$package")
	dpkg-deb -x "$new"/deb/*.deb "$new"
	mv "$new/boot/vmlinuz-$release" "$new/vmlinuz"
	# trixie has a merged /usr in its packages.
	[ -d "$new/lib/modules" ] || mv "$new/usr/lib" "$new/lib"
	depmod -b "$new" "$release"
	echo "$release" >"$new/release"
	rm -rf "$new/deb" "$new/boot" "$new/usr"
	rm -rf "${cache:?}/$version"
	# Last, and in one step: a directory with this name is complete.
	mv "$new" "$cache/$version"
}

for version in "$@"; do
	[ -e "$cache/$version/release" ] && continue
	suite=${suites[$version]:-}
	if [ -z "$suite" ]; then
		echo "setup: unknown kernel $version (one of 5.10, 6.1, 6.12)" >&2
		exit 1
	fi
	(fetch "$version" "$suite")
done
rm -rf "$apt"
