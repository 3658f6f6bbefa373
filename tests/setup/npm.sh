# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the scripts that install an agent from npm. They define:
#
#   native DIR      prints the agent's native program in an installation
#   described DIR   prints the file that names its version
#
# The agent itself is never run to ask it: some write into the home directory even then, and none runs where there is a network.

. tests/setup/apt.sh

# npm_install TITLE VERSION PINS PLACE: what the package.json and package-lock.json in PINS say, which has the SHA-512 of every
# package, into PLACE. Says nothing when it is there.
npm_install() {
	local title=$1 version=$2 pins=$3 place=$4 new=$4.new
	if ! { command -v node && command -v npm; } >/dev/null; then
		[ "$(id -u)" = 0 ] || {
			echo "setup: node and npm are missing, and installing them takes root" >&2
			exit 1
		}
		install_packages nodejs npm
	fi
	npm_installed "$version" "$pins" "$place" && return

	echo "setup: downloading $title $version"
	rm -rf "$new"
	mkdir -p "$new"
	cp "$pins"/package.json "$pins"/package-lock.json "$new"
	# No package's script runs, and what npm would keep in its cache goes.
	(cd "$new" && patiently npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --cache "$new/npm-cache") || {
		rm -rf "$new"
		exit 1
	}
	rm -rf "$new/npm-cache"
	npm_installed "$version" "$pins" "$new" || {
		echo "setup: npm did not install $title $version for this machine ($(uname -m)) into $new" >&2
		exit 1
	}
	# Last, and in one step: a directory with this name is complete.
	rm -rf "$place"
	mv "$new" "$place"
}

npm_installed() {
	cmp -s "$2/package-lock.json" "$3/package-lock.json" && [ -x "$(native "$3")" ] && grep -q "\"version\": \"$1\"" "$(described "$3")"
}
