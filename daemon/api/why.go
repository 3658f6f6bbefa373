// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// ExplainRequest asks why something ran. The first subject that an event is
// about is explained.
type ExplainRequest struct {
	Subjects []join.Subject `json:"subjects"`
}

// maxSubjects bounds ExplainRequest.Subjects.
const maxSubjects = 16

func (s *Server) explain(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	var req ExplainRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		return nil, badBody(err)
	}
	if n := len(req.Subjects); n == 0 || n > maxSubjects {
		return nil, refused(http.StatusBadRequest, "reading the request: %d subjects, must be 1 to %d", n, maxSubjects)
	}
	for _, subject := range req.Subjects {
		if err := subject.Check(); err != nil {
			return nil, refused(http.StatusBadRequest, "%v", err)
		}
	}
	owners := &owners{server: s, peer: connOf(r).peer, mine: map[string]bool{}}
	var failed error
	story, err := s.backend.Explain(r.Context(), req.Subjects, func(session string) bool {
		yes, err := owners.sees(r.Context(), session)
		failed = errors.Join(failed, err)
		return yes && err == nil
	})
	if failed != nil {
		return nil, failed
	}
	return story, nothing(err)
}

func (s *Server) account(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	var p join.Page
	var err error
	for name, to := range map[string]func(int64){
		"before": func(n int64) { p.Before = n },
		"limit":  func(n int64) { p.Limit = int(n) },
	} {
		text := r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, refused(http.StatusBadRequest, "%s %q: not a number", name, text)
		}
		to(n)
	}
	if err := p.Check(); err != nil {
		return nil, refused(http.StatusBadRequest, "%v", err)
	}
	id, err := s.whole(r.Context(), connOf(r).peer, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	a, err := s.backend.Account(r.Context(), id, p)
	return a, nothing(err)
}

// nothing makes "not found" of an answer that there is none.
func nothing(err error) error {
	if errors.Is(err, join.ErrNothing) {
		return refused(http.StatusNotFound, "%v", err)
	}
	return err
}

// Explain asks why something ran: the first of the subjects that an event is
// about. The caller's own sessions are looked at, of root all.
func (c *Client) Explain(ctx context.Context, subjects ...join.Subject) (*join.Story, error) {
	var out join.Story
	return &out, c.ask(ctx, http.MethodPost, "/v1/explain", ExplainRequest{subjects}, &out)
}

// Account asks what is stored of a session, put together. id may be the last few
// characters of its ID.
func (c *Client) Account(ctx context.Context, id string, p join.Page) (*join.Account, error) {
	v := url.Values{}
	if p.Before != 0 {
		v.Set("before", strconv.FormatInt(p.Before, 10))
	}
	if p.Limit != 0 {
		v.Set("limit", strconv.Itoa(p.Limit))
	}
	var out join.Account
	return &out, c.ask(ctx, http.MethodGet, "/v1/sessions/"+url.PathEscape(id)+"?"+v.Encode(), nil, &out)
}
