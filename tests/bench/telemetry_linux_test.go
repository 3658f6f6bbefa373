// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// collectorBinary is what tests/otelcol/install.sh builds.
const collectorBinary = "../../.cache/otelcol/otelcol"

// telemetryOrder is what the process that is measured has to do.
type telemetryOrder struct {
	Dir      string // of the store
	Events   int
	Endpoint string // of a Collector
}

// telemetryResult is what came of it. Times are in seconds.
type telemetryResult struct {
	Ingest, IngestCPU, Export, ExportCPU float64
	BytesStored                          int64
	PeakRSS                              int64            // bytes, throughout
	Queries                              map[string]int64 // ns, the median of several
}

// testTelemetry measures the store and the export by themselves, in a process of
// their own with the daemon's memory limit.
func testTelemetry(t *testing.T) {
	if _, err := os.Stat(collectorBinary); errors.Is(err, fs.ErrNotExist) {
		t.Fatal("there is no OpenTelemetry Collector: run `make setup`")
	}
	o := telemetryOrder{Dir: t.TempDir(), Events: 20_000, Endpoint: startCollector(t)}
	if thorough() {
		o.Events = 1_000_000
	}
	order, err := json.Marshal(o)
	must(t, err)
	cmd := exec.Command(os.Args[0], roleTelemetry, string(order))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	must(t, err)
	var r telemetryResult
	must(t, json.Unmarshal(out, &r))

	n := float64(o.Events)
	fmt.Printf("\n%s\n%d events, half of them execs of 20 attributes and half exits, stored durably as fast as they are taken; then asked for; then all\n"+
		"exported over OTLP/HTTP with gzip to a Collector on the same processors, which writes them to /dev/null.\n\n", where(), o.Events)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	row := func(what, value, goal string, met bool) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", what, value, goal, verdict(met))
	}
	row("recorded and durable", fmt.Sprintf("%.0f/s, %.1f us CPU each", n/r.Ingest, 1e6*r.IngestCPU/n), ">= 20000/s", n/r.Ingest >= 20000)
	row("exported to a Collector", fmt.Sprintf("%.0f/s, %.1f us CPU each", n/r.Export, 1e6*r.ExportCPU/n), ">= 20000/s", n/r.Export >= 20000)
	row("on disk", fmt.Sprintf("%.0f bytes an event", float64(r.BytesStored)/n), "", true)
	row("peak of resident memory", fmt.Sprintf("%.0f MiB", float64(r.PeakRSS)/(1<<20)), "<= 150 MiB", r.PeakRSS <= 150<<20)
	for _, q := range telemetryQuestions {
		row(q.name, time.Duration(r.Queries[q.name]).Round(10*time.Microsecond).String(), "<= "+q.goal.String(), r.Queries[q.name] <= int64(q.goal))
	}
	must(t, w.Flush())
}

// startCollector starts one that forgets what it gets, and returns its endpoint.
func startCollector(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := l.Addr().String()
	must(t, l.Close())
	config := filepath.Join(t.TempDir(), "collector.yaml")
	must(t, os.WriteFile(config, []byte(`
receivers: {otlp: {protocols: {http: {endpoint: "`+address+`"}}}}
exporters: {file: {path: /dev/null}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {logs: {receivers: [otlp], exporters: [file]}}
`), 0o600))
	cmd := exec.Command(collectorBinary, "--config", config)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return "http://" + address
}

// telemetryQuestions are what the store is asked, with the time an answer may
// take.
var telemetryQuestions = []struct {
	name string
	goal time.Duration
	ask  func(context.Context, *telemetry.Store, []telemetry.Event) (int, error)
}{
	{"timeline of a session", 50 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, some []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{Session: some[0].Session, Limit: 1000}))
	}},
	{"by tool call", 100 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, some []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{Call: some[0].Attrs[telemetry.AttrToolCallID].(string)}))
	}},
	{"by process", 100 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, some []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{PID: some[0].Attrs[telemetry.AttrProcessPID].(int64)}))
	}},
	{"by command, the newest", 100 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, _ []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{Command: "git", Newest: true, Limit: 100}))
	}},
	{"by event id", 100 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, some []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{ID: some[0].ID}))
	}},
	{"a rare kind of event", 100 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, _ []telemetry.Event) (int, error) {
		return found(s.Query(ctx, telemetry.Query{Names: []string{telemetry.NameDaemonStart}}))
	}},
	{"counts of a year", 500 * time.Millisecond, func(ctx context.Context, s *telemetry.Store, _ []telemetry.Event) (int, error) {
		tallies, err := s.Tallies(ctx, time.Now().AddDate(-1, 0, 0), time.Now().Add(time.Hour))
		return len(tallies), err
	}},
}

func found(events []telemetry.Event, err error) (int, error) { return len(events), err }

