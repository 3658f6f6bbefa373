// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"iter"

	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// Backend is the daemon behind the API. The server decides who may ask; the
// backend answers. All methods are called concurrently.
type Backend interface {
	Status(context.Context) (Status, error)
	// Sessions lists the live sessions and those that ended lately, newest first.
	Sessions(context.Context) ([]session.Session, error)
	// Events returns stored events in the order of Seq and, with follow, then
	// those to come, until ctx ends.
	Events(ctx context.Context, q telemetry.Query, follow bool) iter.Seq2[telemetry.Event, error]
	// Adopt makes the peer the root of a session. When it returns, the peer is
	// governed.
	Adopt(context.Context, Peer, RunRequest) (RunResponse, error)
	// Governed reports whether the process belongs to a session.
	Governed(pid int) bool
}
