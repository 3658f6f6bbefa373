// SPDX-License-Identifier: Apache-2.0

package egress

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Where no more files may be open, a connection that exists goes on.
func TestPumpWithoutAPipe(t *testing.T) {
	client, from := connected(t)
	to, server := connected(t)
	said := bytes.Repeat([]byte("what is longer than one buffer. "), 10_000)
	done := make(chan error, 1)
	pumped := make(chan error, 1)
	var count atomic.Int64
	noMoreFiles(t)
	pipes := newPipes()
	go func() {
		pumped <- pipes.pump(to, from, -1, &count)
		_ = to.CloseWrite()
	}()
	go func() {
		_, err := client.Write(said)
		_ = client.CloseWrite()
		done <- err
	}()
	heard, err := io.ReadAll(server)
	if err != nil || !bytes.Equal(heard, said) || count.Load() != int64(len(said)) {
		t.Errorf("%d of %d bytes arrived, %d counted: %v", len(heard), len(said), count.Load(), err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-pumped; err != nil {
		t.Error(err)
	}
	if len(pipes.large)+len(pipes.small) != 0 {
		t.Error("there was a pipe: nothing was tried")
	}
}

// noMoreFiles keeps this process from opening any, until the test ends.
func noMoreFiles(t *testing.T) {
	t.Helper()
	var had unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
		t.Fatal(err)
	}
	none := had
	none.Cur = 3
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &had); err != nil {
			t.Error(err)
		}
	})
}

// connected returns the two ends of a connection.
func connected(t *testing.T) (dialled, accepted *sock) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if dialled, err = newSock(c.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	if accepted, err = newSock(a.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}