// measureTelemetry is the process that is measured.
func measureTelemetry(text string) error {
	var o telemetryOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	debug.SetMemoryLimit(daemon.MemoryLimit)
	ctx := context.Background()
	if path := os.Getenv(profileEnv); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	s, err := telemetry.Open(ctx, o.Dir, telemetry.Options{MaxBytes: 8 << 30})
	if err != nil {
		return err
	}
	r := telemetryResult{Queries: map[string]int64{}}
	began, cpu := time.Now(), usedCPU()
	if err := ingest(ctx, s, o.Events); err != nil {
		return err
	}
	r.Ingest, r.IngestCPU = time.Since(began).Seconds(), (usedCPU() - cpu).Seconds()
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(filepath.Join(o.Dir, "events.db"+suffix)); err == nil && suffix == "" {
			r.BytesStored += info.Size()
		}
	}
	if err := ask(ctx, s, o.Events, r.Queries); err != nil {
		return err
	}
	began, cpu = time.Now(), usedCPU()
	if err := exportAll(ctx, s, o.Endpoint); err != nil {
		return err
	}
	r.Export, r.ExportCPU = time.Since(began).Seconds(), (usedCPU() - cpu).Seconds()
	if r.PeakRSS, err = peakRSS(); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return err
	}
	return s.Close()
}

func ingest(ctx context.Context, s *telemetry.Store, n int) error {
	if err := s.Record(ctx, telemetry.Event{Name: telemetry.NameDaemonStart, Attrs: map[string]any{telemetry.AttrVersion: "bench"}}); err != nil {
		return err
	}
	for i := 1; i < n; i++ {
		if err := s.Room(ctx); err != nil {
			return err
		}
		if err := s.Record(ctx, sampleEvent(i)); err != nil {
			return err
		}
	}
	return s.Flush(ctx)
}

// sampleEvent makes what a command of an agent leaves, in 200 sessions.
func sampleEvent(i int) telemetry.Event {
	e := telemetry.Event{Time: time.Now(), Name: telemetry.NameProcessExit, Session: fmt.Sprintf("01JDEFGHJKMNPQRSTVWXYZ0%03d", i/200%200), Attrs: map[string]any{
		telemetry.AttrProcessPID: int64(4000 + i/2%30000), telemetry.AttrProcessStart: int64(1e14 + i/2*1000), telemetry.AttrAgent: "codex",
		telemetry.AttrToolCallID: fmt.Sprintf("call_%d", i/40), telemetry.AttrThreadID: "0199a213-81c0-7800-8aa1-bbab2a035a53",
		telemetry.AttrProcessExitCode: int64(0),
	}}
	if i%2 == 1 {
		return e
	}
	e.Name = telemetry.NameProcessExec
	delete(e.Attrs, telemetry.AttrProcessExitCode)
	for key, value := range map[string]any{
		telemetry.AttrProcessParentPID: int64(3999), telemetry.AttrProcessUserID: int64(1000), telemetry.AttrProcessOwner: "dev",
		telemetry.AttrProcessExecutableName: "git", telemetry.AttrCalledAs: "/usr/bin/git", telemetry.AttrFileID: "8:1:1234567",
		telemetry.AttrProcessCommandArgs:    []string{"git", "-c", "core.pager=cat", "log", "--oneline", "-n", fmt.Sprint(i % 100), fmt.Sprintf("src/file%d.go", i%5000)},
		telemetry.AttrProcessExecutablePath: "/usr/bin/git", telemetry.AttrProcessWorkingDir: "/home/dev/src/project",
		telemetry.AttrDecision: "allow", telemetry.AttrDecisionReason: "allowed before, unchanged since", telemetry.AttrDecisionEnforced: true,
		telemetry.AttrMode: "enforce", telemetry.AttrGate: "exec.hold", telemetry.AttrPolicyGeneration: int64(3),
	} {
		e.Attrs[key] = value
	}
	return e
}

func ask(ctx context.Context, s *telemetry.Store, n int, into map[string]int64) error {
	const times = 9
	for _, q := range telemetryQuestions {
		var took []float64
		for i := range times {
			some, err := s.Query(ctx, telemetry.Query{After: int64(n / (times + 1) * (i + 1)), Limit: 1})
			if err != nil {
				return err
			}
			began := time.Now()
			rows, err := q.ask(ctx, s, some)
			if err != nil {
				return err
			}
			if rows == 0 {
				return fmt.Errorf("%s: nothing was found", q.name)
			}
			took = append(took, float64(time.Since(began)))
		}
		into[q.name] = int64(median(took))
	}
	return nil
}

func exportAll(ctx context.Context, s *telemetry.Store, endpoint string) error {
	e := telemetry.NewExporter(s, telemetry.ExporterOptions{
		Sink: telemetry.SinkConfig{Endpoint: endpoint}, Resource: map[string]string{"service.version": "bench"}, Linger: -1,
		FirstRetry: 10 * time.Millisecond, LastRetry: 100 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	e.Start(ctx)
	for {
		changed := s.Changed()
		if c := s.Counters().Sinks[telemetry.SinkOTLP]; c.Active && c.Waiting == 0 {
			return e.Shutdown(ctx)
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			return fmt.Errorf("nothing is exported: %+v", e.Status())
		}
	}
}

func usedCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // of ourselves: it cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func peakRSS() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(string(status), "VmHWM:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil || !found {
		return 0, fmt.Errorf("reading VmHWM: %w", err)
	}
	return kb << 10, nil
}

func telemetryMain(args []string) int {
	if err := measureTelemetry(args[0]); err != nil {
		_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
		return 1
	}
	return 0
}
