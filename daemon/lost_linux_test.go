// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Of the connections that were open when the daemon was killed, the next one says which they were.
func TestConnectionsThatWereOpen(t *testing.T) {
	store, err := telemetry.Open(t.Context(), filepath.Join(t.TempDir(), "events"), telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	d := &Daemon{config: Config{Log: slog.New(slog.DiscardHandler)}, store: store}
	event := func(name, id string) telemetry.Event {
		e := telemetry.Event{Name: name, Severity: telemetry.Info, Session: "01SESSION", Attrs: map[string]any{}}
		if id != "" {
			e.Attrs[telemetry.AttrConnectionID] = id
			e.Attrs[telemetry.AttrServerAddress] = id + ".test"
			e.Attrs[telemetry.AttrBytesSent] = int64(7)
		}
		return e
	}
	record := func(events ...telemetry.Event) {
		t.Helper()
		d.record(events...)
		if err := store.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if lost := d.lostEvents(t.Context()); len(lost) != 0 {
		t.Errorf("of an empty store: %+v", lost)
	}
	// A daemon that stopped in order told all of its own.
	record(event(telemetry.NameDaemonStart, ""), event(telemetry.NameNetworkOpen, "before"), event(telemetry.NameDaemonStop, ""))
	if lost := d.lostEvents(t.Context()); len(lost) != 0 {
		t.Errorf("after a stop in order: %+v", lost)
	}
	// More than one page of those that ended; of those that did not, both are told.
	record(event(telemetry.NameDaemonStart, ""), event(telemetry.NameNetworkOpen, "first"))
	for i := range telemetry.DefaultLimit + 1 {
		d.record(event(telemetry.NameNetworkOpen, fmt.Sprint(i)), event(telemetry.NameNetworkConnection, fmt.Sprint(i)), event(telemetry.NameNetworkConnection, ""))
	}
	record(event(telemetry.NameNetworkOpen, "last"))
	lost := d.lostEvents(t.Context())
	if len(lost) != 2 {
		t.Fatalf("%d connections were open, not 2: %+v", len(lost), lost)
	}
	for i, host := range []string{"first.test", "last.test"} {
		e := lost[i]
		if e.Name != telemetry.NameNetworkConnection || e.Session != "01SESSION" || e.Attrs[telemetry.AttrServerAddress] != host ||
			e.Attrs[telemetry.AttrConnectionLost] != true || e.Attrs[telemetry.AttrErrorMessage] == nil {
			t.Errorf("%+v", e)
		}
	}
	// They are told once.
	record(append(lost, event(telemetry.NameDaemonStart, ""))...)
	if lost := d.lostEvents(t.Context()); len(lost) != 0 {
		t.Errorf("told twice: %+v", lost)
	}
}
