// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// maxLine bounds one event of a stream, in bytes. An event may carry a whole
// argv.
const maxLine = 16 << 20

// ErrStreamEnded is returned when the daemon ends a stream before its end: it
// stops, or the client was too slow.
var ErrStreamEnded = errors.New("the daemon ended the stream of events")

// Events returns the events the caller may see, in the order of Seq; with
// follow, then those to come, until ctx ends. q.Limit 0 means all; q.Newest goes
// with follow too, and needs a limit of at most 10,000. q.Session may be the last few
// characters of an ID. An error is the last thing returned.
func (c *Client) Events(ctx context.Context, q telemetry.Query, follow bool) iter.Seq2[telemetry.Event, error] {
	return func(yield func(telemetry.Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		res, err := c.send(ctx, http.MethodGet, "/v1/events?"+eventsQuery(q, follow).Encode(), nil)
		if err != nil {
			yield(telemetry.Event{}, err)
			return
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			e, err := parseEventLine(lines.Bytes())
			if !yield(e, err) || err != nil {
				return
			}
		}
		switch err := lines.Err(); {
		case err == nil:
		case ctx.Err() != nil:
			yield(telemetry.Event{}, ctx.Err())
		case errors.Is(err, io.ErrUnexpectedEOF):
			yield(telemetry.Event{}, ErrStreamEnded)
		default:
			yield(telemetry.Event{}, fmt.Errorf("reading events: %w", err))
		}
	}
}

func eventsQuery(q telemetry.Query, follow bool) url.Values {
	v := url.Values{}
	if q.Session != "" {
		v.Set("session", q.Session)
	}
	for _, name := range q.Names {
		v.Add("name", name)
	}
	if q.After != 0 {
		v.Set("after", strconv.FormatInt(q.After, 10))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Newest {
		v.Set("newest", "1")
	}
	if follow {
		v.Set("follow", "1")
	}
	return v
}

// parseEventLine reads a line of a stream: an event, or an error.
func parseEventLine(line []byte) (telemetry.Event, error) {
	if bytes.HasPrefix(line, []byte(`{"error":`)) {
		var said errorLine
		if err := json.Unmarshal(line, &said); err == nil {
			return telemetry.Event{}, &Error{http.StatusInternalServerError, said.Error}
		}
	}
	var e telemetry.Event
	if err := json.Unmarshal(line, &e); err != nil {
		return telemetry.Event{}, fmt.Errorf("reading an event of the daemon: %w", err)
	}
	return e, nil
}
