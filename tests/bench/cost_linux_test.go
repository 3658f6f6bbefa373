// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/vm"
)

// effort is how much is measured.
type effort struct {
	rounds, batches int
	execs, connects int // per batch and state
	chains, depth   int // of each of the storm's writers
	flood           int
}

func thorough() bool { return os.Getenv("PADDOCK_BENCH") == "1" }

func chosen() effort {
	if guestCounts() { // instructions, which are the same each time
		return effort{rounds: 3, batches: 2, execs: 20, connects: 40}
	}
	if thorough() {
		return effort{rounds: 30, batches: 8, execs: 50, connects: 250, chains: 400, depth: 50, flood: 40000}
	}
	return effort{rounds: 2, batches: 1, execs: 10, connects: 10, chains: 2, depth: 10, flood: 100}
}

// state is what a process may find itself in.
type state int

const (
	absent state = iota // no daemon
	idle                // a daemon, no session
	beside              // not governed, but a session lives: the watch on system calls is attached where there has to be one
	cached              // governed, and the kernel knows the answer
	judged              // governed, and the daemon is asked
	states
)

func (s state) String() string {
	return [...]string{
		"no daemon", "daemon, not governed", "daemon, not governed, a session lives",
		"governed, cached verdict", "governed, evaluated in userspace",
	}[s]
}

// series are the measurements of one operation.
type series struct {
	name   string
	order  order
	states []state

	all    [states][]int64   // ns, pooled over the rounds
	rounds [states][]float64 // the median of each round; absent has one more
	batch  [states][]int64   // of the round under way
}

// add keeps a batch but for its beginning, which warms caches up.
func (s *series) add(st state, each []int64) {
	s.batch[st] = append(s.batch[st], each[len(each)/10:]...)
}

func (s *series) closeBatch(st state) {
	s.rounds[st] = append(s.rounds[st], float64(quantile(s.batch[st], 0.5)))
	s.all[st] = append(s.all[st], s.batch[st]...)
	s.batch[st] = nil
}

// reference is what a round's states are compared with.
func (s *series) reference(round int) float64 {
	return (s.rounds[absent][round] + s.rounds[absent][round+1]) / 2
}

func (s *series) ratios(st state) (ratios, extra []float64) {
	if st == absent { // the noise floor: rounds in between against their neighbours
		for i := 1; i+1 < len(s.rounds[absent]); i++ {
			ref := (s.rounds[absent][i-1] + s.rounds[absent][i+1]) / 2
			ratios = append(ratios, s.rounds[absent][i]/ref)
			extra = append(extra, s.rounds[absent][i]-ref)
		}
		return ratios, extra
	}
	for i, v := range s.rounds[st] {
		ratios = append(ratios, v/s.reference(i))
		extra = append(extra, v-s.reference(i))
	}
	return ratios, extra
}

func ratioGoal(st state) string {
	return map[state]string{idle: "<= 1.02x", beside: "<= 1.02x", cached: "<= 1.05x", judged: "<= +150 us"}[st]
}

// met compares with the goal, in the words of the table.
func met(st state, ratio, extra float64) string {
	ok := true
	switch st {
	case absent:
		return ""
	case idle, beside:
		ok = ratio <= 1.02
	case cached:
		ok = ratio <= 1.05
	case judged:
		ok = extra <= 150e3
	}
	if ok {
		return "met"
	}
	return "MISSED"
}

func testCost(t *testing.T, binary string) {
	e := chosen()
	m := newMachine(t, binary)
	execStates := []state{absent, idle, beside, cached, judged}
	all := []*series{
		{name: "fork+exec+wait, smallest static program", order: order{Op: "exec", Program: m.free, N: e.execs}, states: execStates},
		{name: "fork+exec+wait, /bin/true", order: order{Op: "exec", Program: "/bin/true", N: e.execs}, states: execStates[:cached+1]},
		{name: "TCP connect+close, loopback", order: order{Op: "connect", N: e.connects}, states: execStates[:cached+1]},
	}
	outside := startWorker(t)
	// In the order of mixed: a process that does the same thing all the time is faster at it, governed or not.
	block := func(st state) {
		for range e.batches {
			for _, s := range all {
				s.add(st, outside.do(s.order))
				if s.states[len(s.states)-1] == judged {
					outside.do(m.uncommon(s.order))
				}
			}
		}
		for _, s := range all {
			s.closeBatch(st)
		}
	}
	var ready []float64
	var daemonRSS, helperRSS int
	block(absent)
	for range e.rounds {
		m.start()
		ready = append(ready, m.ready.Seconds()*1000)
		block(idle)
		if m.watching() {
			t.Fatal("system calls are watched although no session lives")
		}
		daemonRSS, helperRSS = m.resident()
		inside := startWorker(t, m.run()...)
		if m.watching() != m.bySyscalls() {
			t.Fatal("what watches those who are held is not what the daemon says")
		}
		m.settled()
		m.quiet() // at rest: this is what it costs that the session is there
		block(beside)
		mixed(t, m, e, all, inside)
		inside.stop()
		m.stop()
		block(absent)
	}

	table(t, e, all)
	low, high := interval(ready)
	fmt.Printf("\nstart to every gate proven: %.0f ms (95%%: %.0f..%.0f), worst of %d: %.0f ms; goal 1000 ms: %s\n",
		median(ready), low, high, len(ready), quantile(ready, 1), verdict(quantile(ready, 1) <= 1000))
	fmt.Printf("resident when idle: daemon %.1f MB, guard %.1f MB, together %.1f MB; goal 60 MB: %s\n",
		mb(daemonRSS), mb(helperRSS), mb(daemonRSS+helperRSS), verdict(daemonRSS+helperRSS <= 60<<20))
	if daemonRSS == 0 || helperRSS == 0 {
		t.Error("the resident memory could not be read")
	}
}

