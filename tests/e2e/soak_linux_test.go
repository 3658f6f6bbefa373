// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
)

// soakEnv is how long TestSoak takes, as time.ParseDuration has it; ten minutes is what was agreed.
const soakEnv = "PADDOCK_SOAK"

// soakDisk is the size of the disk of the events, in bytes.
const soakDisk = 1 << 30

// TestSoak is the long form of TestWhatAKillCostsIsTold and of tests/otelcol TestNothingIsLostInSilence, for whoever asks for it:
// the whole daemon, its receiver away for all that time, killed five times, its disk full for a tenth of it. Then the receiver
// is there, and every event has arrived or is told to be missing.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv(soakEnv))
	if err != nil {
		return // not a skip: its short forms run always
	}
	c := rig.New(t)
	m := newMachine(t, base+fmt.Sprintf("[paddock.telemetry]\nendpoint = %q\n", c.Endpoint()))
	m.detach = false
	m.names = []string{telemetry.NameDaemonStart}
	must(t, os.Mkdir(m.path("state"), 0o700))
	must(t, unix.Mount("paddock-soak", m.path("state"), "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", soakDisk)))
	t.Cleanup(func() { must(t, unix.Unmount(m.path("state"), unix.MNT_DETACH)) })
	m.start()
	var writers []*terminal
	for range 4 {
		s := m.terminal()
		s.do("/bin/true")
		s.steady("")
		writers = append(writers, s)
	}
	began := time.Now()
	at := func(part float64) { time.Sleep(time.Until(began.Add(time.Duration(part * float64(long))))) }
	for i := range 5 {
		at(float64(i)*0.2 + 0.1)
		m.kill()
		m.start()
		if i == 2 {
			at(0.55)
			filler := m.path("state/filler")
			fill(t, filler)
			at(0.65)
			must(t, os.Remove(filler))
		}
	}
	at(1)
	n := int64(0)
	must(t, os.WriteFile(m.dir+"/enough", nil, 0o644))
	for _, s := range writers {
		n += int64(m.enough(s)) + 1
	}
	took := time.Since(began)
	m.stop()
	c.Start(rig.Willing)
	m.start()
	for limit := time.Now().Add(10 * time.Minute); ; time.Sleep(time.Second) {
		s := m.status()
		if len(s.Sinks) == 1 && s.Sinks[0].Waiting == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("not all is exported: %+v", s.Sinks)
		}
	}
	c.Stop()
	var b books
	seen, twice := map[string]bool{}, 0
	for _, r := range c.Read() {
		attrs := rig.Values(r.GetAttributes())
		id, _ := attrs[telemetry.AttrRecordUID].(string)
		if seen[id] {
			twice++
			continue
		}
		seen[id] = true
		b.add(telemetry.Event{Name: r.GetEventName(), Attrs: attrs})
	}
	s := m.status()
	t.Logf("%d programs in %s: %d events arrived (%.0f a second were made), %d of them twice; of programs %d execs and %d exits, %d are told to be missing",
		n, took.Round(time.Second), len(seen), float64(2*n)/took.Seconds(), twice, b.execs, b.exits, b.missing)
	t.Logf("VmHWM of the last daemon: %.0f MiB", memory(t, m.daemon.pid(), "VmHWM"))
	if b.execs+b.exits+b.missing != 2*n || len(b.unknown) > 0 {
		t.Errorf("%d programs ran and ended: %d execs, %d exits, %d missing; without a number %v", n, b.execs, b.exits, b.missing, b.unknown)
	}
	m.balanced(s)
	m.stop() // before its disk is taken away
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	_, err = io.Copy(f, zeros{})
	t.Logf("the disk is full: %v", err)
}
