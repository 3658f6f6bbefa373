// SPDX-License-Identifier: Apache-2.0

// Package rig runs the real OpenTelemetry Collector, which tests/otelcol/install.sh builds, for the tests of packages two
// directories below the root of the repository.
package rig

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// Binary is the Collector.
const Binary = "../../.cache/otelcol/otelcol"

// Collector is one that can be started and stopped again and again; it listens
// on the same port each time and appends to the same file.
type Collector struct {
	// TLS is what its receiver does of it, as YAML on one line ("tls: {...}"); empty: nothing. Set it before Start.
	TLS string

	Server
	address string
	file    string
}

// New makes a Collector that does not run yet, and ends with the test.
func New(t *testing.T) *Collector {
	t.Helper()
	if _, err := os.Stat(Binary); err != nil {
		t.Fatalf("there is no OpenTelemetry Collector: run `make setup` (%v)", err)
	}
	c := &Collector{address: FreeAddress(t), file: filepath.Join(t.TempDir(), "events.json")}
	c.Init(t, "the Collector")
	return c
}

// Endpoint is where its OTLP receiver listens.
func (c *Collector) Endpoint() string {
	if c.TLS != "" {
		return "https://" + c.address
	}
	return "http://" + c.address
}

const configuration = `
receivers:
  otlp:
    protocols:
      http:
        endpoint: %s
        max_request_body_size: %d
        %s
processors:
  memory_limiter: # refuses everything when it has 1 MiB: more than that it always uses
    check_interval: 10ms
    limit_mib: %d
    spike_limit_mib: 0
exporters:
  file:
    path: %s
    append: true
  file/metrics:
    path: %s.metrics
    append: true
service:
  telemetry:
    metrics:
      level: none
  pipelines:
    logs:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: [file]
    metrics:
      receivers: [otlp]
      processors: [memory_limiter]
      exporters: [file/metrics]
`

// Limits of a Collector's memory, in MiB.
const (
	Refusing = 1
	Willing  = 1024
)

// MaxRequest is the largest request it takes, in bytes.
const MaxRequest = 256 << 10

// Start returns at once: a sender has to cope with one that does not listen
// yet.
func (c *Collector) Start(memory int) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "collector.yaml")
	text := fmt.Sprintf(configuration, c.address, MaxRequest, c.TLS, memory, c.file, c.file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.Run(exec.Command(Binary, "--config", path))
}

// Arrived is one log record with what it was sent under.
type Arrived struct {
	*logs.LogRecord
	resource *resource.Resource
	scope    string
	schema   string
}

// Read returns what arrived, in the order of its arrival. The Collector must
// have been stopped.
func (c *Collector) Read() []Arrived {
	c.t.Helper()
	var out []Arrived
	c.lines(c.file, func(line []byte) {
		var request collectorlogs.ExportLogsServiceRequest
		if err := protojson.Unmarshal(line, &request); err != nil {
			c.t.Fatalf("reading what the Collector wrote: %v", err)
		}
		for _, rl := range request.GetResourceLogs() {
			for _, sl := range rl.GetScopeLogs() {
				for _, record := range sl.GetLogRecords() {
					out = append(out, Arrived{record, rl.GetResource(), sl.GetScope().GetName(), rl.GetSchemaUrl()})
				}
			}
		}
	})
	return out
}

// Metrics returns the requests with metrics that arrived, as Read does.
func (c *Collector) Metrics() []*metrics.ResourceMetrics {
	c.t.Helper()
	var out []*metrics.ResourceMetrics
	c.lines(c.file+".metrics", func(line []byte) {
		var request collectormetrics.ExportMetricsServiceRequest
		if err := protojson.Unmarshal(line, &request); err != nil {
			c.t.Fatalf("reading what the Collector wrote: %v", err)
		}
		out = append(out, request.GetResourceMetrics()...)
	})
	return out
}

func (c *Collector) lines(path string, each func([]byte)) {
	c.t.Helper()
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		each(lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		c.t.Fatal(err)
	}
}
