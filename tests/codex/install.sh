#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs the pinned Codex from npm into .cache/codex, where package codex looks for it. To take another version: change it
# here and in npm/package.json, then, in npm/,
#
#   npm install --package-lock-only --omit-lockfile-registry-resolved
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/setup/npm.sh

native() { echo "$1"/node_modules/@openai/codex-linux-*/vendor/*/bin/codex; }
described() { echo "$(dirname "$(native "$1")")/../codex-package.json"; }

# Here as well, so that a change of version changes this file: setup.sh runs it again only then.
npm_install Codex 0.169.0 "$PWD/tests/codex/npm" "$PWD/.cache/codex"
