// SPDX-License-Identifier: Apache-2.0

package otelcol

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// recorderEnv makes this test's program be one that records until it is killed.
const recorderEnv = "PADDOCK_LOSS_TEST_RECORDER"

func TestMain(m *testing.M) {
	if text := os.Getenv(recorderEnv); text != "" {
		if err := recorder(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Each event of the loss test has a number.
const (
	attrNumber = "test.number"
	// lossBound is the size bound of the store: less than what comes while the Collector is away.
	lossBound = 6 << 20
	// lossDisk is the size of the whole disk.
	lossDisk = 24 << 20
	// burst is how many events come at a time, each of about 700 bytes.
	burst = 250
)

// recorder records bursts into a store whose exporter finds nobody. After each
// burst it says which numbers are durable and which were refused: "d FROM TO" or
// "r FROM TO". It ends when it is killed.
func recorder(text string) error {
	fields := strings.Fields(text) // directory, endpoint, first number
	dir, endpoint := fields[0], fields[1]
	n, err := strconv.Atoi(fields[2])
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := telemetry.Open(ctx, dir, telemetry.Options{MaxBytes: lossBound, MaxQueued: 2048, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	startExporterOf(s, endpoint).Start(ctx)
	for {
		events := make([]telemetry.Event, burst)
		for i := range events {
			events[i] = telemetry.Event{Name: telemetry.NameProcessExec, Session: "S", Attrs: map[string]any{
				attrNumber: n + i, telemetry.AttrProcessPID: n + i, telemetry.AttrDecisionReason: strings.Repeat("why ", 120),
			}}
		}
		fmt.Printf("b %d %d\n", n, n+burst-1) // from now on they may be durable
		err := s.Record(ctx, events...)
		switch {
		case err != nil:
			fmt.Printf("r %d %d\n", n, n+burst-1)
		case s.Flush(ctx) == nil:
			fmt.Printf("d %d %d\n", n, n+burst-1)
		default:
			fmt.Printf("w %d %d\n", n, n+burst-1) // it waits: the disk is full
		}
		n += burst
	}
}

func startExporterOf(s *telemetry.Store, endpoint string) *telemetry.Exporter {
	return telemetry.NewExporter(s, telemetry.ExporterOptions{
		Sink: telemetry.SinkConfig{Endpoint: endpoint}, FirstRetry: 10 * time.Millisecond, LastRetry: 50 * time.Millisecond, Linger: -1,
		Log: slog.New(slog.DiscardHandler),
	})
}

// smallDisk mounts a file system that is soon full.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("paddock-loss-test", dir, "tmpfs", 0, "size="+strconv.Itoa(lossDisk)); err != nil {
		t.Fatalf("mounting a small disk (are we root?): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// books are what the recorders said of each event.
type books struct {
	next             int
	durable, refused int
	open             map[int]bool // it said neither: in the store, waiting, or lost with the process
	isDurable        map[int]bool
}

// run starts a recorder and kills it after so many bursts that were durable; when
// the disk is full, after as many that were not.
func (b *books) run(t *testing.T, dir, endpoint string, bursts int, full bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", recorderEnv, dir, endpoint, b.next))
	cmd.SysProcAttr = rig.DieWithTest()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines, said := bufio.NewScanner(out), 0
	for lines.Scan() {
		var what string
		var from, to int
		if _, err := fmt.Sscan(lines.Text(), &what, &from, &to); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		for n := from; n <= to; n++ {
			switch what {
			case "b":
				b.open[n] = true
				b.next = n + 1
			case "d":
				delete(b.open, n)
				b.isDurable[n] = true
			case "r":
				delete(b.open, n)
				b.refused++
			}
		}
		// Some time in the middle of what it does, on purpose.
		if what == "d" && !full || (what == "r" || what == "w") && full {
			if said++; said == bursts {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	_ = cmd.Wait() // it was killed
	if said < bursts {
		t.Fatalf("the recorder ended by itself: %s", errs.String())
	}
	b.durable = len(b.isDurable)
}

// The Collector is away, more comes than the store may hold, the recording
// process is killed five times in the middle of it, and the disk is full for a
// while. When the Collector is there, every event that was durable arrives, or is
// within a gap that is told; and the numbers agree to the last one.
func TestNothingIsLostInSilence(t *testing.T) {
	c := rig.New(t)
	disk := smallDisk(t)
	dir := filepath.Join(disk, "events")
	b := &books{next: 1, open: map[int]bool{}, isDurable: map[int]bool{}}
	filler := filepath.Join(disk, "filler")
	for life := range 5 {
		b.run(t, dir, c.Endpoint(), 12, false)
		if life != 2 {
			continue
		}
		fill(t, filler)
		b.run(t, dir, c.Endpoint(), 12, true)
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	}

	s, err := telemetry.Open(t.Context(), dir, telemetry.Options{MaxBytes: lossBound})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	bb := &bench{Collector: c, t: t, store: s, exporter: startExporterOf(s, c.Endpoint()), failures: &failures{failed: make(chan struct{})}}
	c.Start(rig.Willing)
	bb.exporter.Start(t.Context())
	bb.awaitExport()
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	if err := bb.exporter.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	c.Stop()
	b.check(t, c, s)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}

// check compares what arrived, and what gaps tell, with the books.
func (b *books) check(t *testing.T, c *rig.Collector, s *telemetry.Store) {
	t.Helper()
	arrived, ids := map[int]bool{}, map[string]bool{}
	gaps := map[string]int64{}
	var outside int64 // events of the store's own that arrived
	for _, record := range c.Read() {
		attrs := rig.Values(record.GetAttributes())
		id, _ := attrs[telemetry.AttrRecordUID].(string)
		if ids[id] {
			continue // at least once
		}
		ids[id] = true
		if n, ok := attrs[attrNumber].(int64); ok {
			arrived[int(n)] = true
			continue
		}
		outside++
		if record.GetEventName() != telemetry.NameTelemetryGap {
			t.Errorf("%s arrived, which nobody recorded", record.GetEventName())
			continue
		}
		if attrs[telemetry.AttrGapCause] == telemetry.GapFlood {
			continue // what the store lost, and not the sink
		}
		count, known := attrs[telemetry.AttrGapCount].(int64)
		if !known {
			t.Errorf("a gap of unknown size: %v", attrs)
		}
		gaps[attrs[telemetry.AttrGapCause].(string)] += count
	}
	missing, unsaid := 0, 0
	for n := range b.isDurable {
		if !arrived[n] {
			missing++
		}
	}
	for n := range arrived {
		switch {
		case b.isDurable[n]:
		case b.open[n]:
			unsaid++ // it became durable after all: the process was killed before it could say so
		default:
			t.Errorf("event %d arrived, and it was refused", n)
		}
	}
	counters := s.Counters()
	sink := counters.Sinks[telemetry.SinkOTLP]
	t.Logf("%d durable, %d of them arrived, %d refused while the disk was full, %d were open when a process was killed (%d of those arrived); gaps %v; store %+v",
		b.durable, len(arrived)-unsaid, b.refused, len(b.open), unsaid, gaps, counters)
	// What was dropped is told exactly; it may be the store's own events, or those of which nobody had said that they are
	// durable. With it is told what gaps among it had told: of what was refused.
	var told int64
	for _, n := range gaps {
		told += n
	}
	if more := told - int64(sink.Dropped); more < 0 || more > int64(b.refused+len(b.open)) || gaps[telemetry.GapSize] < int64(missing) || missing == 0 {
		t.Errorf("%d durable events did not arrive, the sink lost %d, %d were refused, and gaps tell of %v", missing, sink.Dropped, b.refused, gaps)
	}
	if got := int64(len(arrived)) + outside; uint64(got) != sink.Exported || sink.Dead != 0 || sink.Waiting != 0 {
		t.Errorf("%d arrived, and the sink is %+v", got, sink)
	}
	if counters.Stored != sink.Exported+sink.Dropped+sink.Skipped {
		t.Errorf("%d were stored: the sink is %+v", counters.Stored, sink)
	}
	if b.refused == 0 {
		t.Error("nothing was refused while the disk was full: the test is too kind")
	}
	for _, i := range counters.Identities() {
		if !i.Holds() {
			t.Errorf("%s: %d is not %d", i.Name, i.Left, i.Right)
		}
	}
}
