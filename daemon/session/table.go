// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// maxEnded bounds how many ended sessions are remembered.
const maxEnded = 1024

// Table holds the live sessions and the last 1024 that ended. It is safe for
// concurrent use, and what it hands out are copies.
type Table struct {
	now     func() time.Time
	entropy io.Reader

	mu    sync.Mutex
	byKey map[uint64]*Session
	byID  map[string]*Session
	ended []*Session // oldest first
}

// NewTable makes an empty table. Session IDs take their time from now and
// their rest from entropy, which must be good for as long as the table lives.
func NewTable(now func() time.Time, entropy io.Reader) *Table {
	return &Table{
		now:     now,
		entropy: ulid.Monotonic(entropy, 0),
		byKey:   map[uint64]*Session{},
		byID:    map[string]*Session{},
	}
}

// Start begins the session the kernel calls key. A key that is live already
// gives the session it has, unchanged: an exec may be reported twice.
func (t *Table) Start(key uint64, m Match, p Process, how string) *Session {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.byKey[key]; s != nil {
		return s.copy()
	}
	now := t.now()
	id, err := ulid.New(ulid.Timestamp(now), t.entropy)
	if err != nil { // a session must have a name, and the kernel's randomness does not fail
		id = ulid.MustNew(ulid.Timestamp(now), rand.Reader)
	}
	s := &Session{
		ID: id.String(), Key: key,
		Agent: m.Agent, Surface: m.Surface, Install: m.Install, Version: m.Version,
		User: p.User, UID: p.UID, Root: rootOf(p), Started: now, How: how,
	}
	t.byKey[key], t.byID[s.ID] = s, s
	return s.copy()
}

// End ends the session with the key and returns it as it ended; false when no
// such session is live.
func (t *Table) End(key uint64) (*Session, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byKey[key]
	if s == nil {
		return nil, false
	}
	s.Ended = t.now()
	delete(t.byKey, key)
	t.remember(s)
	return s.copy(), true
}

// remember keeps an ended session and forgets the oldest beyond the bound.
func (t *Table) remember(s *Session) {
	t.ended = append(t.ended, s)
	for len(t.ended) > maxEnded {
		delete(t.byID, t.ended[0].ID)
		t.ended[0] = nil
		t.ended = t.ended[1:]
	}
}

// Count adds to the counters of a live session; false when there is none.
func (t *Table) Count(key uint64, add Counters) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byKey[key]
	if s == nil {
		return false
	}
	s.Counters.add(add)
	return true
}

// ByKey returns the live session with the kernel's key.
func (t *Table) ByKey(key uint64) (*Session, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byKey[key]
	return s.copy(), s != nil
}

// ByID returns a session, live or remembered.
func (t *Table) ByID(id string) (*Session, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	return s.copy(), s != nil
}

// Live counts the live sessions.
func (t *Table) Live() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
}

// List returns the live sessions and the remembered ones, newest first.
func (t *Table) List() []Session {
	t.mu.Lock()
	out := make([]Session, 0, len(t.byID))
	for _, s := range t.byID {
		out = append(out, *s.copy())
	}
	t.mu.Unlock()
	slices.SortFunc(out, func(a, b Session) int { return strings.Compare(b.ID, a.ID) })
	return out
}

func (s *Session) copy() *Session {
	if s == nil {
		return nil
	}
	c := *s
	c.Root.Args = slices.Clone(s.Root.Args)
	return &c
}

// snapshot is what survives a restart of the daemon.
type snapshot struct {
	Version  int       `json:"version"`
	Sessions []Session `json:"sessions"`
}

const snapshotVersion = 1

// Snapshot writes all sessions as JSON, for Restore.
func (t *Table) Snapshot() []byte {
	data, err := json.Marshal(snapshot{snapshotVersion, t.List()})
	if err != nil {
		panic(err) // every field of a session can be written
	}
	return data
}

// Restore adds the sessions of a snapshot. Those that were live are live again:
// whether the kernel still has them is for the caller to find out, who ends
// the others. On an error nothing is added.
func (t *Table) Restore(data []byte) error {
	var snap snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return fmt.Errorf("reading the sessions from before: %w", err)
	}
	if snap.Version != snapshotVersion {
		return fmt.Errorf("reading the sessions from before: version %d, must be %d", snap.Version, snapshotVersion)
	}
	for _, s := range snap.Sessions {
		if _, err := ulid.ParseStrict(s.ID); err != nil {
			return fmt.Errorf("reading the sessions from before: session %q: %w", s.ID, err)
		}
	}
	slices.SortFunc(snap.Sessions, func(a, b Session) int { return a.Ended.Compare(b.Ended) })
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range snap.Sessions {
		s := snap.Sessions[i].copy()
		if t.byID[s.ID] != nil || s.Live() && t.byKey[s.Key] != nil {
			continue
		}
		t.byID[s.ID] = s
		if s.Live() {
			t.byKey[s.Key] = s
		} else {
			t.remember(s)
		}
	}
	return nil
}
