// SPDX-License-Identifier: Apache-2.0

// Package otelcol tests the export of events against a real OpenTelemetry
// Collector, which tests/otelcol/install.sh builds.
package otelcol

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	collectorlogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const binary = "../../.cache/otelcol/otelcol"

// collector is one that can be started and stopped again and again; it listens
// on the same port each time and appends to the same file.
type collector struct {
	t       *testing.T
	address string
	file    string
	log     output
	process *exec.Cmd
	ended   chan struct{} // closed when the process ended
	result  error         // of that; read after ended
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	if _, err := os.Stat(binary); err != nil {
		t.Fatalf("there is no OpenTelemetry Collector: run `make setup` (%v)", err)
	}
	c := &collector{t: t, address: freeAddress(t), file: filepath.Join(t.TempDir(), "events.json")}
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("the Collector said:\n%s", c.log.text())
		}
	})
	return c
}

// freeAddress is one that nobody listens on, and that we keep nobody from.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (c *collector) endpoint() string { return "http://" + c.address }

const configuration = `
receivers:
  otlp:
    protocols:
      http:
        endpoint: %s
        max_request_body_size: %d
processors:
  memory_limiter: # refuses everything when it has 1 MiB: more than that it always uses
    check_interval: 10ms
    limit_mib: %d
    spike_limit_mib: 0
exporters:
  file:
    path: %s
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
`

// Limits of a Collector's memory, in MiB.
const (
	refusing = 1
	willing  = 1024
)

// maxRequest is the largest request it takes, in bytes.
const maxRequest = 256 << 10

// start returns at once: a sender has to cope with one that does not listen
// yet.
func (c *collector) start(memory int) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "collector.yaml")
	text := fmt.Sprintf(configuration, c.address, maxRequest, memory, c.file)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.process = exec.Command(binary, "--config", path)
	c.process.Stdout, c.process.Stderr = &c.log, &c.log
	c.process.SysProcAttr = dieWithTest()
	if err := c.process.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.ended = make(chan struct{})
	go func() {
		c.result = c.process.Wait()
		close(c.ended)
	}()
}

// stop ends it in order: it writes what it took to its file.
func (c *collector) stop() {
	c.t.Helper()
	if c.process == nil {
		return
	}
	if err := c.process.Process.Signal(syscall.SIGTERM); err != nil {
		c.t.Errorf("stopping the Collector: %v", err)
	}
	<-c.ended
	if c.result != nil {
		c.t.Errorf("the Collector ended with: %v", c.result)
	}
	c.process, c.ended = nil, nil
}

// output is what a Collector says.
type output struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{} // closed at the next write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.all.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// says waits until the Collector said text.
func (c *collector) says(text string) {
	c.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		c.log.mu.Lock()
		if c.log.more == nil {
			c.log.more = make(chan struct{})
		}
		more, found := c.log.more, bytes.Contains(c.log.all.Bytes(), []byte(text))
		c.log.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-c.ended:
			c.t.Fatal("the Collector ended by itself")
		case <-timeout.C:
			c.t.Fatalf("the Collector does not say %q", text)
		}
	}
}

// arrived is one log record with what it was sent under.
type arrived struct {
	*logs.LogRecord
	resource *resource.Resource
	scope    string
	schema   string
}

// read returns what arrived, in the order of its arrival. The Collector must
// have been stopped.
func (c *collector) read() []arrived {
	c.t.Helper()
	f, err := os.Open(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var out []arrived
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var request collectorlogs.ExportLogsServiceRequest
		if err := protojson.Unmarshal(lines.Bytes(), &request); err != nil {
			c.t.Fatalf("reading what the Collector wrote: %v", err)
		}
		for _, rl := range request.GetResourceLogs() {
			for _, sl := range rl.GetScopeLogs() {
				for _, record := range sl.GetLogRecords() {
					out = append(out, arrived{record, rl.GetResource(), sl.GetScope().GetName(), rl.GetSchemaUrl()})
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		c.t.Fatal(err)
	}
	return out
}

func TestCollectorIsTheOnePinned(t *testing.T) {
	mod, err := os.ReadFile("collector/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(mod), "\tgo.opentelemetry.io/collector/otelcol v")
	if !found {
		t.Fatal("collector/go.mod does not say which Collector it is")
	}
	want, _, _ := strings.Cut(rest, "\n")
	out, err := exec.Command(binary, "--version").Output()
	if err != nil {
		t.Fatalf("there is no OpenTelemetry Collector: run `make setup` (%v)", err)
	}
	if got := string(out); !strings.HasPrefix(got, "otelcol version "+want+"+") {
		t.Errorf("the Collector is %q, want %s: run `make setup`", got, want)
	}
}
