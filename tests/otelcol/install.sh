#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the OpenTelemetry Collector that the tests here export to, from the modules that collector/go.sum pins, into
# .cache/otelcol/otelcol. Says nothing when the one that is there is the one wanted.
set -euo pipefail
cd "$(dirname "$0")/collector"

binary=../../../.cache/otelcol/otelcol
released=$(sed -n 's|^\tgo.opentelemetry.io/collector/otelcol v||p' go.mod)
# Also of what it is made from, so that another choice of components is another version.
version=$released+$(cat main.go go.mod go.sum | sha256sum | cut -c1-12)
wanted="otelcol version $version"

[ "$("$binary" --version 2>/dev/null)" = "$wanted" ] && exit

echo "setup: building the OpenTelemetry Collector $released (some minutes the first time)"
mkdir -p "$(dirname "$binary")"
log=$(mktemp)
trap 'rm -f "$log" "$binary.new"' EXIT
# go.mod decides, whatever the machine's own settings say.
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
for attempt in 1 2 3; do
	# Downloads fail now and then; what was downloaded and built before is kept.
	if go build -trimpath -ldflags "-s -w -X main.version=$version" -o "$binary.new" . >"$log" 2>&1; then
		mv "$binary.new" "$binary"
		break
	fi
	if [ "$attempt" = 3 ]; then
		cat "$log" >&2
		echo "setup: building the OpenTelemetry Collector failed three times" >&2
		exit 1
	fi
	sleep $((attempt * 2))
done
if [ "$("$binary" --version)" != "$wanted" ]; then
	echo "setup: $binary says it is $("$binary" --version), not $wanted" >&2
	exit 1
fi
