// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	callTimeout  = 3 * time.Second
	startTimeout = 15 * time.Second // a server may have to be started
	retryFirst   = 200 * time.Millisecond
	retryLast    = 10 * time.Second
)

// Client shows notifications. Make one with Start.
type Client struct {
	options Options
	log     *slog.Logger
	stop    context.Context
	cancel  context.CancelFunc
	done    chan struct{}

	commands chan func()
	signals  chan *dbus.Signal
	events   chan Event
	owner    atomic.Pointer[string] // whose signals are believed

	// What follows belongs to the goroutine of run.
	conn    *dbus.Conn
	server  *serverAt // nil: none
	looking bool      // for a server
	again   bool      // look once more: the name changed hands meanwhile
	shown   map[string]*entry
	queue   []Event
	early   []*dbus.Signal // about numbers that nothing has yet
}

// entry is one notification that is wanted on the screen.
type entry struct {
	Notification
	id      uint32 // the server's; 0: not shown
	since   time.Time
	asked   bool // the server was asked to show it and has not answered
	asks    int  // how often
	told    bool // that it cannot be shown
	stale   bool // what was asked is not what is wanted any more
	closed  bool // it is not wanted any more
	invoked bool // it was answered there
}

// Start makes a client that joins the bus, and joins it again when it is lost, until
// ctx ends. It does not wait for it.
func Start(ctx context.Context, o Options) *Client {
	c := &Client{
		options: o, log: o.Log, done: make(chan struct{}), shown: map[string]*entry{},
		commands: make(chan func()), signals: make(chan *dbus.Signal, 256), events: make(chan Event),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.stop, c.cancel = context.WithCancel(ctx)
	go c.run()
	return c
}

// Events returns what becomes of notifications, in order. It is to be read; until it
// is, events are kept.
func (c *Client) Events() <-chan Event { return c.events }

// Show shows a notification, or replaces the one with its key. It does not wait for
// the server; see Events.
func (c *Client) Show(n Notification) {
	c.do(func() {
		e := c.shown[n.Key]
		if e == nil || e.closed {
			e = &entry{}
			c.shown[n.Key] = e
		}
		e.Notification = n
		c.present(e)
	})
}

// Close takes a notification off the screen.
func (c *Client) Close(key string) {
	c.do(func() {
		if e := c.shown[key]; e != nil {
			c.remove(e)
		}
	})
}

// Server returns who shows notifications now.
func (c *Client) Server() (Server, bool) {
	answer := make(chan *serverAt, 1)
	c.do(func() { answer <- c.server })
	select {
	case s := <-answer:
		if s != nil {
			return s.Server, true
		}
	case <-c.done:
	}
	return Server{}, false
}

// Shutdown takes everything off the screen and leaves the bus.
func (c *Client) Shutdown() {
	c.do(func() {
		for _, e := range c.shown {
			c.remove(e)
		}
	})
	c.cancel()
	<-c.done
}

func (c *Client) do(f func()) {
	select {
	case c.commands <- f:
	case <-c.done:
	}
}

// run joins the bus and serves, again and again.
func (c *Client) run() {
	defer close(c.done)
	wait := retryFirst
	for c.stop.Err() == nil {
		var conn *dbus.Conn
		var err error
		joined := make(chan struct{})
		go func() {
			defer close(joined)
			conn, err = c.connect(c.stop)
		}()
		c.serve(joined)
		<-joined
		if err == nil {
			wait = retryFirst
			c.conn = conn
			c.find()
			c.serve(conn.Context().Done())
			conn.Close()
			c.conn, c.looking, c.again = nil, false, false
			c.lost(errLost)
			c.forgetSignals()
			continue
		}
		c.log.Debug("notifications", "error", err)
		c.lost(err)
		retry, cancel := context.WithTimeout(c.stop, wait)
		c.serve(retry.Done())
		cancel()
		wait = min(2*wait, retryLast)
	}
}

// forgetSignals drops what a bus that is gone had still to say: on the next one another
// may have the same unique name.
func (c *Client) forgetSignals() {
	for {
		select {
		case <-c.signals:
		default:
			return
		}
	}
}

// serve does what is asked and what the bus says, until then.
func (c *Client) serve(until <-chan struct{}) {
	for {
		var out chan Event
		var next Event
		if len(c.queue) > 0 {
			out, next = c.events, c.queue[0]
		}
		select {
		case f := <-c.commands:
			f()
		case s := <-c.signals:
			c.signal(s)
		case out <- next:
			c.queue = c.queue[1:]
		case <-until:
			return
		case <-c.stop.Done():
			return
		}
	}
}

func (c *Client) tell(e Event) { c.queue = append(c.queue, e) }
