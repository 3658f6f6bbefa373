// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// actCling connects to the socket many times in one way, says so, and stays
// until its standard input ends.
func actCling(how string, args []string) error {
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	request := map[string]string{
		"silent":  "",
		"partial": "GET /v1/ev",
		"slow":    "POST /v1/run HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
		"stalled": "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
		"flood":   "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
	}
	text, known := request[how]
	if !known {
		return fmt.Errorf("unknown way %q", how)
	}
	connected := 0
	for range times {
		c, err := net.Dial("unix", args[0])
		if err != nil {
			continue // turned away
		}
		connected++
		_, _ = io.WriteString(c, text)
		if how == "flood" {
			go func() {
				for {
					_, _ = io.Copy(io.Discard, c)
					if c, err = net.Dial("unix", args[0]); err != nil {
						return
					}
					_, _ = io.WriteString(c, text)
				}
			}()
		}
	}
	fmt.Println("clings", connected)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// as is a process of another user.
func as(uid uint32, line ...string) *process {
	p := newProcess(line...)
	p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	return p
}

// cling lets a process cling to the socket for as long as the test lasts.
func (m *machine) cling(p *process) {
	m.t.Helper()
	p.cmd.Dir = m.dir
	_, err := p.cmd.StdinPipe()
	must(m.t, err)
	p.start(m.t)
	p.says(m.t, "clings")
}

func TestClientsThatCling(t *testing.T) {
	m := started(t, base)
	const nobody, somebody = 65534, 65533
	for _, how := range []string{"silent", "partial", "slow", "stalled", "flood"} {
		m.cling(as(nobody, shared.self, "act-cling", how, m.socket(), "100"))
	}
	m.cling(newProcess(m.agent, "-c", shared.self+" act-cling silent "+m.socket()+" 64; true"))
	m.cling(newProcess(shared.self, "act-cling", "silent", m.socket(), "60"))
	m.cling(newProcess(shared.self, "act-cling", "stalled", m.socket(), "20"))

	began := time.Now()
	m.status()
	m.sessions()
	answered := time.Since(began)
	t.Logf("two answers in %v", answered.Round(time.Millisecond))
	if answered > 5*time.Second && !emulated() {
		t.Errorf("two answers took %v", answered)
	}
	other := as(somebody, shared.paddock, "--socket", m.socket(), "run", "--", "/bin/sh", "-c", "/bin/echo ran; ls box; exit 3")
	other.cmd.Dir = m.dir
	other.start(t)
	other.wait(t)
	if out := other.out.String(); !strings.HasPrefix(out, "ran\n") || strings.Contains(out, listed) || other.cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("another user: %q, %v", out, other.err)
	}
	e := m.events.wait("that user's session", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameSessionStart && number(e, telemetry.AttrProcessUserID) == somebody
	})
	if text(e, telemetry.AttrSessionHow) != "run" {
		t.Errorf("session start: %v", e.Attrs)
	}
	crowd := as(nobody, shared.paddock, "--socket", m.socket(), "status")
	crowd.start(t)
	crowd.wait(t)
	t.Logf("the crowd's own user: %.100q", crowd.out.String())

	// Those who follow and do not read do not hold up what is told.
	if out, _ := m.run("for i in 1 2 3 4 5 6 7 8 9; do /bin/echo $i; done; ls box 2>/dev/null; /bin/echo end"); !strings.HasSuffix(out, "end\n") || strings.Contains(out, listed) {
		t.Errorf("an agent: %q", out)
	}
	m.fence()
	rss := memory(t, m.daemon.pid(), "VmHWM")
	t.Logf("at most %.0f MiB", rss)
	if rss > 300 {
		t.Errorf("the daemon took %.0f MiB", rss)
	}
}

// What another user sees is that user's.
func TestOtherUsersSeeTheirOwn(t *testing.T) {
	m := started(t, base)
	m.fence() // a session of root's
	for _, command := range []string{"sessions --all --json", "events --json"} {
		p := as(65534, append([]string{shared.paddock, "--socket", m.socket()}, strings.Fields(command)...)...)
		p.start(t)
		p.wait(t)
		if out := strings.TrimSpace(p.out.String()); p.err != nil || out != "[]" && out != "" {
			t.Errorf("%s: %.300q, %v", command, out, p.err)
		}
	}
}

// A client that connects and says nothing, which any user may, does not keep the
// daemon from stopping in order and in time.
func TestStopWithSilentClients(t *testing.T) {
	for _, how := range []string{"silent", "partial", "slow", "stalled"} {
		t.Run(how, func(t *testing.T) {
			m := started(t, base)
			m.cling(as(65534, shared.self, "act-cling", how, m.socket(), "5"))
			took := m.stop()
			t.Logf("stopped in %v", took)
			if took > stopLimit && !emulated() {
				t.Errorf("it took %v to stop", took)
			}
			m.start()
			m.events.named(telemetry.NameDaemonStop, "")
		})
	}
}
