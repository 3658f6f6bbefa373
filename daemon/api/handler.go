// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.answer(func(r *http.Request) (any, error) { return s.backend.Status(r.Context()) }))
	mux.HandleFunc("GET /v1/sessions", s.answer(s.sessions))
	mux.HandleFunc("POST /v1/run", s.answer(s.run))
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("GET /v1/approvals", s.approvals)
	mux.HandleFunc("GET /v1/approvals/history", s.answer(s.approvalHistory))
	mux.HandleFunc("POST /v1/approvals/request", s.waiting(s.requestTool))
	mux.HandleFunc("POST /v1/approvals/{id}/answer", s.waiting(s.answerApproval))
	mux.HandleFunc("POST /v1/hooks", s.answer(s.recordHook))
	mux.HandleFunc("GET /v1/governed", s.answer(s.governed))
	mux.HandleFunc("GET /v1/grants", s.answer(s.grants))
	mux.HandleFunc("DELETE /v1/grants/{id}", s.answer(s.revokeGrant))
	mux.HandleFunc("POST /v1/explain", s.answer(s.explain))
	mux.HandleFunc("GET /v1/sessions/{id}", s.answer(s.account))
	mux.HandleFunc("GET /v1/stats", s.answer(s.stats))
	mux.HandleFunc("POST /v1/sql", s.sql)
	return mux
}

// answer makes a handler of a function that returns what to write as JSON.
func (s *Server) answer(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		v, err := f(r)
		if err != nil {
			s.fail(w, err)
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			s.fail(w, err)
			return
		}
		s.write(w, http.StatusOK, append(data, '\n'))
	}
}

func (s *Server) write(w http.ResponseWriter, code int, body []byte) {
	// Only now: the backend may take its time, a client may not.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.write))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // a peer that went away wants no answer
}

func (s *Server) fail(w http.ResponseWriter, err error) {
	s.write(w, codeOf(err), errorBody(err.Error()))
}

// codeOf is the HTTP status that says an error.
func codeOf(err error) int {
	var no *refusal
	var large *http.MaxBytesError
	var never *approval.RefusedError
	switch {
	case errors.As(err, &no):
		return no.code
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, approval.ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, approval.ErrOver):
		return http.StatusConflict
	case errors.As(err, &never):
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// errorLine is how an error is told, as an answer or within a stream of events.
type errorLine struct {
	Error string `json:"error"`
}

func errorBody(why string) []byte {
	data, err := json.Marshal(errorLine{why})
	if err != nil {
		panic(err) // a string can be written
	}
	return append(data, '\n')
}

func (s *Server) sessions(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	return s.mine(r.Context(), connOf(r).peer)
}

func (s *Server) run(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	req, err := parseRun(r.Body)
	if err != nil {
		return nil, err
	}
	return s.backend.Adopt(r.Context(), connOf(r).peer, req)
}

func parseRun(body io.Reader) (RunRequest, error) {
	var req RunRequest
	if err := readBody(body, &req); err != nil {
		return req, err
	}
	if len(req.Argv) == 0 || req.Argv[0] == "" {
		return req, refused(http.StatusBadRequest, "reading the request: argv is empty")
	}
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	if len(req.Agent) > 63 || strings.Trim(req.Agent, letters) != "" {
		return req, refused(http.StatusBadRequest, "reading the request: agent %q: must be at most 63 letters, digits, -, _ or .", req.Agent)
	}
	return req, nil
}

func badBody(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refused(http.StatusRequestEntityTooLarge, "reading the request: larger than %d bytes", large.Limit)
	}
	return refused(http.StatusBadRequest, "reading the request: %v", err)
}
