// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// Owner says whose a session is or was.
func (d *Daemon) Owner(ctx context.Context, id string) (uint32, bool, error) {
	if s, ok := d.sessions.ByID(id); ok {
		return s.UID, true, nil
	}
	events, err := d.store.Query(ctx, telemetry.Query{Session: id, Names: []string{telemetry.NameSessionStart}, Limit: 1})
	if err != nil || len(events) == 0 {
		return 0, false, err
	}
	uid, known := events[0].Attrs[telemetry.AttrProcessUserID].(int64)
	return uint32(uid), known, nil
}

// Explain tells why something ran.
func (d *Daemon) Explain(ctx context.Context, subjects []join.Subject, sees func(string) bool) (*join.Story, error) {
	if err := d.store.Flush(ctx); err != nil {
		return nil, err
	}
	return join.ExplainFirst(func(s join.Subject) (*join.Story, error) { return join.Explain(ctx, d.store, s, sees) }, subjects)
}

// Account puts together what is stored of a session.
func (d *Daemon) Account(ctx context.Context, id string, p join.Page) (*join.Account, error) {
	if err := d.store.Flush(ctx); err != nil {
		return nil, err
	}
	return join.Show(ctx, d.store, id, p)
}

// Stats adds up what happened between two times.
func (d *Daemon) Stats(ctx context.Context, from, to time.Time) (*join.Stats, error) {
	if err := d.store.Flush(ctx); err != nil {
		return nil, err
	}
	return join.Count(ctx, d.store, from, to)
}

// Select answers one SELECT over stored events.
func (d *Daemon) Select(ctx context.Context, statement string, columns func([]string) error, row func([]any) error) error {
	if err := d.store.Flush(ctx); err != nil {
		return err
	}
	return d.store.Select(ctx, statement, columns, row)
}
