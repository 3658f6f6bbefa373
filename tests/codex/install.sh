#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the pinned Codex from npm into .cache/codex, where package codex looks for it. Says nothing when it is there.
# tests/codex/npm pins the version and the SHA-512 of every package, which `npm ci` checks; to take another version:
# change it here and in npm/package.json, then, in npm/,
#
#   npm install --package-lock-only --omit-lockfile-registry-resolved
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/apt.sh

# Here as well, so that a change of version changes this file: setup.sh runs it again only then.
version=0.169.0
pins=$PWD/tests/codex/npm
place=$PWD/.cache/codex

# installed DIR: asks the files. Codex itself is not run, not even for its --version: that writes into the home directory,
# and it never runs where there is a network.
installed() {
	cmp -s "$pins/package-lock.json" "$1/package-lock.json" &&
		[ -x "$(native "$1")" ] &&
		grep -q "\"version\": \"$version\"" "$(dirname "$(native "$1")")/../codex-package.json"
}

native() {
	echo "$1"/node_modules/@openai/codex-linux-*/vendor/*/bin/codex
}

if ! { command -v node && command -v npm; } >/dev/null; then
	[ "$(id -u)" = 0 ] || {
		echo "setup: node and npm are missing, and installing them takes root" >&2
		exit 1
	}
	install_packages nodejs npm
fi
installed "$place" && exit

echo "setup: downloading Codex $version"
new=$place.new
rm -rf "$new"
mkdir -p "$new"
trap 'rm -rf "$new"' EXIT
cp "$pins"/package.json "$pins"/package-lock.json "$new"
# No package's script runs, and npm keeps 400 MB less in its cache.
(cd "$new" && patiently npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --cache "$new/npm-cache")
rm -rf "$new/npm-cache"
installed "$new" || {
	echo "setup: npm did not install Codex $version for this machine ($(uname -m)) into $new" >&2
	exit 1
}
# Last, and in one step: a directory with this name is complete.
rm -rf "$place"
mv "$new" "$place"
