// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// writers of a storm.
const writers = 8

// testStorm drives the daemon as hard as eight governed processes can, and
// checks every counter on the way of a record. Records the kernel could not
// deliver are allowed; one that nobody speaks of is not.
func testStorm(t *testing.T, binary string) {
	e := chosen()
	m := newMachine(t, binary)
	alone := storm(start(t, nil), order{Op: "chain", Program: m.chain, N: e.chains, Depth: e.depth})
	m.start()
	group := start(t, m.run())
	m.known(group[0], order{Op: "chain", Program: m.chain, N: 1, Depth: 1})

	execs := order{Op: "chain", Program: m.chain, N: e.chains, Depth: e.depth}
	connects := order{Op: "flood", N: e.flood}
	rows := []weather{
		m.measure("execs and exits", group, execs, uint64(writers*e.chains*(e.depth+1))),
		m.measure("connects", group, connects, uint64(writers*e.flood)),
	}
	// Once more, while all of it leaves again.
	taken := m.export()
	m.known(group[0], order{Op: "chain", Program: m.chain, N: 1, Depth: 1})
	rows = append(rows, m.measure("execs and exits, exported", group, execs, uint64(writers*e.chains*(e.depth+1))))
	peak := memory(fmt.Sprintf("/proc/%d", m.cmd.Process.Pid), "VmHWM:")
	for _, w := range group {
		w.stop()
	}
	m.settled()

	fmt.Printf("\n%s\n%d governed writers. Produced: records per second while they ran. Recorded: events in the store per second, from the first\n"+
		"record until the last is durable. Every counter was compared: produced = submitted + lost, submitted = read = recorded, and gap\n"+
		"events tell of every lost record. The same %d processes without a daemon: %.0f execs and exits/s.\n\n",
		where(), writers, writers, float64(writers*e.chains*(e.depth+1))/alone.Seconds())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\trecords\tproduced/s\trecorded\trecorded/s\tdaemon CPU us each\tlost, and reported\tgoal\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%d\t%.0f\t%.1f\t%d\t>= 30000/s\t%s\n", r.name, r.seen, float64(r.seen)/r.ran.Seconds(),
			r.recorded, float64(r.recorded)/r.until.Seconds(), float64(r.cpu.Microseconds())/float64(max(1, r.recorded)), r.lost, verdict(float64(r.recorded)/r.until.Seconds() >= 30000))
	}
	must(t, w.Flush())
	fmt.Printf("\nthe daemon's resident memory at its highest: %.0f MB, while a receiver took %.1f MB of OTLP in %d requests; goal 150 MB: %s\n",
		float64(peak)/1e6, float64(taken.bytes.Load())/1e6, taken.requests.Load(), verdict(peak <= 150e6))
	if peak == 0 || taken.requests.Load() == 0 {
		t.Error("nothing was exported, or the memory could not be read")
	}
}

// taken is what a receiver of events got.
type taken struct{ requests, bytes atomic.Int64 }

// export has the daemon send everything from now on to a receiver here, and returns when it has sent what there was.
func (m *machine) export() *taken {
	m.t.Helper()
	got := &taken{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		got.requests.Add(1)
		got.bytes.Add(n)
	}))
	m.t.Cleanup(server.Close)
	const name = "root/etc/paddock/requirements.toml"
	before, err := os.ReadFile(m.path(name))
	must(m.t, err)
	m.write(name, string(before)+fmt.Sprintf("[paddock.telemetry]\nendpoint = %q\n", server.URL))
	for deadline := time.Now().Add(2 * startLimit); ; time.Sleep(50 * time.Millisecond) {
		if s := m.status(); len(s.Sinks) == 1 && s.Sinks[0].Exported > 0 && s.Sinks[0].Waiting == 0 {
			return got
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the daemon exports nothing\n%s", &m.log)
		}
	}
}

func start(t *testing.T, prefix []string) []*worker {
	t.Helper()
	group := make([]*worker, writers)
	for i := range group {
		group[i] = startWorker(t, prefix...)
	}
	return group
}

// storm lets all go at once, and returns how long it took until the last ended.
func storm(group []*worker, o order) time.Duration {
	began := time.Now()
	for _, w := range group {
		w.tell(o)
	}
	for _, w := range group {
		w.hear()
	}
	return time.Since(began)
}

// weather is what came of a storm.
type weather struct {
	name                 string
	seen, recorded, lost uint64
	ran, until, cpu      time.Duration
}

func (m *machine) measure(name string, group []*worker, o order, expected uint64) weather {
	t := m.t
	t.Helper()
	before, gapsBefore := m.settled().Counters, m.gaps(t.Context())
	began, cpu := time.Now(), m.cpu()
	w := weather{name: name, ran: storm(group, o)}
	after := m.settled().Counters
	w.until, w.cpu = time.Since(began), m.cpu()-cpu
	delta := func(counter string) uint64 { return after[counter] - before[counter] }
	for _, ring := range []string{"holds", "security", "volume"} {
		w.seen += delta("ring." + ring + ".seen")
		w.lost += delta("ring." + ring + ".full")
	}
	w.recorded = delta("store.committed")
	if w.seen != expected {
		t.Errorf("%s: the kernel counted %d records, and %d happened", name, w.seen, expected)
	}
	// One event a record; the sessions began before and end after.
	gapEvents := uint64(0)
	for deadline := time.Now().Add(time.Minute); w.lost > 0 && time.Now().Before(deadline); {
		after = m.settled().Counters
		if told := m.gaps(t.Context()) - gapsBefore; told >= w.lost {
			if told != w.lost {
				t.Errorf("%s: events tell of %d lost records, and %d were", name, told, w.lost)
			}
			after = m.settled().Counters // the gap events are in it only now for sure
			gapEvents = delta("store.committed") - w.recorded
			break
		}
	}
	if w.lost > 0 && gapEvents == 0 && w.recorded == w.seen-w.lost {
		t.Errorf("%s: %d records were lost, and no event says so", name, w.lost)
	}
	if total := w.recorded + gapEvents; total < w.seen-w.lost || total > w.seen-w.lost+gapEvents+64 {
		t.Errorf("%s: %d records arrived, and %d events were stored", name, w.seen-w.lost, total)
	}
	return w
}