// testCostCounted measures the same where the kernel has the hooks that this machine may not have, in instructions.
func testCostCounted(t *testing.T, binary string) {
	if !thorough() {
		return // not a skip: an emulated machine, many minutes
	}
	handOver(t, binary)
	cfg := vm.Config{Kernel: "6.1", BPFLSM: true, Instructions: true, Timeout: 20 * time.Minute}
	vm.RunTests(t, cfg, "./tests/bench", "^TestGuestCost$")
}

// TestGuestCost is run by testCostCounted in the guest.
func TestGuestCost(t *testing.T) {
	if os.Getenv(vm.EnvKernel) == "" || !guestCounts() {
		return // not a skip: TestBench runs it where it can run
	}
	testCost(t, handedOver(t))
}

// uncommon is the same as o, but nothing the kernel remembers an answer for.
func (m *machine) uncommon(o order) order {
	o.Program, o.Unique = m.judged, true
	return o
}

// mixed measures what can alternate batch by batch, and checks that it was what it is called.
func mixed(t *testing.T, m *machine, e effort, all []*series, inside *worker) {
	t.Helper()
	for _, s := range all {
		if o := s.order; o.Op == "exec" {
			o.N = 1
			m.known(inside, o)
		}
	}
	before := m.settled().Counters
	asked := 0
	for range e.batches {
		for _, s := range all {
			s.add(cached, inside.do(s.order))
			if s.states[len(s.states)-1] == judged {
				o := m.uncommon(s.order)
				s.add(judged, inside.do(o))
				asked += o.N
			}
		}
	}
	after := m.settled().Counters
	if got := after["holds.evaluated"] - before["holds.evaluated"]; got != uint64(asked) {
		t.Fatalf("the daemon was asked %d times, not %d: what is called cached or evaluated was not", got, asked)
	}
	for _, s := range all {
		for _, st := range s.states[cached:] {
			s.closeBatch(st)
		}
	}
}

func table(t *testing.T, e effort, all []*series) {
	t.Helper()
	fmt.Printf("\n%s\n", where())
	fmt.Printf("%d rounds of: no daemon, daemon started, measured, stopped. Governed, batches of %d execs or %d connects alternate.\n"+
		" Ratio and extra: median over the rounds of the round's p50 against the mean of the p50 without a daemon before and\n"+
		"after it, [95%% confidence]. The row \"no daemon\" compares such blocks with their neighbours: it is the noise floor.\n\n",
		e.rounds, e.execs, e.connects)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tp50 us\tp99 us\tratio\t\textra us\tgoal\t")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t\t\t\t\t\t\t\n", s.name)
		for _, st := range s.states {
			ratios, extra := s.ratios(st)
			low, high := interval(ratios)
			p50, p99 := quantile(s.all[st], 0.5), quantile(s.all[st], 0.99)
			if p50 <= 0 || p99 < p50 {
				t.Errorf("%s, %s: p50 %d ns, p99 %d ns", s.name, st, p50, p99)
			}
			if st == absent && len(ratios) == 0 {
				t.Errorf("%s: no noise floor", s.name)
			}
			fmt.Fprintf(w, "  %s\t%.1f\t%.1f\t%.3fx\t[%.3f..%.3f]\t%+.1f\t%s\t%s\n", st,
				float64(p50)/1e3, float64(p99)/1e3, median(ratios), low, high, median(extra)/1e3,
				ratioGoal(st), met(st, median(ratios), median(extra)))
		}
	}
	must(t, w.Flush())
}

func verdict(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

func mb(bytes int) float64 { return float64(bytes) / (1 << 20) }

// where says on what it was measured, and what else went on there.
func where() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	load, _ := os.ReadFile("/proc/loadavg")
	others, _ := filepath.Glob("/sys/fs/bpf/paddock*")
	if guestCounts() {
		return fmt.Sprintf("Linux %s, emulated: for us read thousands of instructions, of the whole machine", unix.ByteSliceToString(u.Release[:]))
	}
	if !thorough() {
		return "A few iterations, to see that it works: these numbers mean nothing. Use make bench."
	}
	return fmt.Sprintf("Linux %s, %s, %d CPUs, %s; load %s; other instances pinned: %d; %s",
		unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.NumCPU(), model(),
		strings.Join(strings.Fields(string(load))[:3], " "), max(0, len(others)-1), time.Now().Format("2006-01-02 15:04"))
}

func model() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	_, after, _ := strings.Cut(string(raw), "model name")
	line, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(strings.TrimLeft(line, "\t: "))
}
