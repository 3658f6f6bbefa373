#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the receiver of Splunk's protocol that the tests here export to, from the modules that receiver/go.sum pins, into
# .cache/hec/victoria-logs: VictoriaLogs, a database of logs with an HTTP Event Collector of its own make (Splunk's own is no free
# software).
set -euo pipefail
cd "$(dirname "$0")/receiver"
. ../../setup/receiver.sh

released=$(sed -n 's|^\tgithub.com/VictoriaMetrics/VictoriaLogs v\([^ ]*\).*|\1|p' go.mod)
# Also of what it is made from.
version=$released+$(cat go.mod go.sum | sha256sum | cut -c1-12)
build_receiver "VictoriaLogs $released" ../../../.cache/hec/victoria-logs "$version" \
	-ldflags "-s -w -X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=$version" github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
