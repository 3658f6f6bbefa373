// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// answerLimit is what a person may wait for a program after the answer, as a median.
const answerLimit = 20 * time.Millisecond

// testApproval measures from the command a governed shell is given to the question
// that a client sees, and from the keys a person presses to the end of the program:
// both with everything in between, the shell's fork and its wait too.
func testApproval(t *testing.T, binary string) {
	m := newMachine(t, binary)
	m.write("root/etc/paddock/requirements.toml", fmt.Sprintf(`[rules]
prefix_rules = [
	{ pattern = [{ token = %q }], decision = "prompt" },
]
`, filepath.Base(m.judged)))
	m.start()
	sessions := 2 // a session may ask 30 times a minute
	if thorough() {
		sessions = 12
	}

	questions := make(chan *api.Approval, 64)
	go func() {
		for c, err := range api.NewClient(m.path("run/paddock.sock")).Approvals(t.Context(), true) {
			if err != nil {
				return
			}
			if c.Approval != nil && c.Approval.State == approval.Pending {
				questions <- c.Approval
			}
		}
	}()
	master, slave, err := pty.Open()
	must(t, err)
	defer master.Close()
	person := exec.Command(binary, "--socket", m.path("run/paddock.sock"), "approvals")
	person.Stdin, person.Stdout, person.Stderr = slave, slave, slave
	person.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	must(t, person.Start())
	slave.Close()
	defer func() { _ = person.Process.Kill(); _ = person.Wait() }()
	shown := make(chan string, 1024)
	go func() {
		lines := bufio.NewScanner(master)
		for lines.Scan() {
			shown <- lines.Text()
		}
	}()
	shows := func(text string) {
		t.Helper()
		for {
			select {
			case line := <-shown:
				if strings.Contains(line, text) {
					return
				}
			case <-time.After(startLimit):
				t.Fatalf("the person's list does not show %q\n%s", text, &m.log)
			}
		}
	}
	shows("Nothing waits")

	var visible, running []float64
	number := 0
	for range sessions {
		line := append(m.run(), "/bin/sh")
		shell := exec.Command(line[0], line[1:]...)
		in, err := shell.StdinPipe()
		must(t, err)
		out, err := shell.StdoutPipe()
		must(t, err)
		must(t, shell.Start())
		said := bufio.NewReader(out)
		for i := range 25 {
			began := time.Now()
			_, err := io.WriteString(in, fmt.Sprintf("%s %d; echo done\n", m.judged, i))
			must(t, err)
			select {
			case <-questions:
			case <-time.After(startLimit):
				t.Fatalf("no question\n%s", &m.log)
			}
			visible = append(visible, time.Since(began).Seconds()*1000)
			number++
			shows(fmt.Sprintf("[%d] ", number))
			began = time.Now()
			_, err = io.WriteString(master, fmt.Sprintf("a %d\n", number))
			must(t, err)
			_, err = said.ReadString('\n')
			must(t, err)
			running = append(running, time.Since(began).Seconds()*1000)
		}
		must(t, in.Close())
		must(t, shell.Wait())
	}
	t.Logf("%d questions: from the command to the question a client sees %.1f ms (p95 %.1f); from the answer on a terminal to the end of the program %.1f ms (p95 %.1f)",
		len(visible), median(visible), quantile(visible, 0.95), median(running), quantile(running, 0.95))
	if limit := float64(answerLimit.Milliseconds()); thorough() && median(running) > limit {
		t.Errorf("an answer takes %.1f ms to be carried out, more than %.0f ms", median(running), limit)
	}
}
