// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-649e9bbc/paddock/daemon/session"
)

// refusal is an error with the HTTP status that says it.
type refusal struct {
	code int
	why  string
}

func (r *refusal) Error() string { return r.why }

func refused(code int, format string, args ...any) *refusal {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// ungoverned refuses a governed peer, and one that cannot be told from a
// governed one: a process that connects, hands the connection on and ends
// leaves a number behind that may name anybody.
func (s *Server) ungoverned(r *http.Request) error {
	c := connOf(r)
	if c.peer.PID <= 0 {
		return refused(http.StatusForbidden, "the process that asks is not visible to the daemon (another pid namespace)")
	}
	if c.governed || s.backend.Governed(c.peer.PID) {
		return refused(http.StatusForbidden, "process %d is governed: from within a session only the status can be asked for", c.peer.PID)
	}
	// After the look at its number, or the number could change hands between.
	if !c.peer.Alive() {
		return refused(http.StatusForbidden, "process %d, which connected, has ended", c.peer.PID)
	}
	return nil
}

// mine returns the sessions the peer may see.
func (s *Server) mine(ctx context.Context, peer Peer) ([]session.Session, error) {
	all, err := s.backend.Sessions(ctx)
	if err != nil || peer.UID == 0 {
		return all, err
	}
	out := []session.Session{} // none is a list too
	for _, one := range all {
		if one.UID == peer.UID {
			out = append(out, one)
		}
	}
	return out, nil
}

// minSuffix is the least of a session ID, in characters, that may stand for it.
const minSuffix = 4

// whole returns the ID of the one session the peer may see whose ID ends in id.
func (s *Server) whole(ctx context.Context, peer Peer, id string) (string, error) {
	const ulidLen = 26
	id = strings.ToUpper(id)
	if peer.UID == 0 && len(id) == ulidLen {
		return id, nil // its events may be kept longer than the session is remembered
	}
	if len(id) < minSuffix || len(id) > ulidLen {
		return "", refused(http.StatusBadRequest, "session %q: give the ID or at least its last %d characters", id, minSuffix)
	}
	sessions, err := s.mine(ctx, peer)
	if err != nil {
		return "", err
	}
	found := ""
	for i := range sessions {
		if !strings.HasSuffix(sessions[i].ID, id) {
			continue
		}
		if found != "" {
			return "", refused(http.StatusBadRequest, "session %q: %s and %s end so, give more of it", id, found, sessions[i].ID)
		}
		found = sessions[i].ID
	}
	if found == "" && len(id) == ulidLen {
		// One that the daemon remembers no more, perhaps.
		if uid, known, err := s.backend.Owner(ctx, id); err != nil || known && uid == peer.UID {
			return id, err
		}
	}
	if found == "" {
		return "", refused(http.StatusNotFound, "there is no session %q of yours", id)
	}
	return found, nil
}

// owners remembers whose a session is, for as long as a stream lasts.
type owners struct {
	server *Server
	peer   Peer
	mine   map[string]bool
}

// sees reports whether the peer may see what belongs to the session. What
// belongs to none is the machine's, and root's.
func (o *owners) sees(ctx context.Context, id string) (bool, error) {
	if o.peer.UID == 0 {
		return true, nil
	}
	if id == "" {
		return false, nil
	}
	if yes, known := o.mine[id]; known {
		return yes, nil
	}
	sessions, err := o.server.mine(ctx, o.peer)
	if err != nil {
		return false, err
	}
	if len(o.mine) > 4*len(sessions)+4096 {
		clear(o.mine) // a long stream of others' sessions
	}
	for i := range sessions {
		o.mine[sessions[i].ID] = true
	}
	if !o.mine[id] {
		// One that the daemon remembers no more, perhaps.
		uid, known, err := o.server.backend.Owner(ctx, id)
		if err != nil {
			return false, err
		}
		o.mine[id] = known && uid == o.peer.UID
	}
	return o.mine[id], nil
}
