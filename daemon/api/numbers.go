// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
)

// rootOnly refuses everybody else: what is asked for is the whole machine's.
func (s *Server) rootOnly(r *http.Request, what string) error {
	if err := s.ungoverned(r); err != nil {
		return err
	}
	if connOf(r).peer.UID != 0 {
		return refused(http.StatusForbidden, "%s is of all users of the machine: only root may ask", what)
	}
	return nil
}

func (s *Server) stats(r *http.Request) (any, error) {
	if err := s.rootOnly(r, "the statistics"); err != nil {
		return nil, err
	}
	var times [2]time.Time
	for i, name := range []string{"from", "to"} {
		var err error
		if times[i], err = time.Parse(time.RFC3339, r.URL.Query().Get(name)); err != nil {
			return nil, refused(http.StatusBadRequest, "%s: %v", name, err)
		}
	}
	if !times[1].After(times[0]) {
		return nil, refused(http.StatusBadRequest, "from %s to %s: it must end after it begins", times[0], times[1])
	}
	return s.backend.Stats(r.Context(), times[0], times[1])
}

// SelectRequest is one SELECT over stored events.
type SelectRequest struct {
	SQL string `json:"sql"`
}

// sql answers with a JSON object a line: each row, by the names of its columns
// in their order; an error is the last line.
func (s *Server) sql(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	var req SelectRequest
	err := s.rootOnly(r, "the store of events")
	if err == nil {
		if err = json.NewDecoder(r.Body).Decode(&req); err != nil {
			err = badBody(err)
		} else if len(req.SQL) > telemetry.MaxSQL {
			err = refused(http.StatusBadRequest, "the statement is longer than %d bytes", telemetry.MaxSQL)
		}
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	out := bufio.NewWriterSize(w, 64<<10)
	var names [][]byte
	begun := false
	control := http.NewResponseController(w)
	err = s.backend.Select(r.Context(), req.SQL, func(columns []string) error {
		for _, c := range columns {
			name, err := json.Marshal(c)
			if err != nil {
				return err
			}
			names = append(names, name)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		begun = true
		return nil
	}, func(row []any) error {
		if err := control.SetWriteDeadline(time.Now().Add(s.limits.write)); err != nil {
			return err
		}
		return writeRow(out, names, row)
	})
	if err != nil && !begun {
		s.fail(w, refused(http.StatusBadRequest, "%v", err))
		return
	}
	_ = control.SetWriteDeadline(time.Now().Add(s.limits.write))
	if err != nil {
		_, _ = out.Write(errorBody(err.Error()))
	}
	_ = out.Flush() // a client that went away wants no answer
}

func writeRow(out *bufio.Writer, names [][]byte, row []any) error {
	var b bytes.Buffer
	for i, v := range row {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		value, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("writing a row: %w", err)
		}
		b.WriteByte(sep)
		b.Write(names[i])
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteString("}\n")
	_, err := out.Write(b.Bytes())
	return err
}

// Stats adds up what happened between two times, in whole hours. For root.
func (c *Client) Stats(ctx context.Context, from, to time.Time) (*join.Stats, error) {
	v := url.Values{"from": {from.Format(time.RFC3339)}, "to": {to.Format(time.RFC3339)}}
	var out join.Stats
	return &out, c.ask(ctx, http.MethodGet, "/v1/stats?"+v.Encode(), nil, &out)
}

// Select answers one SELECT over stored events, a JSON object a row. For root.
func (c *Client) Select(ctx context.Context, statement string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		res, err := c.send(ctx, http.MethodPost, "/v1/sql", SelectRequest{statement})
		if err != nil {
			yield(nil, err)
			return
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			line := lines.Bytes()
			var said errorLine
			if bytes.HasPrefix(line, []byte(`{"error":`)) && json.Unmarshal(line, &said) == nil && said.Error != "" {
				yield(nil, &Error{http.StatusInternalServerError, said.Error})
				return
			}
			if !yield(bytes.Clone(line), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, errors.Join(ErrStreamEnded, err))
		}
	}
}
