// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
)

func sequence(from, to int64) []int64 {
	var out []int64
	for n := from; n <= to; n++ {
		out = append(out, n)
	}
	return out
}

func TestExportInOrder(t *testing.T) {
	sink := newSinkServer(t)
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 4200)...)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL + "/"}})
	waitFor(t, s, "the backlog", exported(4200))
	record(t, s, numbered(4201, 4210)...)
	waitFor(t, s, "what came later", exported(4210))
	got, requests := sink.got()
	if diff := cmp.Diff(sequence(1, 4210), got); diff != "" {
		t.Errorf("order or number is wrong: %s", diff)
	}
	if requests < 4 {
		t.Errorf("%d requests, want at least 4: no batch may hold more than %d", requests, batchEvents)
	}
	checkIdentities(t, s)
}

func TestRequest(t *testing.T) {
	sink := newSinkServer(t)
	var path, agent string
	sink.set(func(_ http.ResponseWriter, r *http.Request, _ []*logs.LogRecord) bool {
		path, agent = r.URL.Path+" "+r.Header.Get("Content-Type"), r.Header.Get("X-Tenant")
		return true
	})
	s := openStore(t, t.TempDir(), Options{})
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL + "/otlp", Headers: map[string]string{"X-Tenant": "t1"}}})
	record(t, s, Event{
		ID: "01JDEFGHJKMNPQRSTVWXYZ0123", Time: time.Unix(5, 6), Name: NameTamper, Severity: Error, Session: "S",
		Attrs: map[string]any{"n": 1, "list": []string{"a", "b"}, "yes": true, "half": 0.5, AttrEventName: "a lie"},
	})
	waitFor(t, s, "the event", exported(1))
	sink.mu.Lock()
	defer sink.mu.Unlock()
	if path != "/otlp/v1/logs application/x-protobuf" || agent != "t1" {
		t.Errorf("request to %q, X-Tenant %q", path, agent)
	}
	r := sink.accepted[0]
	if r.GetTimeUnixNano() != 5e9+6 || r.GetSeverityNumber() != logs.SeverityNumber_SEVERITY_NUMBER_ERROR || r.GetEventName() != NameTamper {
		t.Errorf("time %d, severity %s, name %q", r.GetTimeUnixNano(), r.GetSeverityNumber(), r.GetEventName())
	}
	got := map[string]string{}
	for _, a := range r.GetAttributes() {
		got[a.GetKey()] = strings.ReplaceAll(a.GetValue().String(), "  ", " ") // protobuf varies its spaces on purpose
	}
	want := map[string]string{
		"n": `int_value:1`, "yes": `bool_value:true`, "half": `double_value:0.5`,
		"list":        `array_value:{values:{string_value:"a"} values:{string_value:"b"}}`,
		AttrEventName: `string_value:"paddock.tamper"`, AttrRecordUID: `string_value:"01JDEFGHJKMNPQRSTVWXYZ0123"`,
		AttrSessionID: `string_value:"S"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attributes: %s", diff)
	}
}

// What is about the way there, and not about the events, is tried until it
// works, and nothing is given up.
func TestFailuresThatMayPass(t *testing.T) {
	for _, status := range []int{307, 401, 403, 404, 405, 408, 429, 500, 502, 503, 504} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			sink := newSinkServer(t)
			sink.set(refuseWith(status))
			s := openStore(t, t.TempDir(), Options{})
			record(t, s, numbered(1, 3)...)
			e := startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
			sink.waitForRequests(t, 3)
			if got := e.Status(); got.State != ExporterFailing || !strings.Contains(got.Error, http.StatusText(status)) {
				t.Errorf("status is %+v", got)
			}
			sink.set(nil)
			waitFor(t, s, "the recovery", exported(3))
			if got, _ := sink.got(); !slices.Equal(got, sequence(1, 3)) {
				t.Errorf("got %v", got)
			}
			if c := s.Counters().Sinks[SinkOTLP]; c.Dead != 0 {
				t.Errorf("%d events were given up", c.Dead)
			}
		})
	}
}

func TestAWebPageIsNoReceiver(t *testing.T) {
	sink := newSinkServer(t)
	sink.set(func(w http.ResponseWriter, _ *http.Request, _ []*logs.LogRecord) bool {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>please log in"))
		return false
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 3)...)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	sink.waitForRequests(t, 2)
	if c := s.Counters().Sinks[SinkOTLP]; c.Exported != 0 {
		t.Errorf("%d events count as exported", c.Exported)
	}
}

func TestPoisonIsFoundAndReported(t *testing.T) {
	sink := newSinkServer(t)
	poison := func(n int64) bool { return n == 17 || n == 18 || n == 400 }
	sink.set(func(w http.ResponseWriter, _ *http.Request, records []*logs.LogRecord) bool {
		for _, r := range records {
			if n, ok := number(r); ok && poison(n) {
				http.Error(w, "no such thing", http.StatusBadRequest)
				return false
			}
		}
		return true
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 500)...)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	// 497, and the three reports of the others.
	waitFor(t, s, "all that is not poison", exported(500))
	got, _ := sink.got()
	slices.Sort(got)
	if diff := cmp.Diff(slices.DeleteFunc(sequence(1, 500), poison), got); diff != "" {
		t.Error(diff)
	}
	if c := s.Counters().Sinks[SinkOTLP]; c.Dead != 3 {
		t.Errorf("%d events are dead, want 3", c.Dead)
	}
	var reported []int64
	for _, e := range query(t, s, Query{Names: []string{NameTelemetryGap}}) {
		if e.Attrs[AttrGapCause] != GapRejected || !strings.Contains(e.Attrs[AttrErrorMessage].(string), "no such thing") {
			t.Errorf("gap is %v", e.Attrs)
		}
		reported = append(reported, e.Attrs[AttrGapFirstSeq].(int64))
	}
	slices.Sort(reported)
	if !slices.Equal(reported, []int64{17, 18, 400}) {
		t.Errorf("reported are %v", reported)
	}
	checkIdentities(t, s)
}

// A receiver that refuses everything is misconfigured. No event is given up
// until it was seen to take another one.
func TestRefusingEverythingLosesNothing(t *testing.T) {
	for _, n := range []int{1, 500} {
		sink := newSinkServer(t)
		sink.set(refuseWith(http.StatusBadRequest))
		s := openStore(t, t.TempDir(), Options{})
		record(t, s, numbered(1, n)...)
		startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
		sink.waitForRequests(t, 3*refusalsInARow)
		if c := s.Counters().Sinks[SinkOTLP]; c.Dead != 0 || c.Waiting != uint64(n) {
			t.Errorf("counters are %+v", c)
		}
		sink.set(nil)
		waitFor(t, s, "the recovery", exported(uint64(n)))
		if got, _ := sink.got(); !slices.Equal(got, sequence(1, int64(n))) {
			t.Errorf("got %d events, want %d in order", len(got), n)
		}
	}
}

// A refusal of a refusal's report must not make another report, and so on.
func TestRejectedReportsEnd(t *testing.T) {
	sink := newSinkServer(t)
	sink.set(func(w http.ResponseWriter, _ *http.Request, records []*logs.LogRecord) bool {
		for _, r := range records {
			if n, _ := number(r); n == 2 || r.GetEventName() == NameTelemetryGap {
				w.WriteHeader(http.StatusBadRequest)
				return false
			}
		}
		return true
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 3)...)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	waitFor(t, s, "the first rejection", func(c SinkCounters) bool { return c.Dead == 1 })
	record(t, s, numbered(4, 4)...) // its company shows that the report is to blame
	waitFor(t, s, "the report's rejection", func(c SinkCounters) bool { return c.Dead == 2 && c.Waiting == 0 })
	if got := query(t, s, Query{Names: []string{NameTelemetryGap}}); len(got) != 1 {
		t.Errorf("%d reports, want 1", len(got))
	}
	checkIdentities(t, s)
}

func TestPartialSuccess(t *testing.T) {
	for _, kind := range []string{"application/x-protobuf", "application/json"} {
		sink := newSinkServer(t)
		sink.set(func(w http.ResponseWriter, _ *http.Request, records []*logs.LogRecord) bool {
			if len(records) < 10 {
				return true
			}
			w.Header().Set("Content-Type", kind)
			text := []byte(`{"partialSuccess":{"rejectedLogRecords":"4","errorMessage":"too old"}}`)
			if kind != "application/json" {
				var err error
				text, err = proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{
					RejectedLogRecords: 4, ErrorMessage: "too old",
				}})
				if err != nil {
					t.Error(err)
				}
			}
			_, _ = w.Write(text)
			return true
		})
		s := openStore(t, t.TempDir(), Options{})
		record(t, s, numbered(1, 10)...)
		startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
		waitFor(t, s, "the rest and the report", exported(7))
		if c := s.Counters().Sinks[SinkOTLP]; c.Dead != 4 || c.Exported != 7 {
			t.Errorf("%s: counters are %+v", kind, c)
		}
		gap := query(t, s, Query{Names: []string{NameTelemetryGap}})
		if len(gap) != 1 || gap[0].Attrs[AttrGapCount] != int64(4) || gap[0].Attrs[AttrErrorMessage] != "partial success: too old" {
			t.Errorf("%s: gaps are %v", kind, gap)
		}
		checkIdentities(t, s)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	sink := newSinkServer(t)
	sink.set(func(w http.ResponseWriter, _ *http.Request, _ []*logs.LogRecord) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
		return false
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 1)...)
	e := startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	sink.waitForRequests(t, 1)
	sink.set(nil)
	// An hour has not passed, but another configuration does not owe the old one's patience.
	e.Configure(SinkConfig{Endpoint: sink.URL + "/"})
	waitFor(t, s, "the new configuration", exported(1))
	if _, requests := sink.got(); requests != 2 {
		t.Errorf("%d requests, want 2", requests)
	}
}

func TestConfigure(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 5)...)
	e := startExporter(t, s, ExporterOptions{})
	if got := e.Status(); got.State != ExporterOff {
		t.Errorf("status without an endpoint is %+v", got)
	}
	first, second := newSinkServer(t), newSinkServer(t)
	e.Configure(SinkConfig{Endpoint: first.URL})
	waitFor(t, s, "the first", exported(5))
	e.Configure(SinkConfig{Endpoint: "ftp://user:secret@host"})
	record(t, s, numbered(6, 7)...)
	e.Configure(SinkConfig{Endpoint: second.URL})
	waitFor(t, s, "the second", exported(7))
	if got, _ := second.got(); !slices.Equal(got, sequence(6, 7)) {
		t.Errorf("the second got %v, want what the first had not", got)
	}
	e.Configure(SinkConfig{Endpoint: ""})
	waitFor(t, s, "being off", func(c SinkCounters) bool { return !c.Active })
}

func TestAnInvalidEndpointIsTold(t *testing.T) {
	for endpoint, want := range map[string]string{
		"ftp://user:secret@host": "must begin with http", "localhost:4318": "must begin with http", "http://%zz": "no URL", "http:": "name a host",
	} {
		_, _, err := address(endpoint, "v1", "logs")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestHungReceiverDoesNotHoldConfigureOrShutdown(t *testing.T) {
	sink := newSinkServer(t)
	release, entered := make(chan struct{}), make(chan struct{}, 16)
	t.Cleanup(func() { close(release) })
	sink.set(func(_ http.ResponseWriter, r *http.Request, _ []*logs.LogRecord) bool {
		entered <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return false
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 1)...)
	e := startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	<-entered
	e.Configure(SinkConfig{Endpoint: sink.URL + "/"})
	<-entered // the new configuration got its turn
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if c := s.Counters().Sinks[SinkOTLP]; c.Waiting != 1 {
		t.Errorf("counters are %+v", c)
	}
}

func TestShutdownSendsTheRest(t *testing.T) {
	sink := newSinkServer(t)
	s := openStore(t, t.TempDir(), Options{})
	e := NewExporter(s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}, Linger: time.Hour})
	e.Start(t.Context())
	record(t, s, numbered(1, 700)...)
	shutdown(t, e)
	if got, _ := sink.got(); !slices.Equal(got, sequence(1, 700)) {
		t.Errorf("%d events arrived, want 700 in order", len(got))
	}
}

func TestRestartGoesOnWhereItWas(t *testing.T) {
	sink := newSinkServer(t)
	dir := t.TempDir()
	for round := range 3 {
		s := openStore(t, dir, Options{})
		record(t, s, numbered(10*round+1, 10*round+10)...)
		e := startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
		shutdown(t, e)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := sink.got(); !slices.Equal(got, sequence(1, 30)) {
		t.Errorf("got %v, want each once", got)
	}
}

func TestGzipIsDroppedForThoseWhoDoNotKnowIt(t *testing.T) {
	sink := newSinkServer(t)
	sink.set(func(w http.ResponseWriter, r *http.Request, _ []*logs.LogRecord) bool {
		if r.Header.Get("Content-Encoding") != "" {
			w.WriteHeader(http.StatusUnsupportedMediaType)
			return false
		}
		return true
	})
	s := openStore(t, t.TempDir(), Options{})
	record(t, s, numbered(1, 2)...)
	startExporter(t, s, ExporterOptions{Sink: SinkConfig{Endpoint: sink.URL}})
	waitFor(t, s, "the plain request", exported(2))
}

func FuzzAnswers(f *testing.F) {
	ok, err := proto.Marshal(&collector.ExportLogsServiceResponse{PartialSuccess: &collector.ExportLogsPartialSuccess{
		RejectedLogRecords: 4, ErrorMessage: "x",
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("application/x-protobuf", ok)
	f.Add("application/x-protobuf", []byte("\x08\x03\x12\x02no"))
	f.Add("application/json", []byte(`{"partialSuccess":{"rejectedLogRecords":"4"}}`))
	f.Add("text/html", []byte("<html>"))
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		_, _ = readAnswer(kind, text)
		if s := explain(kind, text); len(s) > 400 || !strings.HasPrefix(s, ": ") && s != "" {
			t.Errorf("explanation %q", s)
		}
		if d := retryAfter(string(text), time.Unix(0, 0)); d < 0 {
			t.Errorf("Retry-After %q waits %s", text, d)
		}
	})
}
