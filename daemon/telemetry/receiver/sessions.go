// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// sessions is what is remembered of those who send, to bound them.
type sessions struct {
	limits Limits
	now    func() time.Time

	mu      sync.Mutex
	byID    map[string]*account
	threads map[string]string // a live session's conversations
}

// account is one session's.
type account struct {
	allowance float64 // records it may send now
	room      float64 // bytes of them
	at        time.Time
	names     map[string]bool
	keys      map[string]bool
	threads   []string
}

// Bounds of what is remembered, for a daemon that misses the end of a session.
const (
	maxSessions = 4096
	maxThreads  = 256 // of one session
)

func newSessions(l Limits, now func() time.Time) *sessions {
	return &sessions{limits: l, now: now, byID: map[string]*account{}, threads: map[string]string{}}
}

// account returns the one of a session. s.mu is held.
func (s *sessions) account(id string) *account {
	a := s.byID[id]
	if a == nil {
		if len(s.byID) >= maxSessions {
			s.drop(s.oldest())
		}
		a = &account{allowance: float64(s.limits.Burst), room: float64(s.limits.Store), at: s.now(), names: map[string]bool{}, keys: map[string]bool{}}
		s.byID[id] = a
	}
	return a
}

func (s *sessions) oldest() string {
	oldest, at := "", time.Time{}
	for id, a := range s.byID {
		if oldest == "" || a.at.Before(at) {
			oldest, at = id, a.at
		}
	}
	return oldest
}

func (s *sessions) drop(id string) {
	if a := s.byID[id]; a != nil {
		for _, t := range a.threads {
			delete(s.threads, t)
		}
		delete(s.byID, id)
	}
}

func (s *sessions) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(id)
}

// admit judges one record of so many bytes. It returns why not, or "". What a session may send in a time is bounded in bytes,
// too: with records of the largest size it could otherwise push what others have done out of the store within seconds.
func (s *sessions) admit(session, name, thread string, size int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(session)
	now := s.now()
	if passed := now.Sub(a.at).Seconds(); passed > 0 {
		a.allowance = min(a.allowance+passed*float64(s.limits.Rate), float64(s.limits.Burst))
		a.room = min(a.room+passed*float64(s.limits.Volume), float64(s.limits.Store))
		a.at = now
	}
	if owner, known := s.threads[thread]; known && owner != session {
		return telemetry.RefusedThread
	}
	if a.allowance < 1 || a.room < float64(size) {
		return telemetry.RefusedRate
	}
	if !a.names[name] && len(a.names) >= s.limits.Names {
		return telemetry.RefusedCardinality
	}
	a.allowance--
	a.room -= float64(size)
	a.names[name] = true
	if thread != "" && s.threads[thread] == "" && len(a.threads) < maxThreads {
		s.threads[thread] = session
		a.threads = append(a.threads, thread)
	}
	return ""
}

// knows says whether the session may use the name for an attribute.
func (s *sessions) knows(session, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.account(session)
	if a.keys[key] {
		return true
	}
	if len(a.keys) >= s.limits.Keys {
		return false
	}
	a.keys[key] = true
	return true
}
