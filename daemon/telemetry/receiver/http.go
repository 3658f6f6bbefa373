// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// refused is a request that is not taken, as HTTP says it.
type refused struct {
	code  int
	cause string
	why   string
}

func (r *refused) Error() string { return r.why }

func (r *Receiver) routes() http.Handler {
	mux := http.NewServeMux()
	for _, s := range signals() {
		mux.HandleFunc("POST "+s.path, func(w http.ResponseWriter, req *http.Request) { r.serveHTTP(w, req, s) })
		mux.HandleFunc("POST "+s.method, func(w http.ResponseWriter, req *http.Request) { r.serveGRPC(w, req, s) })
	}
	return mux
}

// serveHTTP is OTLP/HTTP, as the specification 1.x has it.
func (r *Receiver) serveHTTP(w http.ResponseWriter, req *http.Request, s signal) {
	kind, _, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	asJSON := kind == "application/json"
	if err != nil || !asJSON && kind != "application/x-protobuf" {
		// As JSON: whoever sends another type is most likely a person who tries.
		r.refuseHTTP(w, req, true, &refused{http.StatusUnsupportedMediaType, telemetry.RefusedInvalid, fmt.Sprintf("content type %.100q: send application/x-protobuf or application/json", req.Header.Get("Content-Type"))})
		return
	}
	body, no := r.read(req, req.Body, req.Header.Get("Content-Encoding"))
	if no == nil {
		var answer proto.Message
		if answer, no = r.take(req.Context(), senderOf(req), s, body, asJSON); no == nil {
			encode := proto.Marshal
			if asJSON {
				encode = protojson.Marshal
			}
			body, err := encode(answer)
			if err != nil { // numbers and text can always be written
				body = nil
			}
			answerHTTP(w, http.StatusOK, asJSON, body)
			return
		}
	}
	r.refuseHTTP(w, req, asJSON, no)
}

func (r *Receiver) refuseHTTP(w http.ResponseWriter, req *http.Request, asJSON bool, no *refused) {
	r.refusals.add(refusal{sender: senderOf(req), cause: no.cause, detail: no.why, count: 1})
	switch no.code {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of it is not read
	}
	answerHTTP(w, no.code, asJSON, status(no, asJSON))
}

func answerHTTP(w http.ResponseWriter, code int, asJSON bool, body []byte) {
	kind := "application/x-protobuf"
	if asJSON {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that went away wants no answer
}

// read returns the body of a request, unpacked. Who is not governed is refused
// before any of it is read.
func (r *Receiver) read(req *http.Request, from io.Reader, encoding string) ([]byte, *refused) {
	if senderOf(req).Session == "" {
		return nil, &refused{http.StatusForbidden, telemetry.RefusedSender, "telemetry is taken from governed agents only"}
	}
	packed := io.LimitReader(from, r.config.Limits.Packed+1)
	counted := &counter{from: packed}
	var plain io.Reader = counted
	switch encoding {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(counted)
		if err != nil {
			return nil, r.unread(err, counted)
		}
		defer z.Close()
		plain = z
	default:
		return nil, &refused{http.StatusUnsupportedMediaType, telemetry.RefusedInvalid, fmt.Sprintf("content encoding %.100q: send gzip, or nothing packed", encoding)}
	}
	body, err := io.ReadAll(io.LimitReader(plain, r.config.Limits.Unpacked+1))
	switch {
	case counted.n > r.config.Limits.Packed, int64(len(body)) > r.config.Limits.Unpacked:
		return nil, r.tooLarge()
	case err != nil:
		return nil, r.unread(err, counted)
	}
	return body, nil
}

func (r *Receiver) tooLarge() *refused {
	return &refused{http.StatusRequestEntityTooLarge, telemetry.RefusedSize, fmt.Sprintf(
		"a request of more than %d bytes, or %d unpacked: send smaller batches", r.config.Limits.Packed, r.config.Limits.Unpacked)}
}

func (r *Receiver) unread(err error, c *counter) *refused {
	if c.n > r.config.Limits.Packed { // cut by us, which made it invalid
		return r.tooLarge()
	}
	return &refused{http.StatusBadRequest, telemetry.RefusedInvalid, "reading the request: " + err.Error()}
}

type counter struct {
	from io.Reader
	n    int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += int64(n)
	return n, err
}

// take decodes a request and stores what may be stored. The answer says how many
// records were not.
func (r *Receiver) take(ctx context.Context, sender Sender, s signal, body []byte, asJSON bool) (proto.Message, *refused) {
	select {
	case r.decoding <- struct{}{}:
	case <-ctx.Done():
		return nil, &refused{http.StatusServiceUnavailable, telemetry.RefusedBusy, "too much telemetry at a time"}
	}
	records, err := s.decode(body, asJSON, r.config.Limits.Objects)
	var events []telemetry.Event
	var rejected rejections
	if err == nil {
		events, rejected = r.admit(sender, records)
	}
	<-r.decoding
	switch {
	case errors.Is(err, errTooMany):
		return nil, &refused{http.StatusRequestEntityTooLarge, telemetry.RefusedSize, err.Error()}
	case err != nil:
		return nil, &refused{http.StatusBadRequest, telemetry.RefusedInvalid, err.Error()}
	}
	for _, one := range rejected {
		r.refusals.add(one)
	}
	if len(events) > 0 {
		// Not answered before it is on the disk: the agent may forget it then.
		err := r.config.Events.Record(ctx, events...)
		if err == nil {
			err = r.config.Events.Flush(ctx)
		}
		if err != nil {
			r.config.Log.Error("an agent's telemetry cannot be stored", "error", err)
			r.refusals.add(refusal{sender: sender, cause: telemetry.RefusedStore, count: int64(len(events)) - 1})
			return nil, &refused{http.StatusServiceUnavailable, telemetry.RefusedStore, "the event store does not take it"}
		}
		r.refusals.took(len(events))
	}
	return s.answer(rejected.count(), rejected.why()), nil
}
