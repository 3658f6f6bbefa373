#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the receiver of Splunk's protocol that the tests here export to, from the modules that receiver/go.sum pins, into
# .cache/hec/victoria-logs: VictoriaLogs, a database of logs with an HTTP Event Collector of its own make (Splunk's own is no free
# software). Says nothing when the one that is there is the one wanted.
set -euo pipefail
cd "$(dirname "$0")/receiver"

binary=../../../.cache/hec/victoria-logs
released=$(sed -n 's|^\tgithub.com/VictoriaMetrics/VictoriaLogs v\([^ ]*\).*|\1|p' go.mod)
# Also of what it is made from.
version=$released+$(cat go.mod go.sum | sha256sum | cut -c1-12)

[ "$("$binary" --version 2>/dev/null)" = "$version" ] && exit

echo "setup: building VictoriaLogs $released"
mkdir -p "$(dirname "$binary")"
log=$(mktemp)
trap 'rm -f "$log" "$binary.new"' EXIT
# go.mod decides, whatever the machine's own settings say.
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off
said=github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=$version
for attempt in 1 2 3; do
	# Downloads fail now and then; what was downloaded and built before is kept.
	if go build -trimpath -ldflags "-s -w -X $said" -o "$binary.new" github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs >"$log" 2>&1; then
		mv "$binary.new" "$binary"
		break
	fi
	if [ "$attempt" = 3 ]; then
		cat "$log" >&2
		echo "setup: building VictoriaLogs failed three times" >&2
		exit 1
	fi
	sleep $((attempt * 2))
done
if [ "$("$binary" --version)" != "$version" ]; then
	echo "setup: $binary says it is $("$binary" --version), not $version" >&2
	exit 1
fi
