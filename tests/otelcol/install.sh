#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds the OpenTelemetry Collector that the tests here export to, from the modules that collector/go.sum pins, into
# .cache/otelcol/otelcol.
set -euo pipefail
cd "$(dirname "$0")/collector"
. ../../setup/receiver.sh

released=$(sed -n 's|^\tgo.opentelemetry.io/collector/otelcol v||p' go.mod)
# Also of what it is made from, so that another choice of components is another version.
version=$released+$(cat main.go go.mod go.sum | sha256sum | cut -c1-12)
build_receiver "the OpenTelemetry Collector $released (some minutes the first time)" ../../../.cache/otelcol/otelcol \
	"otelcol version $version" -ldflags "-s -w -X main.version=$version" .
