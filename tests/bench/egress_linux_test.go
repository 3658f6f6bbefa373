// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// load is how much of each is measured.
type load struct {
	rounds   int
	transfer int64 // bytes of one
	connects int   // of one round and path, one after the other
	idle     int   // connections at the same time
}

func chosenLoad() load {
	if thorough() {
		return load{rounds: 9, transfer: 1 << 30, connects: 1000, idle: 5000}
	}
	return load{rounds: 1, transfer: 8 << 20, connects: 20, idle: 100}
}

// path is a way to the server.
type path struct {
	name string
	open func() (net.Conn, error)
}

// sink answers "GET n": that many bytes; to anything else, one byte for one.
func sink(t *testing.T) netip.AddrPort {
	block := make([]byte, 256<<10)
	return rig.TCP(t, func(c *net.TCPConn) {
		in := bufio.NewReaderSize(c, 64)
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if size, ok := strings.CutPrefix(line, "\x00GET "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(size), 10, 64)
			for n > 0 {
				m, err := c.Write(block[:min(n, int64(len(block)))])
				if err != nil {
					return
				}
				n -= int64(m)
			}
			return
		}
		_, _ = c.Write([]byte("."))
		_, _ = io.Copy(struct{ io.Writer }{c}, in) // splice would take a pipe for each
	})
}

func testEgress(t *testing.T) {
	raiseFiles(t)
	dest := sink(t)
	engine := rig.StartProcess(t, dest)
	paths := []path{
		{"direct", func() (net.Conn, error) { return net.Dial("tcp", dest.String()) }},
		{"Paddock, redirected", func() (net.Conn, error) { return net.Dial("tcp", engine.Redirect) }},
		{"Paddock, CONNECT", func() (net.Conn, error) { return throughProxy(engine.Proxy, "allowed.test", dest.Port()) }},
	}
	if other, pid := tinyproxy(t); other != "" {
		paths = append(paths, path{"tinyproxy, CONNECT", func() (net.Conn, error) { return throughProxy(other, "127.0.0.1", dest.Port()) }})
		defer func() {
			t.Logf("tinyproxy: %s per idle connection", idleMemory(t, pid, paths[3], chosenLoad().idle, func() {}))
		}()
	}
	compare(t, paths)
	per := idleMemory(t, engine.PID, paths[1], chosenLoad().idle, func() { engine.Open(t) })
	t.Logf("Paddock, redirected: %s per idle connection", per)
	if thorough() && per > 16<<10 {
		t.Errorf("an idle connection takes %s, more than 16 KiB", per)
	}
}

// compare measures every path in each round, in turns.
func compare(t *testing.T, paths []path) {
	l := chosenLoad()
	rate, latency, many := make([][]float64, len(paths)), make([][]float64, len(paths)), make([][]float64, len(paths))
	for round := range l.rounds {
		for i := range paths {
			i = (i + round) % len(paths)
			rate[i] = append(rate[i], throughput(t, paths[i], l.transfer))
			p50, perSecond := newConnections(t, paths[i], l.connects)
			latency[i], many[i] = append(latency[i], p50), append(many[i], perSecond)
		}
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\t%d MiB, GB/s\tof direct\tnew connection p50, us\tmore than direct, us\tconnections/s, 8 at a time\n", l.transfer>>20)
	for i, p := range paths {
		fmt.Fprintf(w, "%s\t%.2f\t%.2fx\t%.0f\t%+.0f\t%.0f\n", p.name, median(rate[i])/1e9, median(rate[i])/median(rate[0]), median(latency[i]), median(latency[i])-median(latency[0]), median(many[i]))
	}
	must(t, w.Flush())
	t.Log("\n" + b.String())
}

func throughput(t *testing.T, p path, size int64) float64 {
	c, err := p.open()
	must(t, err)
	defer c.Close()
	began := time.Now()
	fmt.Fprintf(c, "\x00GET %d\n", size)
	n, err := io.Copy(io.Discard, onlyReader{c})
	if err != nil || n != size {
		t.Fatalf("%s: %d of %d bytes, %v", p.name, n, size, err)
	}
	return float64(n) / time.Since(began).Seconds()
}

type onlyReader struct{ io.Reader }

// newConnections opens connections on which a byte goes there and one comes back.
func newConnections(t *testing.T, p path, n int) (p50, perSecond float64) {
	one := func() error {
		c, err := p.open()
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.(*net.TCPConn).SetLinger(0) // else ports run out
		if _, err := c.Write([]byte("\x00\n")); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	}
	each := make([]int64, n)
	for i := range each {
		began := time.Now()
		must(t, one())
		each[i] = int64(time.Since(began))
	}
	var work sync.WaitGroup
	began := time.Now()
	failed := make(chan error, 8)
	for range 8 {
		work.Go(func() {
			for range n / 8 {
				if err := one(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		t.Fatalf("%s: %v", p.name, err)
	default:
	}
	return float64(quantile(each, 0.5)) / 1e3, float64(n/8*8) / took.Seconds()
}

// bytesOf is an amount of memory.
type bytesOf int64

// String returns it in KiB.
func (b bytesOf) String() string { return fmt.Sprintf("%.1f KiB", float64(b)/1024) }

// idleMemory returns how much a process grows by a connection on which something
// went and nothing goes now.
func idleMemory(t *testing.T, pid int, p path, n int, settle func()) bytesOf {
	settle()
	before := resident(t, pid)
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := p.open()
		must(t, err)
		conns[i] = c
		fmt.Fprint(c, "\x00\n")
		_, err = io.ReadFull(c, make([]byte, 1))
		must(t, err)
	}
	settle()
	after := resident(t, pid)
	for _, c := range conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	return bytesOf((after - before) / int64(n))
}

func resident(t *testing.T, pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	must(t, err)
	return pages * int64(os.Getpagesize())
}

func throughProxy(proxy, host string, port uint16) (net.Conn, error) {
	c, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n", host, port, host, port)
	answer, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the body of a tunnel is the connection
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New(answer.Status)
	}
	if err != nil {
		_ = c.Close()
	}
	return c, err
}

// tinyproxy starts Debian's, and returns where it listens; "": it is not there.
func tinyproxy(t *testing.T) (string, int) {
	binary, err := exec.LookPath("tinyproxy")
	if err != nil {
		t.Log("tinyproxy is not installed: nothing to compare with")
		return "", 0
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := free.Addr().String()
	_ = free.Close()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	config := filepath.Join(t.TempDir(), "tinyproxy.conf")
	must(t, os.WriteFile(config, []byte("Port "+port+"\nListen 127.0.0.1\nTimeout 600\nMaxClients 20000\nAllow 127.0.0.1\nLogLevel Critical\nLogFile \"/dev/null\"\n"), 0o600))
	cmd := exec.Command(binary, "-d", "-c", config)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return addr, cmd.Process.Pid
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// raiseFiles lets this process, and those it starts, have as many files as there may be.
func raiseFiles(t *testing.T) {
	var l unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &l))
	l.Cur = l.Max
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &l))
}
