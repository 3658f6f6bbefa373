// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// saver writes the file when something changed, not more often than it must.
type saver struct {
	dirty chan struct{}
	stop  chan struct{}
	done  chan struct{}
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
			err := q.saveNow()
			q.mu.Unlock()
			if err != nil {
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
	defer q.mu.Unlock()
	return q.saveNow()
}

// saved is the content of the file.
type saved struct {
	Version int            `json:"version"`
	Pending []savedRequest `json:"pending"`
	Grants  []savedGrant   `json:"grants"`
	Over    []*Approval    `json:"over"`
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

// saveNow writes the file; it is whole or the one before, whatever happens.
func (q *Queue) saveNow() error {
	out := saved{Version: savedVersion, Over: q.over}
	for _, r := range q.pending {
		out.Pending = append(out.Pending, savedRequest{r.approval, r.intent, r.question.Names, r.question.Within, r.question.Identity})
	}
	for _, g := range q.grants {
		out.Grants = append(out.Grants, savedGrant{g.Grant, g.key, g.answer})
	}
	data, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("writing the approvals: %w", err)
	}
	return replaceFile(q.options.File, data)
}

func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
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
		r := &request{
			approval: a, intent: s.Intent, waiters: map[*Ticket]bool{}, restored: true,
			question: Question{
				Kind: a.Kind, Session: a.Session, Agent: a.Agent, Surface: a.Surface, UID: a.UID, User: a.User, Project: a.Project,
				Subject: a.Subject, Why: a.Why, HumanOnly: a.HumanOnly, Names: s.Names, Within: s.Within, Identity: s.Identity,
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
