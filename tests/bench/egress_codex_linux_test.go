// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/tests/codex"
)

// codexAllows lets Codex's own proxy reach the servers here.
const codexAllows = `[experimental_network]
enabled = true
allow_local_binding = true
[experimental_network.domains]
"127.0.0.1" = "allow"
`

// codexProxy is the real Codex's network proxy, as its commands reach it: this program,
// run by a tool call, connects through what Codex set HTTPS_PROXY to, which in its sandbox is a
// bridge to the proxy outside.
func codexProxy(t *testing.T, dest netip.AddrPort) *contender {
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	program := filepath.Join(dir, "client")
	must(t, os.WriteFile(program, self, 0o755))
	run := func(o proxied) error {
		o.Dest, o.Dir = dest.Port(), dir
		order, err := json.Marshal(o)
		if err != nil {
			return err
		}
		r, err := codex.Run(t.Context(), codex.Options{
			Dir: dir, Native: true, Requirements: codexAllows, Args: []string{"-c", "sandbox_workspace_write.network_access=true"},
			Commands: []string{fmt.Sprintf("%s %s '%s'", program, roleProxied, order)},
		})
		if err == nil && (r.ExitCode != 0 || r.Calls[0].ExitCode != 0) {
			err = fmt.Errorf("codex exec ended with %d: %s\n%+v", r.ExitCode, r.Output, r.Calls)
		}
		return err
	}
	return &contender{
		path: path{name: "Codex's own, CONNECT"},
		measure: func(l load) (figures, error) {
			var f figures
			if err := run(proxied{Transfer: l.transfer, Connects: l.connects}); err != nil {
				return f, err
			}
			b, err := os.ReadFile(filepath.Join(dir, "figures"))
			if err != nil {
				return f, err
			}
			return f, json.Unmarshal(b, &f)
		},
		idle: func(l load) (int64, error) {
			n := min(l.idle, 100) // with 250 it breaks tunnels off
			for _, name := range []string{"told", "tell"} {
				if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
					return 0, err
				}
			}
			told, err := os.OpenFile(filepath.Join(dir, "told"), os.O_RDWR, 0)
			if err != nil {
				return 0, err
			}
			defer told.Close()
			tell, err := os.OpenFile(filepath.Join(dir, "tell"), os.O_RDWR, 0)
			if err != nil {
				return 0, err
			}
			defer tell.Close()
			ended := make(chan error, 1)
			go func() {
				ended <- run(proxied{Idle: n})
				fmt.Fprintln(told, "ended")
			}()
			var at [2]int64
			lines := bufio.NewReader(told)
			for i := range at {
				line, err := lines.ReadString('\n')
				if err != nil || line == "ended\n" {
					return 0, errors.Join(err, <-ended)
				}
				if at[i], err = ofCodex(); err != nil {
					return 0, err
				}
				fmt.Fprintln(tell)
			}
			return (at[1] - at[0]) / int64(n), <-ended
		},
	}
}

// ofCodex is the memory of all of Codex's processes, in bytes.
func ofCodex() (int64, error) {
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	var sum int64
	for _, exe := range exes {
		if to, err := os.Readlink(exe); err != nil || filepath.Base(to) != "codex" {
			continue
		}
		var pid int
		_, _ = fmt.Sscanf(exe, "/proc/%d/", &pid)
		n, err := resident(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, err
}

// proxied is what the program does in a tool call.
type proxied struct {
	Dest     uint16
	Dir      string
	Transfer int64
	Connects int
	Idle     int
}

func measureProxied(order string) int {
	var o proxied
	err := json.Unmarshal([]byte(order), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (o proxied) run() error {
	proxy, err := url.Parse(os.Getenv("HTTPS_PROXY"))
	if err != nil || proxy.Host == "" {
		return fmt.Errorf("HTTPS_PROXY is %q: %w", os.Getenv("HTTPS_PROXY"), err)
	}
	p := path{"proxied", through(proxy.Host, "127.0.0.1", o.Dest)}
	if o.Idle > 0 {
		return o.wait(p)
	}
	f, err := p.measure(load{transfer: o.Transfer, connects: o.Connects}, 0)
	if err != nil {
		return err
	}
	b, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, "figures"), b, 0o600)
}

// wait says when it is ready to be looked at without connections, and with them.
func (o proxied) wait(p path) error {
	told, err := os.OpenFile(filepath.Join(o.Dir, "told"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer told.Close()
	tell, err := os.Open(filepath.Join(o.Dir, "tell"))
	if err != nil {
		return err
	}
	defer tell.Close()
	next := bufio.NewReader(io.LimitReader(tell, 2))
	say := func() error {
		fmt.Fprintln(told)
		_, err := next.ReadString('\n')
		return err
	}
	if err := say(); err != nil {
		return err
	}
	leave, err := p.idle(o.Idle)
	if err != nil {
		return err
	}
	defer leave()
	return say()
}
