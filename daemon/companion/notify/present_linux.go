// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"time"

	"github.com/godbus/dbus/v5"
)

var (
	errLost  = errors.New("the session bus is gone")
	errEnded = errors.New("the notification server has ended")
)

// All of this runs in the goroutine of run, which never waits for an answer of the
// server: one that is stopped never gives it.

// find looks for a server.
func (c *Client) find() {
	if c.conn == nil {
		return
	}
	if c.looking {
		c.again = true
		return
	}
	c.looking, c.again = true, false
	conn := c.conn
	go func() {
		s, err := c.look(c.stop, conn)
		c.do(func() {
			if c.conn != conn {
				return
			}
			c.looking = false
			switch {
			case c.again:
				c.find()
			case err != nil:
				c.log.Warn("notifications cannot be shown", "error", err)
				c.lost(err)
			default:
				c.adopt(s)
			}
		})
	}()
}

func (c *Client) adopt(s *serverAt) {
	c.log.Info("notifications are shown", "server", s.Name, "version", s.Version, "pid", s.PID, "buttons", s.Buttons)
	c.server = s
	c.owner.Store(&s.owner)
	for _, e := range c.shown {
		c.present(e)
	}
}

// lost forgets the server; what it showed is shown again when there is one.
func (c *Client) lost(err error) {
	c.server, c.early = nil, nil
	c.owner.Store(nil)
	for key, e := range c.shown {
		if e.closed {
			delete(c.shown, key)
			continue
		}
		// A fresh one: an answer that is still on its way is not for it.
		fresh := &entry{Notification: e.Notification, told: e.told}
		c.shown[key] = fresh
		c.unshown(fresh, err)
	}
}

// present asks the server to show an entry.
func (c *Client) present(e *entry) {
	switch {
	case c.server == nil:
		c.find() // it tells what comes of it
		return
	case e.asked:
		e.stale = true
		return
	}
	e.asked, e.stale = true, false
	e.asks++
	asks := e.asks
	n, s, conn := e.Notification, c.server, c.conn
	// Sent here, so that questions come to the server in order.
	call := conn.Object(s.owner, path).GoWithContext(c.stop, name+".Notify", 0, nil, arguments(n, &s.Server, e.id)...)
	go func() {
		var id uint32
		<-call.Done
		err := call.Store(&id)
		c.do(func() { c.presented(e, s, id, err) })
	}()
	time.AfterFunc(callTimeout, func() {
		c.do(func() {
			if e.asked && e.asks == asks && c.shown[n.Key] == e {
				c.unshown(e, errors.New("the notification server does not answer"))
			}
		})
	})
}

// arguments are those of Notify.
func arguments(n Notification, s *Server, replaces uint32) []any {
	text := n.Body
	actions := []string{}
	if s.Buttons {
		for _, a := range n.Actions {
			actions = append(actions, a.Key, clean(a.Label, false))
		}
	} else if n.Plain != "" {
		text += "\n" + n.Plain
	}
	urgency, timeout := byte(2), int32(0)
	if n.Passive {
		urgency, timeout = 1, -1
	}
	return []any{
		"Paddock", replaces, "dialog-question", summary(n.Summary), body(text, s.Markup), actions,
		map[string]dbus.Variant{"urgency": dbus.MakeVariant(urgency), "desktop-entry": dbus.MakeVariant("paddock")},
		timeout,
	}
}

// presented takes the server's answer to present.
func (c *Client) presented(e *entry, s *serverAt, id uint32, err error) {
	if c.server != s {
		return // it is gone, and everything was begun anew
	}
	e.asked = false
	if err == nil {
		e.id = id
	}
	switch {
	case e.closed:
		c.remove(e)
	case err != nil:
		c.unshown(e, err)
	case e.stale:
		c.present(e)
	default:
		e.since, e.told = time.Now(), false
		c.tell(Event{Kind: Shown, Key: e.Key, Buttons: s.Buttons})
		if e.Passive {
			delete(c.shown, e.Key) // the server's own from here on
		}
	}
	early := c.early
	c.early = nil
	for _, s := range early {
		c.signal(s)
	}
}

