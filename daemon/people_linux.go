// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/whole"
	"github.com/seed-649e9bbc/paddock/mdm"
)

// askLimit bounds a question to whatever knows the machine's accounts: a directory
// may be far away.
const askLimit = 5 * time.Second

// rememberFor is how long somebody counts after a session began: with less, the
// policy of a machine would come and go with each session.
const rememberFor = 30 * 24 * time.Hour

// people are those who use the machine.
type people struct {
	mu    sync.Mutex
	known map[uint32]policy.Person
	seen  map[uint32]time.Time // by user, when a session last began
}

func (d *Daemon) peoplePath() string { return filepath.Join(d.config.StateDir, "people.json") }

// recallPeople reads who used the machine before. If that is lost, whose sessions live
// is still known.
func (d *Daemon) recallPeople() error {
	data, err := os.ReadFile(d.peoplePath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := map[uint32]time.Time{}
	if err := json.Unmarshal(data, &seen); err != nil {
		return err
	}
	maps.Copy(d.people.seen, seen)
	return nil
}

// meet learns who uses the machine from the sessions there are, and puts into force
// what cohorts of people say of them, before anything that is held of a new session is
// answered.
func (d *Daemon) meet() {
	d.people.mu.Lock()
	defer d.people.mu.Unlock()
	news := d.newPeople()
	for uid := range d.people.seen {
		if _, known := d.people.known[uid]; !known {
			d.people.known[uid] = d.whoIs(uid)
		}
	}
	if news {
		d.savePeople()
	}
	var all []policy.Person
	for _, p := range d.people.known {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b policy.Person) int { return strings.Compare(a.User, b.User) })
	if !d.loader.SetPeople(all) {
		return
	}
	d.mu.Lock()
	matters := d.policy.applied != nil && slices.ContainsFunc(d.policy.result.Requirements.Cohorts, func(c policy.Cohort) bool { return c.People })
	d.mu.Unlock()
	if !matters {
		return // or it will, when the requirements are first read
	}
	d.applying.Lock()
	defer d.applying.Unlock()
	r, changed := d.loader.Reload()
	if !changed {
		return
	}
	if err := d.apply(r, r.Requirements); err != nil {
		d.reject(r, err)
		return
	}
	select {
	case d.prove <- struct{}{}:
	default: // it is to be done anyway
	}
}

// newPeople notes the users of the sessions that live, forgets those who have not come
// for long, and says whether the file must be written anew.
func (d *Daemon) newPeople() bool {
	const exact = time.Hour // no file is written for less
	news, now := false, time.Now()
	for _, s := range d.sessions.List() {
		if s.Live() && now.Sub(d.people.seen[s.UID]) > exact {
			d.people.seen[s.UID] = now
			news = true
		}
	}
	for uid, seen := range d.people.seen {
		if now.Sub(seen) > rememberFor {
			delete(d.people.seen, uid)
			delete(d.people.known, uid)
			news = true
		}
	}
	return news
}

func (d *Daemon) savePeople() {
	data, err := json.Marshal(d.people.seen)
	if err == nil {
		err = whole.Write(d.peoplePath(), data, whole.Process)
	}
	if err != nil {
		d.config.Log.Error("saving who uses the machine", "error", err)
	}
}

// whoIs asks the machine's name service, which knows more than /etc/passwd.
func (d *Daemon) whoIs(uid uint32) policy.Person {
	number := strconv.FormatUint(uint64(uid), 10)
	p := policy.Person{User: "#" + number}
	name, err := ask("id", "-un", "--", number)
	if err == nil {
		p.User = strings.TrimSuffix(name, "\n")
		var groups string
		if groups, err = ask("id", "-Gnz", "--", p.User); err == nil {
			p.Groups = strings.FieldsFunc(groups, func(r rune) bool { return r == 0 })
		}
	}
	if err != nil {
		d.config.Log.Warn("who uses the machine cannot be found out: every cohort of people counts", "uid", uid, "error", err)
		p.Unsure = true
	}
	return p
}

func ask(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	return string(out), err
}

// newer says whether r was read after what is in force.
func (d *Daemon) newer(r mdm.Result) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return r.Load > d.policy.result.Load
}
