// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseTCP(t *testing.T) {
	const (
		four   = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0000000000000000 20 4 30 10 -1\n"
		six    = "   0: 00000000000000000000000001000000:0016 B80D0120000000000000000001000000:D431 01 00000000:00000000 02:000A0000 00000000     0        0 77 2 0\n"
		mapped = "   0: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000100007F:D431 01 00000000:00000000 02:000A0000 00000000     0        0 78 2 0\n"
		listen = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4243 1 0\n"
	)
	for line, want := range map[string]tcpConnection{
		four:   {netip.MustParseAddrPort("127.0.0.1:8080"), netip.MustParseAddrPort("127.0.0.1:50000"), 4242},
		six:    {netip.MustParseAddrPort("[::1]:22"), netip.MustParseAddrPort("[2001:db8::1]:54321"), 77},
		mapped: {netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("127.0.0.1:54321"), 78},
	} {
		if got, ok := parseTCP(line); !ok || got != want {
			t.Errorf("%q: %v, %v; want %v", line, got, ok, want)
		}
	}
	for _, line := range []string{listen, "", "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"} {
		if got, ok := parseTCP(line); ok {
			t.Errorf("%q is a connection: %v", line, got)
		}
	}
}

func FuzzParseTCP(f *testing.F) {
	f.Add("   1: 0100007F:1F90 0100007F:C350 01 0:0 0:0 0 1000 0 4242 1")
	f.Fuzz(func(t *testing.T, line string) {
		if c, ok := parseTCP(line); ok && (!c.local.IsValid() || !c.remote.IsValid()) {
			t.Errorf("%q: %v", line, c)
		}
	})
}

// A process chooses its name, and must not choose its terminal by that.
func TestNameDoesNotChangeTheTerminal(t *testing.T) {
	before, err := statOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	comm := filepath.Join("/proc/self/comm")
	was, err := os.ReadFile(comm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile(comm, was, 0) })
	for _, name := range []string{") S 1 2 3 4 5 6", ")) 1", "a b c d e f g"} {
		if err := os.WriteFile(comm, []byte(name), 0); err != nil {
			t.Fatal(err)
		}
		if now, err := statOf(os.Getpid()); err != nil || now.parent != before.parent || now.terminal != before.terminal || now.group != unix.Getpgrp() {
			t.Errorf("called %q: %+v, %v", name, now, err)
		}
	}
}
