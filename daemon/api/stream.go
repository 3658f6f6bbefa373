// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// eventsPage is how many events are asked of the backend at once.
const eventsPage = 1000

// maxNewest bounds how many events are looked at for the newest ones. Who may
// not see them all gets what there is among them.
const maxNewest = 10_000

// eventsRequest is the query of GET /v1/events.
type eventsRequest struct {
	query  telemetry.Query
	follow bool
}

func parseEvents(v url.Values) (eventsRequest, error) {
	var r eventsRequest
	for key, values := range v {
		last := values[len(values)-1]
		var err error
		switch key {
		case "session":
			r.query.Session = last
		case "name":
			r.query.Names = values
		case "after":
			r.query.After, err = strconv.ParseInt(last, 10, 64)
		case "limit":
			r.query.Limit, err = strconv.Atoi(last)
		case "newest":
			r.query.Newest, err = strconv.ParseBool(last)
		case "follow":
			r.follow, err = strconv.ParseBool(last)
		default:
			return r, refused(http.StatusBadRequest, "unknown parameter %q (session, name, after, limit, newest, follow)", key)
		}
		if err != nil || r.query.After < 0 || r.query.Limit < 0 {
			return r, refused(http.StatusBadRequest, "parameter %s=%q: not a number from 0 on", key, last)
		}
	}
	for _, name := range r.query.Names {
		if !slices.Contains(telemetry.Names(), name) {
			return r, refused(http.StatusBadRequest, "parameter name: no event is called %q", name)
		}
	}
	if r.query.Newest && (r.query.Limit == 0 || r.query.Limit > maxNewest) {
		return r, refused(http.StatusBadRequest, "parameter newest: needs a limit from 1 to %d", maxNewest)
	}
	return r, nil
}

// events streams events, one line of JSON each. An error after the first line
// is a line of its own; a stream that was cut off has no proper end, which HTTP
// tells the client.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if err := s.ungoverned(r); err != nil {
		s.fail(w, err)
		return
	}
	if r.ContentLength != 0 { // nobody would read it, and there is no time limit below
		s.fail(w, refused(http.StatusBadRequest, "a request for events has no body"))
		return
	}
	req, err := parseEvents(r.URL.Query())
	if err != nil {
		s.fail(w, err)
		return
	}
	peer := connOf(r).peer
	if req.query.Session != "" {
		if req.query.Session, err = s.whole(r.Context(), peer, req.query.Session); err != nil {
			s.fail(w, err)
			return
		}
	}
	out := &stream{
		buf: bufio.NewWriterSize(w, 64<<10), control: http.NewResponseController(w), timeout: s.limits.write,
		owners: owners{s, peer, map[string]bool{}},
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	err = out.copy(r, s.backend, req)
	if err == nil {
		err = out.flush()
	} else if r.Context().Err() == nil {
		_, _ = out.buf.Write(errorBody(err.Error()))
		err = out.flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler) // no proper end
	}
}

// stream writes events to a client who must keep up.
type stream struct {
	buf     *bufio.Writer
	control *http.ResponseController
	timeout time.Duration
	owners  owners
}

func (o *stream) copy(r *http.Request, backend Backend, req eventsRequest) error {
	q := req.query
	if q.Newest {
		last, err := o.newest(r, backend, q)
		if err != nil || !req.follow {
			return err
		}
		q.After, q.Limit, q.Newest = max(q.After, last), 0, false
	}
	if req.follow {
		return o.follow(r, backend, q)
	}
	return o.pages(r, backend, q)
}

// newest writes the newest events and returns where they end.
func (o *stream) newest(r *http.Request, backend Backend, q telemetry.Query) (last int64, err error) {
	want := q.Limit
	if o.owners.peer.UID != 0 && q.Session == "" {
		q.Limit = maxNewest // most may be others'
	}
	var keep []telemetry.Event
	for e, readErr := range backend.Events(r.Context(), q, false) {
		yes := false
		if err = readErr; err == nil {
			last = e.Seq
			yes, err = o.owners.sees(r.Context(), e.Session)
		}
		if err != nil {
			break // after what there was
		}
		if yes {
			keep = append(keep, e)
		}
	}
	for i := max(0, len(keep)-want); i < len(keep); i++ {
		if err := o.write(&keep[i]); err != nil {
			return 0, err
		}
	}
	return last, err
}

// follow writes events as they come.
func (o *stream) follow(r *http.Request, backend Backend, q telemetry.Query) error {
	left, bounded := q.Limit, q.Limit > 0
	q.Limit = 0
	if err := o.flush(); err != nil { // the headers: the client knows it is connected
		return err
	}
	for e, err := range backend.Events(r.Context(), q, true) {
		if err != nil {
			return err
		}
		wrote, err := o.event(r, &e)
		if err == nil && wrote {
			err = o.flush()
			left--
		}
		if err != nil || bounded && left == 0 {
			return err
		}
	}
	return r.Context().Err()
}

// pages asks for a page after the other, so that no answer has to fit in
// memory. The limit is counted here, since the peer may not see everything.
func (o *stream) pages(r *http.Request, backend Backend, q telemetry.Query) error {
	left, bounded := q.Limit, q.Limit > 0
	q.Limit = eventsPage
	for {
		n := 0
		for e, err := range backend.Events(r.Context(), q, false) {
			if err != nil {
				return err
			}
			n++
			q.After = max(q.After, e.Seq)
			wrote, err := o.event(r, &e)
			if wrote {
				left--
			}
			if err != nil || bounded && left == 0 {
				return err
			}
		}
		if n < q.Limit {
			return r.Context().Err()
		}
	}
}

// event writes an event the peer may see.
func (o *stream) event(r *http.Request, e *telemetry.Event) (wrote bool, err error) {
	yes, err := o.owners.sees(r.Context(), e.Session)
	if err != nil || !yes {
		return false, err
	}
	return true, o.write(e)
}

func (o *stream) write(e *telemetry.Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if o.buf.Available() < len(data)+1 {
		if err := o.flush(); err != nil {
			return err
		}
	}
	if err := o.deadline(); err != nil {
		return err
	}
	_, err = o.buf.Write(append(data, '\n'))
	return err
}

func (o *stream) deadline() error { return o.control.SetWriteDeadline(time.Now().Add(o.timeout)) }

func (o *stream) flush() error {
	if err := o.deadline(); err != nil {
		return err
	}
	if err := o.buf.Flush(); err != nil {
		return err
	}
	return o.control.Flush()
}
