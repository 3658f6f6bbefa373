// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

const (
	stuck = 100 // connections on which one side does not read
	wide  = 16  // how many of them may have as much as the kernel gives
	// narrow is what a buffer of the others may have, in bytes: twice 64 KiB.
	narrow = 128 << 10
)

// What clients do not read is the machine's memory for connections, of which everybody lives.
func TestClientsThatDoNotReadKeepLittle(t *testing.T) {
	for _, tt := range []struct {
		name string
		up   bool // it is the server that does not read
		url  bool
	}{{name: "what comes down"}, {name: "what goes up", up: true}, {name: "what comes down by URL", url: true}} {
		t.Run(tt.name, func(t *testing.T) {
			r := rig.New(t, rig.Options{})
			r.Names.Bind("allowed.test", loopback)
			r.Names.Know("allowed.test", loopback)
			var work sync.WaitGroup
			work.Add(stuck)
			over := make(chan struct{})
			dest := rig.TCP(t, func(c *net.TCPConn) {
				if _, err := io.ReadFull(c, make([]byte, len(raw))); err != nil {
					return
				}
				if tt.url {
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
				}
				if !tt.up {
					fillUp(t, c)
					work.Done()
				}
				<-over
			})
			at, first := r.Redirect(t, dest), raw
			if tt.url {
				at, first = r.Proxy(t, egress.Credentials{}), fmt.Sprintf("GET http://allowed.test:%d/ HTTP/1.1\r\nHost: allowed.test:%[1]d\r\n\r\n", dest.Port())
			}
			for range stuck {
				c := dial(t, at)
				fmt.Fprint(c, first)
				if tt.up {
					go func() {
						fillUp(t, c)
						work.Done()
					}()
				}
			}
			work.Wait()
			defer close(over)
			large, small := 0, 0
			for _, n := range keeps(t, netip.MustParseAddrPort(at), dest) {
				if n > 2*narrow {
					large++
				} else {
					small += n
				}
			}
			t.Logf("%d buffers keep a lot, and the others %d KiB", large, small>>10)
			if large > 3*wide { // two sockets and a pipe
				t.Errorf("%d buffers of %d connections keep more than %d KiB, at most %d are to be", large, stuck, 2*narrow>>10, 3*wide)
			}
			if least := (stuck - wide) * narrow / 2; small < least {
				t.Errorf("the others keep only %d KiB: they are not stuck", small>>10)
			}
		})
	}
}

// A connection that had to be content with little has more once there is.
func TestAConnectionIsWideAgain(t *testing.T) {
	r := rig.New(t, rig.Options{})
	r.Names.Bind("allowed.test", loopback)
	var full sync.WaitGroup
	full.Add(stuck)
	dest := rig.TCP(t, func(c *net.TCPConn) {
		if _, err := io.ReadFull(c, make([]byte, len(raw))); err != nil {
			return
		}
		fillUp(t, c)
		full.Done()
		_ = c.SetWriteDeadline(time.Time{})
		_, _ = io.Copy(c, endless{})
	})
	at := r.Redirect(t, dest)
	var conns []*net.TCPConn
	for range stuck {
		c := dial(t, at)
		fmt.Fprint(c, raw)
		conns = append(conns, c)
	}
	full.Wait()
	last := conns[stuck-1]
	for _, c := range conns[:stuck-1] {
		_ = c.Close()
	}
	r.Events.Wait(t, stuck-1)
	widest := func() (size int) {
		sockets(t, netip.MustParseAddrPort(at), dest, func(fd int) {
			if n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
				size = max(size, n)
			}
		})
		return size
	}
	if n := widest(); n > 256<<10 {
		t.Fatalf("the last connection has a buffer of %d KiB: it never was narrow", n>>10)
	}
	_ = last.SetDeadline(time.Now().Add(deadline))
	buf := make([]byte, 1<<20)
	grows := true
	sockets(t, netip.MustParseAddrPort(at), dest, func(fd int) {
		_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
		grows = grows && err == nil
	})
	for read := 0; grows && widest() <= 512<<10 || read < 32; read++ { // before Linux 5.15 it only goes on
		if _, err := io.ReadFull(last, buf); err != nil {
			t.Fatalf("its buffer does not grow: %v", err)
		}
	}
}

type endless struct{}

// Read gives nothing that means anything.
func (endless) Read(b []byte) (int, error) { return len(b), nil }

// fillUp writes until nobody takes any more.
func fillUp(t *testing.T, c *net.TCPConn) {
	block := make([]byte, 256<<10)
	for sent := 0; sent < 1<<30; {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := c.Write(block)
		sent += n
		if isTimeout(err) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
	}
	t.Error("somebody reads")
}

// keeps says how many bytes are in each socket of a proxy that listens at one address and
// connects to another, and in each pipe of this process.
func keeps(t *testing.T, listens, connects netip.AddrPort) (all []int) {
	t.Helper()
	pipes := map[string]int{} // each has two ends
	sockets(t, listens, connects, func(fd int) {
		in, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
		out, failed := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		if err := errors.Join(err, failed); err != nil {
			t.Fatal(err)
		}
		all = append(all, in+out)
	})
	files(t, func(fd int, target string) {
		if strings.HasPrefix(target, "pipe:") {
			n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
			if err != nil {
				t.Fatal(err)
			}
			pipes[target] = n
		}
	})
	return slices.AppendSeq(all, maps.Values(pipes))
}

// sockets calls with each of the proxy's.
func sockets(t *testing.T, listens, connects netip.AddrPort, with func(fd int)) {
	t.Helper()
	files(t, func(fd int, target string) {
		if !strings.HasPrefix(target, "socket:") {
			return
		}
		local, _ := unix.Getsockname(fd)
		remote, err := unix.Getpeername(fd)
		if err == nil && (portOf(local) == listens.Port() || portOf(remote) == connects.Port()) {
			with(fd)
		}
	})
}

func portOf(a unix.Sockaddr) uint16 {
	if in, ok := a.(*unix.SockaddrInet4); ok {
		return uint16(in.Port)
	}
	return 0
}

func files(t *testing.T, with func(fd int, target string)) {
	t.Helper()
	const own = "/proc/self/fd/"
	entries, err := os.ReadDir(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if target, err := os.Readlink(own + e.Name()); err == nil {
			with(fd, target)
		}
	}
}
