// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The proxies of Debian to compare with. tests/setup/bench.sh installs them; one that is not there is left out.

func tinyproxy(t *testing.T, dest netip.AddrPort) *contender {
	return other(t, "tinyproxy, CONNECT", "tinyproxy", "Port %d\nListen 127.0.0.1\nTimeout 600\nMaxClients 20000\nAllow 127.0.0.1\nLogLevel Critical\n",
		[]string{"-d", "-c"}, func(proxy string) func() (net.Conn, error) { return through(proxy, "127.0.0.1", dest.Port()) })
}

func squid(t *testing.T, dest netip.AddrPort) *contender {
	return other(t, "squid, CONNECT", "squid", "http_port 127.0.0.1:%d\nhttp_access allow all\ncache deny all\ncache_mem 8 MB\naccess_log none\ncache_log /dev/null\ncache_store_log none\n"+
		"pid_filename none\npinger_enable off\nnetdb_filename none\nvisible_hostname bench\nshutdown_lifetime 0 seconds\ncoredump_dir /tmp\n",
		[]string{"-N", "-f"}, func(proxy string) func() (net.Conn, error) { return through(proxy, "127.0.0.1", dest.Port()) })
}

// haproxy only passes on, with splice: it is no proxy for clients, judges nothing, and shows
// what is possible.
func haproxy(t *testing.T, dest netip.AddrPort) *contender {
	return other(t, "haproxy, TCP with splice, judges nothing", "haproxy", "global\n maxconn 6000\ndefaults\n mode tcp\n option splice-request\n option splice-response\n"+
		" timeout connect 10s\n timeout client 600s\n timeout server 600s\nlisten all\n bind 127.0.0.1:%d\n server one "+dest.String()+"\n",
		[]string{"-db", "-q", "-f"}, func(proxy string) func() (net.Conn, error) {
			return func() (net.Conn, error) { return net.Dial("tcp", proxy) }
		})
}

// other starts a proxy with a configuration that has a place for its port; nil: it is not installed.
func other(t *testing.T, name, binary, config string, args []string, open func(proxy string) func() (net.Conn, error)) *contender {
	program, err := exec.LookPath(binary)
	if err != nil {
		t.Logf("%s is not installed: nothing to compare with (make bench installs it)", binary)
		return nil
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := free.Addr().(*net.TCPAddr)
	_ = free.Close()
	file := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(file, fmt.Appendf(nil, config, addr.Port), 0o644))
	cmd := exec.Command(program, append(args, file)...)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return &contender{path: path{name, open(addr.String())}, pid: cmd.Process.Pid}
}

// raiseFiles lets this process, and those it starts, have as many files as there may be.
func raiseFiles(t *testing.T) {
	var l unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	l.Cur = l.Max
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
}
