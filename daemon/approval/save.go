// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/whole"
)

// saver writes the file when something changed, not more often than it must.
type saver struct {
	dirty chan struct{}
	stop  chan struct{}
	done  chan struct{}

	taken   uint64 // snapshots so far; guarded by the queue
	write   sync.Mutex
	written uint64 // the latest snapshot in the file; guarded by write
}

// gather is how long changes are gathered before they are written.
const gather = 20 * time.Millisecond

func (s *saver) soon() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

func (q *Queue) startSaver() {
	s := &q.saver
	s.dirty, s.stop, s.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			select {
			case <-s.stop:
				return
			case <-s.dirty:
			}
			q.mu.Lock()
			now := q.snapshot()
			q.mu.Unlock()
			// Nobody waits for the disk, and holds do not outlive the machine.
			if err := q.save(now, false); err != nil {
				q.log.Error("saving the approvals", "error", err)
			}
			select {
			case <-s.stop:
				return
			case <-time.After(gather):
			}
		}
	}()
}

func (q *Queue) stopSaver() error {
	close(q.saver.stop)
	<-q.saver.done
	q.mu.Lock()
	now := q.snapshot()
	q.mu.Unlock()
	return q.save(now, true)
}

// saved is the content of the file.
type saved struct {
	Version int            `json:"version"`
	Pending []savedRequest `json:"pending"`
	Grants  []savedGrant   `json:"grants"`
	Over    []*Approval    `json:"over"`

	number uint64 // of the snapshot
}

type savedRequest struct {
	Approval Approval   `json:"approval"`
	Intent   string     `json:"intent"`
	Names    []string   `json:"names,omitempty"`
	Within   [][]string `json:"within,omitempty"`
	Identity string     `json:"identity,omitempty"`
}

type savedGrant struct {
	Grant  Grant  `json:"grant"`
	Key    string `json:"key"`
	Answer Answer `json:"answer"`
}

const savedVersion = 1

// snapshot is what there is to save now; q is locked.
func (q *Queue) snapshot() saved {
	q.saver.taken++
	out := saved{Version: savedVersion, Over: slices.Clone(q.over), number: q.saver.taken}
	for _, r := range q.pending {
		out.Pending = append(out.Pending, savedRequest{r.approval, r.intent, r.question.Names, r.question.Within, r.question.Identity})
	}
	for _, g := range q.grants {
		out.Grants = append(out.Grants, savedGrant{g.Grant, g.key, g.answer})
	}
	return out
}

// save writes a snapshot, unless a later one is written already. The file is whole or
// the one before, whatever happens; with sync it outlives the machine too.
func (q *Queue) save(what saved, sync bool) error {
	data, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("writing the approvals: %w", err)
	}
	s := &q.saver
	s.write.Lock()
	defer s.write.Unlock()
	if what.number <= s.written {
		return nil
	}
	how := whole.Process
	if sync {
		how = whole.Power
	}
	if err := whole.Write(q.options.File, data, how); err != nil {
		return err
	}
	s.written = what.number
	return nil
}

// restore reads the file. What cannot be believed is set aside: nothing is then
// remembered, which asks too often and allows nothing.
func (q *Queue) restore() error {
	data, err := os.ReadFile(q.options.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the approvals: %w", err)
	}
	in, err := parseSaved(data)
	if err != nil {
		aside := q.options.File + ".damaged"
		q.log.Error("the file of approvals is damaged: nothing is remembered", "file", q.options.File, "kept", aside, "error", err)
		if err := os.Rename(q.options.File, aside); err != nil {
			return fmt.Errorf("setting the damaged file of approvals aside: %w", err)
		}
		return nil
	}
	q.over = in.Over
	for _, g := range in.Grants {
		q.grants = append(q.grants, &grant{g.Grant, g.Key, g.Answer})
	}
	for _, s := range in.Pending {
		a := s.Approval
		// The clock may have been set back: nothing waits longer than it was to.
		if whole := a.Deadline.Sub(a.Asked); time.Until(a.Deadline) > whole {
			a.Deadline = time.Now().Add(whole)
		}
		r := &request{
			approval: a, intent: s.Intent, waiters: map[*Ticket]bool{}, restored: true,
			question: Question{
				Kind: a.Kind, Session: a.Session, Agent: a.Agent, Surface: a.Surface, UID: a.UID, User: a.User, Project: a.Project,
				Subject: a.Subject, Why: a.Why, HumanOnly: a.HumanOnly, EachTime: a.EachTime, Names: s.Names, Within: s.Within, Identity: s.Identity,
			},
		}
		q.add(r)
	}
	return nil
}

func parseSaved(data []byte) (saved, error) {
	var in saved
	if err := json.Unmarshal(data, &in); err != nil {
		return saved{}, err
	}
	if in.Version != savedVersion {
		return saved{}, fmt.Errorf("its version is %d, not %d", in.Version, savedVersion)
	}
	for i, s := range in.Pending {
		empty := func(words []string) bool { return len(words) == 0 }
		if s.Approval.ID == "" || s.Intent == "" || s.Approval.State != Pending || slices.ContainsFunc(s.Within, empty) {
			return saved{}, fmt.Errorf("question %d is not one that waits", i)
		}
	}
	for i, g := range in.Grants {
		if g.Key == "" || g.Grant.Scope != Session && g.Grant.Scope != Always {
			return saved{}, fmt.Errorf("remembered answer %d holds for nothing", i)
		}
	}
	for i, a := range in.Over {
		if a == nil || a.Answer == nil {
			return saved{}, fmt.Errorf("answered question %d has no answer", i)
		}
	}
	return in, nil
}
