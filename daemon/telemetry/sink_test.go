// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

// testSink is an OTLP receiver whose answers a test chooses.
type testSink struct {
	*httptest.Server
	mu       sync.Mutex
	answer   func(w http.ResponseWriter, r *http.Request, records []*logs.LogRecord) bool // true: accepted
	accepted []*logs.LogRecord
	requests int
	news     chan struct{} // holds one; filled after each request
}

func newSinkServer(t *testing.T) *testSink {
	s := &testSink{news: make(chan struct{}, 1)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(t, w, r) }))
	t.Cleanup(s.Close)
	return s
}

func (s *testSink) serve(t *testing.T, w http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			t.Errorf("a request is not gzip: %v", err)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Errorf("reading a request: %v", err)
	}
	var req collector.ExportLogsServiceRequest
	if err := proto.Unmarshal(text, &req); err != nil {
		t.Errorf("a request is not OTLP: %v", err)
	}
	var records []*logs.LogRecord
	for _, rl := range req.GetResourceLogs() {
		for _, sl := range rl.GetScopeLogs() {
			records = append(records, sl.GetLogRecords()...)
		}
	}
	s.mu.Lock()
	s.requests++
	answer := s.answer
	s.mu.Unlock()
	if answer == nil || answer(w, r, records) {
		s.mu.Lock()
		s.accepted = append(s.accepted, records...)
		s.mu.Unlock()
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// set changes the answers from now on; nil accepts everything.
func (s *testSink) set(answer func(http.ResponseWriter, *http.Request, []*logs.LogRecord) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// refuseWith answers every request with this status.
func refuseWith(status int) func(http.ResponseWriter, *http.Request, []*logs.LogRecord) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ []*logs.LogRecord) bool {
		w.WriteHeader(status)
		return false
	}
}

// got returns the attribute n of what was accepted, and how many requests there
// were.
func (s *testSink) got() ([]int64, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []int64
	for _, r := range s.accepted {
		if n, ok := number(r); ok {
			out = append(out, n)
		}
	}
	return out, s.requests
}

func number(r *logs.LogRecord) (int64, bool) {
	for _, a := range r.GetAttributes() {
		if a.GetKey() == "n" {
			return a.GetValue().GetIntValue(), true
		}
	}
	return 0, false
}

func startExporter(t *testing.T, s *Store, o ExporterOptions) *Exporter {
	t.Helper()
	o.Linger, o.FirstRetry, o.LastRetry = -1, time.Millisecond, 4*time.Millisecond
	o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	e := NewExporter(s, o)
	e.Start(t.Context())
	t.Cleanup(func() { shutdown(t, e) })
	return e
}

func shutdown(t *testing.T, e *Exporter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// waitFor waits on the store's own announcements until its counters are as
// wanted.
func waitFor(t *testing.T, s *Store, what string, ok func(SinkCounters) bool) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		_, _, changed, _ := s.in.watch()
		c := s.Counters().Sinks[SinkOTLP]
		if ok(c) {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			t.Fatalf("waiting for %s: counters are %+v", what, c)
		}
	}
}

func exported(n uint64) func(SinkCounters) bool {
	return func(c SinkCounters) bool { return c.Active && c.Exported >= n && c.Waiting == 0 }
}

// waitForRequests waits until the sink answered n requests.
func (s *testSink) waitForRequests(t *testing.T, n int) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for {
		if _, requests := s.got(); requests >= n {
			return
		}
		select {
		case <-s.news:
		case <-timeout.C:
			_, requests := s.got()
			t.Fatalf("%d requests came, want %d", requests, n)
		}
	}
}
