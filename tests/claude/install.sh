#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the pinned Claude Code from npm into .cache/claude, where package claude looks for it. Only its native program is
# taken (115 MB to download, 240 MB on the disk): the package that brings it, with its script for node, has nothing else to
# do. It is not free software: it is installed for the tests, and nothing of it is kept in this repository. To take another
# version: change it here and in npm/package.json, then, in npm/,
#
#   npm install --package-lock-only --omit-lockfile-registry-resolved
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/npm.sh

native() { echo "$1"/node_modules/@anthropic-ai/claude-code-linux-*/claude; }
described() { echo "$(dirname "$(native "$1")")/package.json"; }

# Here as well, so that a change of version changes this file: setup.sh runs it again only then.
npm_install "Claude Code" 2.1.296 "$PWD/tests/claude/npm" "$PWD/.cache/claude"
