// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Connections at one time. A user's limit is below the whole, and governed
// processes have a small one of their own: no agent can use up what its user,
// and no user what root and the others, need.
const (
	maxConns         = 512
	maxConnsUser     = 32
	maxConnsGoverned = 32  // a hook that waits for a person keeps one
	maxConnsRoot     = 128 // not counted in maxConns
)

// peerConn is a connection and who made it.
type peerConn struct {
	net.Conn
	peer     Peer
	governed bool // when it connected; see Server.governed
	free     func()
	once     sync.Once
}

// Close closes the connection and gives its place free.
func (c *peerConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.peer.close()
		c.free()
	})
	return err
}

// peerListener identifies who connects, and turns away who has too many
// connections.
type peerListener struct {
	*socket
	governed func(pid int) bool
	log      *slog.Logger

	lingering chan struct{}
	work      sync.WaitGroup

	mu     sync.Mutex
	places map[place]int
	total  int // of other users than root
}

// place is what connections are counted by.
type place struct {
	uid      uint32
	governed bool
}

func (p place) limit() int {
	switch {
	case p.governed:
		return maxConnsGoverned
	case p.uid == 0:
		return maxConnsRoot
	}
	return maxConnsUser
}

// Accept returns the next connection that may stay. It never waits for a peer.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		peer, err := peerOf(conn)
		if err != nil {
			l.log.Debug("a connection was dropped", "error", err)
			l.refuse(conn, 403, err.Error())
			continue
		}
		p := place{peer.UID, peer.PID > 0 && l.governed(peer.PID)}
		if !l.take(p) {
			peer.close()
			l.refuse(conn, 503, fmt.Sprintf("too many connections of user %d: close some", p.uid))
			continue
		}
		return &peerConn{Conn: conn, peer: peer, governed: p.governed, free: func() { l.free(p) }}, nil
	}
}

func (l *peerListener) take(p place) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.places[p] >= p.limit() || p.uid != 0 && l.total >= maxConns {
		return false
	}
	l.places[p]++
	if p.uid != 0 {
		l.total++
	}
	return true
}

func (l *peerListener) free(p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.places[p]--; l.places[p] == 0 {
		delete(l.places, p)
	}
	if p.uid != 0 {
		l.total--
	}
}

// How long, and for how many at a time, a connection that is turned away is
// kept until its request has come. Closed before, the client would see a broken
// connection instead of the reason; and Go's HTTP client takes an answer that
// comes before the request for a fault of the server.
const (
	lingerTime = 500 * time.Millisecond
	maxLinger  = 32
)

// refuse answers and closes. It never waits: that happens aside, and for those
// there is no room for, not at all.
func (l *peerListener) refuse(conn *net.UnixConn, code int, why string) {
	body := errorBody(why)
	answer := fmt.Sprintf("HTTP/1.1 %d Refused\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", code, len(body), body)
	if err := conn.SetDeadline(time.Now().Add(lingerTime)); err != nil {
		_ = conn.Close()
		return
	}
	select {
	case l.lingering <- struct{}{}:
	default:
		_, _ = io.WriteString(conn, answer) // an empty socket buffer takes it at once
		_ = conn.Close()
		return
	}
	l.work.Go(func() {
		defer func() {
			_ = conn.Close()
			<-l.lingering
		}()
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		_ = conn.SetDeadline(time.Now().Add(lingerTime))
		_, _ = io.WriteString(conn, answer)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
}
