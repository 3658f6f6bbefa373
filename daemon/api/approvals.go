// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
)

// approvals streams the approvals of the peer, one line of JSON each.
func (s *Server) approvals(w http.ResponseWriter, r *http.Request) {
	if err := s.ungoverned(r); err != nil {
		s.fail(w, err)
		return
	}
	if r.ContentLength != 0 { // nobody would read it, and there is no time limit below
		s.fail(w, refused(http.StatusBadRequest, "a request for approvals has no body"))
		return
	}
	follow := r.URL.Query().Get("follow") == "1"
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "application/x-ndjson")
	write := func(line []byte) error {
		if err := control.SetWriteDeadline(time.Now().Add(s.limits.write)); err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		return control.Flush()
	}
	for change, err := range s.backend.Approvals(r.Context(), s.viewer(r), follow) {
		var line []byte
		if err == nil {
			line, err = json.Marshal(change)
		}
		if err == nil {
			err = write(line)
		} else if r.Context().Err() == nil {
			_ = write(errorBody(err.Error()))
		}
		if err != nil {
			panic(http.ErrAbortHandler) // no proper end
		}
	}
	if follow {
		panic(http.ErrAbortHandler)
	}
}

// viewer is the peer as approvals know it.
func (s *Server) viewer(r *http.Request) approval.Viewer {
	return approval.Viewer{UID: connOf(r).peer.UID}
}

func (s *Server) answerApproval(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		s.backend.AnswerRefused(connOf(r).peer, r.PathValue("id"), err)
		return nil, err
	}
	var reply approval.Reply
	if err := readBody(r.Body, &reply); err != nil {
		return nil, err
	}
	return s.backend.AnswerApproval(r.Context(), connOf(r).peer, r.PathValue("id"), reply)
}

func (s *Server) approvalHistory(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	limit := 0
	if text := r.URL.Query().Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 0 {
			return nil, refused(http.StatusBadRequest, "parameter limit=%q: not a number from 0 on", text)
		}
	}
	return s.backend.ApprovalHistory(r.Context(), s.viewer(r), limit)
}

func (s *Server) grants(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	return s.backend.Grants(r.Context(), s.viewer(r))
}

func (s *Server) revokeGrant(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	return struct{}{}, s.backend.RevokeGrant(r.Context(), s.viewer(r), r.PathValue("id"))
}

// requestTool is the one thing a governed process may ask for itself: a question to
// its user. It can never answer one.
func (s *Server) requestTool(r *http.Request) (any, error) {
	peer := connOf(r).peer
	if !peer.Alive() {
		return nil, refused(http.StatusForbidden, "process %d, which connected, has ended", peer.PID)
	}
	var req ToolRequest
	if err := readBody(r.Body, &req); err != nil {
		return nil, err
	}
	const maxText = 64 << 10
	switch {
	case req.Tool == "":
		return nil, refused(http.StatusBadRequest, "reading the request: tool is empty")
	case req.Command != "" && len(req.Argv) > 0:
		// People would be shown one, and the other would run.
		return nil, refused(http.StatusBadRequest, "reading the request: it has a command and an argv; it may have one")
	case len(req.Input) > maxText, len(req.Prompt) > maxText:
		return nil, refused(http.StatusBadRequest, "reading the request: input and prompt may have %d bytes each", maxText)
	}
	return s.backend.RequestTool(r.Context(), peer, req)
}

// waiting makes a handler of a function that may wait for a person. Its answer
// begins at once, so that the client knows that it was heard; what goes wrong before
// is an ordinary refusal.
func (s *Server) waiting(f func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		// Whole before the answer begins: HTTP has no body after that.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			s.fail(w, badBody(err))
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		control := http.NewResponseController(w)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = control.SetWriteDeadline(time.Now().Add(s.limits.write))
		_ = control.Flush()

		v, err := f(r)
		var line waitLine
		if err == nil {
			line.Answer, err = json.Marshal(v)
		}
		if err != nil {
			line = waitLine{Error: err.Error(), Code: codeOf(err)}
		}
		data, err := json.Marshal(line)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_ = control.SetWriteDeadline(time.Now().Add(s.limits.write))
		_, _ = w.Write(append(data, '\n')) // a peer that went away wants no answer
	}
}

// readBody reads one JSON object, strictly.
func readBody(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badBody(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return badBody(errors.New("more than one value"))
	}
	return nil
}
