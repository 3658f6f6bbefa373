// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"crypto/rand"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// lasting is what joins the event that a connection is open to that of its end.
type lasting struct{ p atomic.Pointer[string] }

// id is empty as long as no event says that it is open.
func (o *lasting) id() string {
	if p := o.p.Load(); p != nil {
		return *p
	}
	return ""
}

// watchOpen tells of connections that are open for some time: if this process is killed, nobody
// else knows of them.
func (e *Engine) watchOpen() {
	tick := time.NewTicker(max(e.limits.Open/3, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if events := e.openForLong(time.Now().Add(-e.limits.Open)); len(events) > 0 {
				e.tell(events...)
			}
		case <-e.ctx.Done():
			return
		}
	}
}

// openForLong returns an event for each connection that began before a time and was not told yet.
func (e *Engine) openForLong(before time.Time) (events []telemetry.Event) {
	e.mu.Lock()
	var old []*conn
	for c := range e.all {
		if c.began.Before(before) && c.lasting.id() == "" {
			old = append(old, c)
		}
	}
	e.mu.Unlock()
	for _, c := range old {
		c.mu.Lock()
		j := c.judged
		if c.closed || c.server == nil || j == nil { // it ends with an event soon, or waits for an answer
			c.mu.Unlock()
			continue
		}
		id := rand.Text()
		c.lasting.p.Store(&id)
		c.mu.Unlock()
		flow := c.flow
		flow.open = id
		event := connectionEvent(flow, j)
		event.Name = telemetry.NameNetworkOpen
		event.Attrs[telemetry.AttrBytesSent] = c.up.Load()
		event.Attrs[telemetry.AttrBytesReceived] = c.down.Load()
		event.Attrs[telemetry.AttrConnectionDuration] = time.Since(c.began).Milliseconds()
		events = append(events, event)
	}
	return events
}
