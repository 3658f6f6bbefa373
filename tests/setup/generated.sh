#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails when the committed BPF objects are not what their sources give. It works on a copy, so that a difference is
# reported and not quietly repaired, and a run that breaks off leaves no half-written object behind.
set -euo pipefail
cd "$(dirname "$0")/../.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -r Makefile go.mod go.sum ebpf "$copy"

# Without this a source nobody generates from any more would leave its old object committed for ever.
find "$copy/ebpf" -type f -name '*_bpfe[lb].*' -delete

if ! make --no-print-directory -C "$copy" generate >"$copy/log" 2>&1; then
	cat "$copy/log"
	exit 1
fi
if ! diff -r ebpf "$copy/ebpf"; then
	echo "the generated files in ebpf/ are not what ebpf/bpf gives (<: committed, >: generated): run 'make generate' and commit"
	exit 1
fi