// maxEarly bounds the signals that are kept until it is known what they are about.
const maxEarly = 64

func (c *Client) asking() bool {
	for _, e := range c.shown {
		if e.asked {
			return true
		}
	}
	return false
}

// unshown tells, once, that an entry cannot be shown.
func (c *Client) unshown(e *entry, err error) {
	if !e.told {
		e.told = true
		c.tell(Event{Kind: Unshown, Key: e.Key, Err: err})
	}
}

// lingering is a server (3.20, of GNOME's old desktops) that takes a closed notification
// off its books and leaves its window on the screen, unless it was about to go by
// itself.
const lingering = "Notification Daemon"

// remove takes an entry off the screen, now or when the server has answered.
func (c *Client) remove(e *entry) {
	e.closed = true
	if e.asked && c.server != nil {
		return
	}
	if c.shown[e.Key] == e {
		delete(c.shown, e.Key)
	}
	if e.id == 0 || c.server == nil {
		return
	}
	if !e.invoked && c.server.Name == lingering {
		over := Notification{Key: e.Key, Summary: e.Summary, Body: "This is over.", Passive: true}
		args := arguments(over, &c.server.Server, e.id)
		args[len(args)-1] = int32(1) // milliseconds
		c.conn.Object(c.server.owner, path).GoWithContext(context.WithoutCancel(c.stop), name+".Notify", dbus.FlagNoReplyExpected, nil, args...)
	}
	// Without a reply to wait for: what a stopped server makes of it does not matter.
	call := c.conn.Object(c.server.owner, path).CallWithContext(context.WithoutCancel(c.stop), name+".CloseNotification", dbus.FlagNoReplyExpected, e.id)
	if call.Err != nil {
		c.log.Debug("closing a notification", "error", call.Err)
	}
}

// signal takes one from the bus or the server.
func (c *Client) signal(s *dbus.Signal) {
	if s.Sender == busName {
		c.ownerChanged(s)
		return
	}
	// Checked here too: the server may have changed since the signal came.
	if c.server == nil || s.Sender != c.server.owner || len(s.Body) != 2 {
		return
	}
	id, ok := s.Body[0].(uint32)
	if !ok || id == 0 {
		return
	}
	var e *entry
	for _, candidate := range c.shown {
		if candidate.id == id {
			e = candidate
		}
	}
	if e == nil && c.asking() && len(c.early) < maxEarly {
		c.early = append(c.early, s) // it may be about what the server is just showing
		return
	}
	if e == nil || e.closed {
		return
	}
	switch s.Name {
	case name + ".ActionInvoked":
		key, ok := s.Body[1].(string)
		if !ok || !e.offers(key) || e.since.IsZero() {
			return
		}
		since := time.Since(e.since)
		// Some servers leave it on the screen, some do not: it is off either way.
		e.invoked = true
		c.remove(e)
		c.tell(Event{Kind: Invoked, Key: e.Key, Action: key, Since: since})
	case name + ".NotificationClosed":
		if e.asked {
			e.id = 0 // what replaces it is a new one
			return
		}
		delete(c.shown, e.Key)
		c.tell(Event{Kind: Gone, Key: e.Key})
	}
}

func (e *entry) offers(key string) bool {
	for _, a := range e.Actions {
		if a.Key == key {
			return true
		}
	}
	return false
}

func (c *Client) ownerChanged(s *dbus.Signal) {
	if len(s.Body) != 3 || s.Body[0] != name {
		return
	}
	owner, ok := s.Body[2].(string)
	if !ok || c.server != nil && owner == c.server.owner {
		return
	}
	if c.server != nil {
		c.lost(errEnded)
	}
	if owner != "" {
		c.find()
	} else if c.looking {
		c.again = true
	}
}
