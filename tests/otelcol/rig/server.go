// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take on a busy machine.
const Patience = time.Minute

// Server is a program that a test starts and stops again and again.
type Server struct {
	t       *testing.T
	name    string
	log     output
	before  int // how much of that is of an earlier process
	process *exec.Cmd
	Ended   chan struct{} // closed when the process ended
	result  error         // of that; read after Ended
}

// Init makes it end with the test. The name is for people.
func (s *Server) Init(t *testing.T, name string) {
	s.t, s.name = t, name
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, s.log.text())
		}
	})
}

// Run starts it and returns at once.
func (s *Server) Run(process *exec.Cmd) {
	s.t.Helper()
	s.process, s.before = process, len(s.log.text())
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.SysProcAttr = DieWithTest()
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.Ended = make(chan struct{})
	go func() {
		s.result = process.Wait()
		close(s.Ended)
	}()
}

// Stop ends it in order: what it took is on its disk.
func (s *Server) Stop() {
	s.t.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stopping %s: %v", s.name, err)
	}
	<-s.Ended
	if s.result != nil {
		s.t.Errorf("%s ended with: %v", s.name, s.result)
	}
	s.process, s.Ended = nil, nil
}

// Says waits until it said text, since Run.
func (s *Server) Says(text string) {
	s.t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	for {
		s.log.mu.Lock()
		if s.log.more == nil {
			s.log.more = make(chan struct{})
		}
		more, found := s.log.more, bytes.Contains(s.log.all.Bytes()[s.before:], []byte(text))
		s.log.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-s.Ended:
			s.t.Fatalf("%s ended by itself", s.name)
		case <-timeout.C:
			s.t.Fatalf("%s does not say %q", s.name, text)
		}
	}
}

// output is what a server says.
type output struct {
	mu   sync.Mutex
	all  bytes.Buffer
	more chan struct{} // closed at the next write
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.all.Write(b)
}

func (o *output) text() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.all.String()
}

// FreeAddress is one that nobody listens on, and that we keep nobody from.
func FreeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
