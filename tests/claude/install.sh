#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the pinned Claude Code from npm into .cache/claude, where package claude looks for it. Says nothing when it is
# there. Only its native program is taken (115 MB to download, 240 MB on the disk): the package that brings it, with its
# script for node, has nothing else to do. It is not free software: it is installed for the tests, and nothing of it is kept in
# this repository.
#
# npm/ pins the version and the SHA-512 of every package, which `npm ci` checks; to take another version: change it here and in
# npm/package.json, then, in npm/,
#
#   npm install --package-lock-only --omit-lockfile-registry-resolved
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/apt.sh

# Here as well, so that a change of version changes this file: setup.sh runs it again only then.
version=2.1.296
pins=$PWD/tests/claude/npm
place=$PWD/.cache/claude

# installed DIR: asks the files. Claude Code itself is not run: it never is where there is a network.
installed() {
	cmp -s "$pins/package-lock.json" "$1/package-lock.json" &&
		[ -x "$(native "$1")" ] &&
		grep -q "\"version\": \"$version\"" "$(dirname "$(native "$1")")/package.json"
}

native() {
	echo "$1"/node_modules/@anthropic-ai/claude-code-linux-*/claude
}

installed "$place" && exit

echo "setup: downloading Claude Code $version"
new=$place.new
rm -rf "$new"
mkdir -p "$new"
trap 'rm -rf "$new"' EXIT
cp "$pins"/package.json "$pins"/package-lock.json "$new"
(cd "$new" && patiently npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --cache "$new/npm-cache")
rm -rf "$new/npm-cache"
installed "$new" || {
	echo "setup: npm did not install Claude Code $version for this machine ($(uname -m)) into $new" >&2
	exit 1
}
# Last, and in one step: a directory with this name is complete.
rm -rf "$place"
mv "$new" "$place"
