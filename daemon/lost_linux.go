// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// lostConnections are the ends of connections that were open when the daemon before was killed: it
// had told that they are there, and not what became of them. Its events are those after one.
func lostConnections(ctx context.Context, store *telemetry.Store, after int64) ([]telemetry.Event, error) {
	open := map[string]telemetry.Event{}
	var order []string
	page := func(name string, each func(id string, e telemetry.Event)) error {
		for q := (telemetry.Query{Names: []string{name}, After: after}); ; {
			events, err := store.Query(ctx, q)
			if err != nil || len(events) == 0 {
				return err
			}
			for _, e := range events {
				if id, _ := e.Attrs[telemetry.AttrConnectionID].(string); id != "" {
					each(id, e)
				}
				q.After = e.Seq
			}
		}
	}
	if err := page(telemetry.NameNetworkOpen, func(id string, e telemetry.Event) {
		open[id] = e
		order = append(order, id)
	}); err != nil || len(open) == 0 {
		return nil, err
	}
	if err := page(telemetry.NameNetworkConnection, func(id string, _ telemetry.Event) { delete(open, id) }); err != nil {
		return nil, err
	}
	var lost []telemetry.Event
	for _, id := range order {
		if e, ok := open[id]; ok {
			e.Attrs[telemetry.AttrConnectionLost] = true
			e.Attrs[telemetry.AttrErrorMessage] = "Paddock was killed while the connection was open: what it moved after the event that told of it is not known"
			lost = append(lost, telemetry.Event{Name: telemetry.NameNetworkConnection, Severity: telemetry.Warn, Session: e.Session, Attrs: e.Attrs})
		}
	}
	return lost, nil
}

// lostLimit is how long it is looked for them.
const lostLimit = 3 * time.Second

// lostEvents are those of the daemon that began last, if it did not stop in order. What was before that, it told itself.
func (d *Daemon) lostEvents(ctx context.Context) []telemetry.Event {
	last, err := d.store.Query(ctx, telemetry.Query{Names: []string{telemetry.NameDaemonStart, telemetry.NameDaemonStop}, Newest: true, Limit: 1})
	var after int64
	if len(last) > 0 {
		if after = last[0].Seq; last[0].Name == telemetry.NameDaemonStop {
			return nil
		}
	}
	// Until the daemon serves, what needs an answer is killed: it does not read for long.
	ctx, cancel := context.WithTimeout(ctx, lostLimit)
	defer cancel()
	var lost []telemetry.Event
	if err == nil {
		lost, err = lostConnections(ctx, d.store, after)
	}
	if err != nil {
		d.config.Log.Error("which connections were open when the daemon was killed is not known", "error", err)
	}
	return lost
}
