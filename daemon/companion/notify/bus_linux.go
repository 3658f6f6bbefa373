// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	name    = "org.freedesktop.Notifications"
	path    = dbus.ObjectPath("/org/freedesktop/Notifications")
	busName = "org.freedesktop.DBus"
)

// connect joins the bus. Signals go to handler.
func (c *Client) connect(ctx context.Context) (*dbus.Conn, error) {
	socket, err := socketOf(c.options.Address)
	if err != nil {
		return nil, err
	}
	raw, err := (&net.Dialer{Timeout: callTimeout}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("connecting to the session bus: %w", err)
	}
	unixConn := raw.(*net.UnixConn)
	if err := c.options.Trusted(listener(unixConn)); err != nil {
		raw.Close()
		return nil, fmt.Errorf("the session bus at %s is not believed: %w", socket, err)
	}
	conn, err := dbus.DialUnix(unixConn, dbus.WithSignalHandler(c))
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("connecting to the session bus: %w", err)
	}
	// A bus that is stopped must not stop us: godbus waits for ever here.
	err = raw.SetDeadline(time.Now().Add(callTimeout))
	if err == nil {
		err = conn.Auth(nil)
	}
	if err == nil {
		err = conn.Hello()
	}
	if err == nil {
		err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(busName),
			dbus.WithMatchMember("NameOwnerChanged"), dbus.WithMatchArg(0, name))
	}
	if err == nil {
		err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(name), dbus.WithMatchInterface(name))
	}
	if err == nil {
		err = raw.SetDeadline(time.Time{})
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("joining the session bus at %s: %w", socket, err)
	}
	return conn, nil
}

// socketOf returns the path of the bus's socket; "@" begins an abstract one.
func socketOf(address string) (string, error) {
	first, _, _ := strings.Cut(address, ";")
	rest, ok := strings.CutPrefix(first, "unix:")
	if !ok {
		return "", fmt.Errorf("the session bus address %q is not one of a unix socket (unix:path=...)", address)
	}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		unescaped, err := dbus.UnescapeBusAddressValue(value)
		if err != nil {
			return "", fmt.Errorf("the session bus address %q: %w", address, err)
		}
		switch key {
		case "path":
			return unescaped, nil
		case "abstract":
			return "@" + unescaped, nil
		}
	}
	return "", fmt.Errorf("the session bus address %q names no socket", address)
}

// serverAt is a server that was looked at, and the unique name it is talked to by.
type serverAt struct {
	Server
	owner string
}

// look finds who shows notifications, and whether to believe it. Everything is asked
// of its unique name: the well-known one may change hands between two questions.
func (c *Client) look(ctx context.Context, conn *dbus.Conn) (*serverAt, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	bus := conn.BusObject()
	// Where there is none but one is installed, this starts it.
	start := bus.CallWithContext(ctx, busName+".StartServiceByName", 0, name, uint32(0))
	s := &serverAt{}
	if err := bus.CallWithContext(ctx, busName+".GetNameOwner", 0, name).Store(&s.owner); err != nil {
		if start.Err != nil {
			err = start.Err
		}
		return nil, fmt.Errorf("there is no notification server: %w", err)
	}
	var pid uint32
	if err := bus.CallWithContext(ctx, busName+".GetConnectionUnixProcessID", 0, s.owner).Store(&pid); err != nil {
		return nil, fmt.Errorf("asking which process is the notification server: %w", err)
	}
	if pid == 0 {
		return nil, errors.New("the notification server's process is not visible (another pid namespace)")
	}
	s.PID = int(pid)
	if err := c.options.Trusted(s.PID); err != nil {
		return nil, fmt.Errorf("the notification server (process %d) is not believed: %w", pid, err)
	}
	server := conn.Object(s.owner, path)
	var spec string
	if err := server.CallWithContext(ctx, name+".GetServerInformation", 0).Store(&s.Name, &s.Vendor, &s.Version, &spec); err != nil {
		return nil, fmt.Errorf("asking the notification server (process %d) who it is: %w", pid, err)
	}
	var capabilities []string
	if err := server.CallWithContext(ctx, name+".GetCapabilities", 0).Store(&capabilities); err != nil {
		return nil, fmt.Errorf("asking the notification server %s what it can do: %w", s.Name, err)
	}
	for _, can := range capabilities {
		s.Buttons = s.Buttons || can == "actions"
		s.Markup = s.Markup || can == "body-markup"
	}
	return s, nil
}

// DeliverSignal takes a signal from the bus; it is called by godbus. The bus writes
// the sender's unique name into each message, so it cannot be forged; but any client
// may send any signal straight to us, whatever we asked to get.
func (c *Client) DeliverSignal(_, _ string, s *dbus.Signal) {
	switch owner := c.owner.Load(); {
	case s.Sender == busName && s.Name == busName+".NameOwnerChanged":
		select {
		case c.signals <- s:
		case <-c.stop.Done():
		}
	case owner != nil && s.Sender == *owner:
		select {
		case c.signals <- s:
		default: // a server that says more than can be read
		}
	}
}
