// SPDX-License-Identifier: Apache-2.0

package companion

import (
	"context"
	"log/slog"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// step is one thing the daemon says: an approval that has changed, or the IDs of all
// that wait.
type step struct {
	approval *approval.Approval
	current  map[string]bool
}

const (
	retryFirst = 100 * time.Millisecond
	retryLast  = 5 * time.Second
)

// follow reads the stream of approvals, again and again: daemons are restarted.
func follow(ctx context.Context, queue Queue, log *slog.Logger, out chan<- step) {
	wait := retryFirst
	for ctx.Err() == nil {
		pending := map[string]bool{} // nil: it has been handed over
		for change, err := range queue.Approvals(ctx, true) {
			if err != nil {
				if wait == retryFirst {
					log.Warn("the daemon's questions cannot be followed", "error", err)
				}
				break
			}
			wait = retryFirst
			s := step{approval: change.Approval}
			switch {
			case change.Synced && pending == nil: // once is enough
				continue
			case change.Synced:
				log.Info("following the daemon's questions", "pending", len(pending))
				s, pending = step{current: pending}, nil
			case change.Approval == nil:
				continue
			case pending != nil:
				pending[change.Approval.ID] = true
			}
			select {
			case out <- s:
			case <-ctx.Done():
				return
			}
		}
		retry := time.NewTimer(wait)
		select {
		case <-retry.C:
		case <-ctx.Done():
			retry.Stop()
			return
		}
		wait = min(2*wait, retryLast)
	}
}
