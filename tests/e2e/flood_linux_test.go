// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// actStorm reaches for a port so many times, and executes a program and forks
// for nothing in between. It prints how often it was refused. With a third
// argument it says "ready" there (a pipe with a name), begins once something is to
// be read from the pipe of the fourth, and executes nothing.
func actStorm(args []string) error {
	port, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	quiet := len(args) > 2
	if quiet {
		if err := os.WriteFile(args[2], []byte("ready\n"), 0); err != nil {
			return err
		}
		if _, err := os.ReadFile(args[3]); err != nil {
			return err
		}
	}
	to := &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	refused := 0
	for i := range times {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, to); errors.Is(err, unix.EPERM) {
			refused++
		}
		unix.Close(fd)
		if i%200 == 0 && !quiet {
			_ = exec.Command("/bin/true").Run()
			_ = exec.Command("/bin/sh", "-c", "(:);(:);(:);(:);(:);(:);(:);(:);(:);(:)").Run()
		}
	}
	fmt.Println("refused", refused)
	return nil
}

// A governed storm of connections, forks and execs: nothing is let through, every
// record is accounted for, and who is not part of it is served. Then one while the
// daemon stands still, so that a ring overflows: what was lost is counted to the
// last record, and told.
func TestFlood(t *testing.T) {
	denied := newTarget(t)
	m := newMachine(t, base+networkRules(newTarget(t), denied))
	m.names = []string{telemetry.NameSessionStart, telemetry.NameSessionEnd, telemetry.NameTelemetryGap}
	m.start()
	idle := memory(t, m.daemon.pid(), "VmRSS")
	bystander := m.terminal()
	bystander.do("/bin/true")
	id := m.events.named(telemetry.NameSessionStart, "").Session

	const workers, times = 4, 5_000
	began := time.Now()
	storm := m.begin(fmt.Sprintf("for i in 1 2 3 4; do %s act-storm %d %d & done; wait", shared.self, denied.port, times))
	asked := 0
	for done := false; !done; asked++ {
		select {
		case <-storm.ended:
			done = true
		default:
		}
		if out, code := bystander.do("git --version | head -c 3; ls box 2>/dev/null"); !strings.HasPrefix(out, "git") || code == 0 || strings.Contains(out, listed) {
			t.Errorf("another session, in the storm: %q, %d", out, code)
		}
	}
	took := time.Since(began)
	refused := refusedIn(t, storm)
	if refused != workers*times || denied.reached.Load() != 0 {
		t.Errorf("%d of %d connections were refused, %d got through\n%.500s", refused, workers*times, denied.reached.Load(), storm.out)
	}

	const overflow = 60_000
	refused += m.overflow(denied, overflow)

	// The books are read until everything in the rings was dealt with.
	m.events.wait("the end of the session", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionEnd && e.Session != id
	})
	s := m.status()
	for wait, waiting := after(), true; waiting && s.Counters["ring.security.submitted"] != s.Counters["ring.security.done"]; {
		select {
		case <-wait:
			waiting = false
		default:
			s = m.status()
		}
	}
	m.balanced(s)
	lost := s.Counters["ring.holds.full"] + s.Counters["ring.security.full"] + s.Counters["ring.volume.full"]
	var told uint64
	if lost > 0 {
		m.events.wait(fmt.Sprintf("gaps of %d records together", lost), func(e telemetry.Event) bool {
			if e.Name == telemetry.NameTelemetryGap {
				told += uint64(number(e, telemetry.AttrGapCount))
			}
			return told >= lost
		})
	}
	if told != lost || lost == 0 {
		t.Errorf("%d records are told to be lost, %d are", told, lost)
	}
	stored := m.count(telemetry.NameNetworkDecision)
	if got := stored + int(s.Counters["ring.security.full"]); got != refused {
		t.Errorf("%d connections were refused; %d events and %d lost records make %d", refused, stored, s.Counters["ring.security.full"], got)
	}
	peak := memory(t, m.daemon.pid(), "VmHWM")
	t.Logf("%d connections refused in %v: %d events, %d records lost and told; the other session asked %d times; resident %.0f MiB, at most %.0f",
		refused, took.Round(time.Millisecond), stored, lost, asked, idle, peak)
	if peak > 400 {
		t.Errorf("the daemon took %.0f MiB", peak)
	}
	if out, code := bystander.do("/bin/uname"); code != 0 || out != "Linux\n" {
		t.Errorf("afterwards: %q, %d", out, code)
	}
}

// overflow stops the daemon while a session is refused so many connections, and
// returns how many it was refused.
func (m *machine) overflow(denied *target, times int) int {
	t := m.t
	t.Helper()
	ready, begin := filepath.Join(m.dir, "ready"), filepath.Join(m.dir, "begin")
	must(t, unix.Mkfifo(ready, 0o666))
	must(t, unix.Mkfifo(begin, 0o666))
	storm := m.begin(fmt.Sprintf("exec %s act-storm %d %d %s %s", shared.self, denied.port, times, ready, begin))
	if said, err := os.ReadFile(ready); err != nil || string(said) != "ready\n" {
		t.Fatalf("%q, %v", said, err)
	}
	must(t, unix.Kill(m.daemon.pid(), unix.SIGSTOP))
	must(t, os.WriteFile(begin, []byte("go\n"), 0))
	storm.wait(t)
	must(t, unix.Kill(m.daemon.pid(), unix.SIGCONT))
	refused := refusedIn(t, storm)
	if refused != times || denied.reached.Load() != 0 {
		t.Errorf("%d of %d connections were refused by the kernel alone, %d got through\n%.500s", refused, times, denied.reached.Load(), storm.out)
	}
	return refused
}

// refusedIn adds up what storms say.
func refusedIn(t *testing.T, storm *process) int {
	t.Helper()
	refused := 0
	for line := range strings.Lines(storm.out.String()) {
		if n, found := strings.CutPrefix(line, "refused "); found {
			count, err := strconv.Atoi(strings.TrimSpace(n))
			must(t, err)
			refused += count
		}
	}
	return refused
}

// count counts the stored events of a name.
func (m *machine) count(name string) int {
	m.t.Helper()
	out, errs, code := m.cli("events", "--json", "--name", name)
	if code != 0 {
		m.t.Fatalf("paddock events: %s", errs)
	}
	n := 0
	lines := bufio.NewScanner(bytes.NewReader([]byte(out)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !json.Valid(lines.Bytes()) {
			m.t.Fatalf("%.200q", lines.Text())
		}
		n++
	}
	must(m.t, lines.Err())
	return n
}
