// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

type noNames struct{}

func (noNames) NamesOf(string, netip.Addr) []string { return nil }

func (noNames) Resolve(context.Context, string, string) ([]netip.Addr, error) {
	return nil, errors.New("no such host")
}

type full struct{}

func (full) Record(context.Context, ...telemetry.Event) error { return errors.New("the queue is full") }

// The log says that events are lost, not as often as they are.
func TestLostEventsAreNoFloodOfTheLog(t *testing.T) {
	var log bytes.Buffer
	e, err := New(Options{Names: noNames{}, Recorder: full{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		e.tell(telemetry.Event{})
	}
	if n := strings.Count(log.String(), "\n"); n != 1 || e.Counters().Lost != 100 {
		t.Errorf("%d lines, %d lost:\n%s", n, e.Counters().Lost, log.String())
	}
}

// Of what is let through, only what is needed to judge it again is kept.
func TestLittleIsKeptToJudgeAgain(t *testing.T) {
	e, err := New(Options{Names: noNames{}, Recorder: full{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	heap := func() int64 {
		runtime.GC()
		runtime.GC() // and what pools had
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	conns := make([]*conn, 100)
	for i := range conns {
		conns[i] = &conn{engine: e}
		for port := range uint16(maxPassed) {
			r, err := parseHead([]byte("POST / HTTP/1.1\r\nHost: allowed.test\r\nX-Long: " + strings.Repeat("x", 4<<10) + "\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			conns[i].letPass(&judgement{
				claim: claim{host: r.Host, port: port, method: r.Method}, under: e.policy.Load(),
				request: policy.HostRequest{Host: r.Host, Port: port, Method: r.Method},
				verdict: policy.HostVerdict{Reason: strings.Repeat("r", 100+int(port))},
			})
		}
	}
	if each := (heap() - before) / int64(len(conns)*maxPassed); each > 256 {
		t.Errorf("%d bytes for each", each)
	}
	runtime.KeepAlive(conns)
}
