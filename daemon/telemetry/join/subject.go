// SPDX-License-Identifier: Apache-2.0

package join

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Kind says what a Subject is.
type Kind string

// What can be asked about.
const (
	KindPID     Kind = "pid"     // a process, alive or long gone
	KindCommand Kind = "command" // a program's name, or words of its command line
	KindHost    Kind = "host"    // a host name or an address, with or without a port
	KindFile    Kind = "file"    // an absolute path
	KindEvent   Kind = "event"   // the id of an event
	KindCall    Kind = "call"    // the id of a tool call
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{KindPID, KindCommand, KindHost, KindFile, KindEvent, KindCall} }

// Subject is what somebody wants to have explained.
type Subject struct {
	Kind    Kind      `json:"kind"`
	Value   string    `json:"value"`
	At      time.Time `json:"at,omitzero"`       // about when it happened; zero: the last time
	Session string    `json:"session,omitempty"` // only in this one
}

// maxSubject bounds what is asked about, in bytes.
const maxSubject = 8 << 10

// Check says what is wrong with a subject.
func (s Subject) Check() error {
	if s.Value == "" || len(s.Value) > maxSubject {
		return fmt.Errorf("explaining a %s: its name has %d bytes, must have 1 to %d", s.Kind, len(s.Value), maxSubject)
	}
	switch s.Kind {
	case KindCommand, KindHost, KindEvent, KindCall:
		return nil
	case KindPID:
		if n, err := strconv.ParseInt(s.Value, 10, 32); err != nil || n <= 0 {
			return fmt.Errorf("explaining a process: %q is no process number", s.Value)
		}
		return nil
	case KindFile:
		if !strings.HasPrefix(s.Value, "/") {
			return fmt.Errorf("explaining a file: %q: give the whole path, from / on", s.Value)
		}
		return nil
	}
	return fmt.Errorf("explaining a %q: unknown kind (one of %v)", string(s.Kind), Kinds())
}

// Guess says what words may mean, the likeliest first.
func Guess(words string) []Subject {
	as := func(kinds ...Kind) []Subject {
		var out []Subject
		for _, k := range kinds {
			out = append(out, Subject{Kind: k, Value: words})
		}
		return out
	}
	const ulid = 26
	switch {
	case words == "":
		return nil
	case strings.Trim(words, "0123456789") == "":
		return as(KindPID)
	case len(words) == ulid && strings.Trim(words, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") == "":
		return as(KindEvent, KindCall)
	case strings.HasPrefix(words, "/") && !strings.Contains(words, " "):
		return as(KindFile, KindCommand)
	case strings.ContainsAny(words, " \t\n"):
		if strings.HasPrefix(words, "/") {
			return as(KindCommand, KindFile)
		}
		return as(KindCommand)
	}
	host, _ := hostPort(words)
	if _, err := netip.ParseAddr(host); err == nil {
		return as(KindHost)
	}
	if strings.HasPrefix(words, "call_") || strings.HasPrefix(words, "toolu_") {
		return as(KindCall, KindCommand)
	}
	if strings.Contains(host, ".") {
		return as(KindHost, KindCommand)
	}
	return as(KindCommand, KindCall, KindHost)
}

// hostPort splits a host from a port, if there is one; else the port is 0.
func hostPort(s string) (string, int64) {
	s = strings.TrimSuffix(s, ".")
	if a, err := netip.ParseAddrPort(s); err == nil {
		return a.Addr().Unmap().String(), int64(a.Port())
	}
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a.Unmap().String(), 0
	}
	if host, port, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			return strings.ToLower(host), int64(n)
		}
	}
	return strings.ToLower(s), 0
}
