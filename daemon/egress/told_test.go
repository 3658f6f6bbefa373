// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

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
