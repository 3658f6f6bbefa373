// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// rooms share out the memory that bytes on their way take. What TCP may have of it is one for the
// whole machine: once connections whose clients do not read have it all, nobody's get on, governed
// or not.
//
// A few connections of a session, those that move most lately, have as much as the kernel gives.
// What the others have is the less the more there are.
type rooms struct {
	began time.Time
	// perSession is how many wide connections a session has at most, all how many all sessions.
	perSession int
	all        int64
	// budget is what one session's narrow connections have in each of their four buffers, in
	// bytes, as long as none is down to narrowest.
	budget int64

	wide atomic.Int64
}

const (
	mostWide   = 16 // of one session, where there is memory
	someWide   = 4  // of one session, where there is none
	fewestWide = 2  // of one session, whatever the others have

	// unsized is how many bytes move before a connection has a width. The kernel has not
	// given it more for them yet than it gives an idle one.
	unsized = 16 << 10

	narrowest  = 4 << 10
	mostNarrow = 64 << 10

	// wideRest is how long nothing moves on a wide connection before another one may be it.
	wideRest = time.Second
	// askAgain is how often a narrow one tries to be wide.
	askAgain = 100 * time.Millisecond
)

// newRooms shares out a part of what TCP may have before the kernel begins to save; largest is
// how large the kernel makes one buffer. Both are in bytes.
func newRooms(tcp, largest int64) *rooms {
	all := max(someWide, tcp/4/(largest+pipeSize))
	return &rooms{began: time.Now(), all: all, perSession: int(min(mostWide, max(someWide, all/2))), budget: max(2<<20, min(64<<20, tcp/32))}
}

// share is what one session has of what all of them share.
type share struct {
	connections atomic.Int64  // admitted
	looks       chan struct{} // large buffers that it has; see scratch

	mu   sync.Mutex
	wide map[*lane]struct{}
}

func newShare() *share {
	return &share{looks: make(chan struct{}, looksPerSession), wide: map[*lane]struct{}{}}
}

// lane is how much room one connection has. A nil one has as much as the kernel gives.
type lane struct {
	rooms          *rooms
	share          *share
	client, server *sock

	width  atomic.Int32
	size   atomic.Int64 // of each buffer of a narrow one, in bytes
	moved  atomic.Int64 // bytes, in both directions
	last   atomic.Int64 // when bytes moved on a wide one, and asked when a narrow one tried: after rooms.began
	asked  atomic.Int64
	parked atomic.Int32 // directions in which bytes wait for whoever gets them

	// Of share.mu:
	kept bool // the kernel cannot let buffers grow again
	over bool
}

const (
	widthNone   int32 = iota // too little has moved for it to matter
	widthWide                // it is in share.wide
	widthNarrow              // its buffers have a size
)

// room says how many bytes may be taken from a socket next, and whether into a large pipe.
func (l *lane) room() (most int64, large bool) {
	if l == nil {
		return pipeSize, true
	}
	now := time.Since(l.rooms.began)
	width := l.width.Load()
	switch {
	case width == widthNone && l.moved.Load() < unsized:
		return unsized, false
	case width == widthNone, width == widthNarrow && now-time.Duration(l.asked.Load()) > askAgain:
		width = l.measure(now)
	}
	if width == widthNarrow {
		return l.size.Load(), false
	}
	l.last.Store(int64(now))
	return pipeSize, true
}

// took counts bytes that were taken from a socket and are to be given to the other one.
func (l *lane) took(n int64) {
	if l != nil {
		l.parked.Add(1)
		l.moved.Add(n)
	}
}

// gave says that they were, or never will be.
func (l *lane) gave() {
	if l != nil {
		l.parked.Add(-1)
	}
}

// measure makes a connection wide if there is one to be had, and narrow otherwise.
func (l *lane) measure(now time.Duration) int32 {
	s := l.share
	s.mu.Lock()
	defer s.mu.Unlock()
	width := l.width.Load()
	if width == widthWide || l.over {
		return width
	}
	l.asked.Store(int64(now))
	if !l.kept && l.claim(now) {
		if width == widthNarrow && !l.unbound() {
			l.kept = true
			l.bound(int(l.size.Load()))
			l.rooms.wide.Add(-1)
			return width
		}
		_ = l.client.SetReadBuffer(nearBuffer)
		s.wide[l] = struct{}{}
		l.last.Store(int64(now))
		l.width.Store(widthWide)
		return widthWide
	}
	size := max(narrowest, min(mostNarrow, l.rooms.budget/max(1, s.connections.Load())))
	if was := l.size.Load(); width != widthNarrow || size < was/2 || size > was*2 {
		l.bound(int(size))
		l.size.Store(size)
		l.width.Store(widthNarrow)
	}
	return widthNarrow
}

// claim looks for one wide connection that there may be more, or takes another's on which nothing
// moves and nothing waits.
func (l *lane) claim(now time.Duration) bool {
	s, r := l.share, l.rooms
	if len(s.wide) < r.perSession {
		if r.wide.Add(1) <= r.all || len(s.wide) < fewestWide {
			return true
		}
		r.wide.Add(-1)
	}
	for other := range s.wide {
		if other.parked.Load() == 0 && now-time.Duration(other.last.Load()) > wideRest && !other.client.owes() && !other.server.owes() {
			delete(s.wide, other)
			other.width.Store(widthNone) // it is measured anew when something moves
			return true
		}
	}
	return false
}

// bound gives all four buffers a size, of which the kernel makes twice as much; unbound takes that back.
func (l *lane) bound(size int) {
	for _, s := range []*sock{l.client, l.server} {
		_ = s.SetReadBuffer(size)
		_ = s.SetWriteBuffer(size)
	}
}

func (l *lane) unbound() bool {
	l.bound(mostNarrow)
	for _, s := range []*sock{l.client, l.server} {
		if !s.unlock() {
			return false
		}
	}
	return l.client.SetWriteBuffer(nearBuffer) == nil
}

// end gives back what the connection has.
func (l *lane) end() {
	s := l.share
	s.mu.Lock()
	defer s.mu.Unlock()
	l.over = true
	if _, wide := s.wide[l]; wide {
		delete(s.wide, l)
		l.rooms.wide.Add(-1)
	}
}

// inLane gives a connection to a server, which is read in this process, the room it is to have.
func (c *conn) inLane(to net.Conn) (net.Conn, error) {
	tcp, ok := to.(*net.TCPConn)
	if !ok {
		_ = to.Close()
		return nil, errors.New("the connection is not TCP")
	}
	server, err := newSock(tcp)
	if err != nil {
		_ = to.Close()
		return nil, err
	}
	return &laneConn{Conn: to, lane: &lane{rooms: c.lane.rooms, share: c.lane.share, client: c.client, server: server}}, nil
}

// laneConn takes what it reads for parked until it reads again.
type laneConn struct {
	net.Conn
	lane *lane
	has  bool
	once sync.Once
}

// Read reads no more than there is room for.
func (c *laneConn) Read(b []byte) (int, error) {
	if c.has {
		c.lane.gave()
		c.has = false
	}
	most, _ := c.lane.room()
	n, err := c.Conn.Read(b[:min(int64(len(b)), most)])
	if n > 0 {
		c.lane.took(int64(n))
		c.has = true
	}
	return n, err
}

// CloseWrite ends one direction, as the connection itself does.
func (c *laneConn) CloseWrite() error { return c.lane.server.CloseWrite() }

// Close gives the room back.
func (c *laneConn) Close() error {
	c.once.Do(c.lane.end)
	return c.Conn.Close()
}
