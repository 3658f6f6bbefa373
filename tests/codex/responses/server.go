// SPDX-License-Identifier: Apache-2.0

package responses

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
)

// A conversation of a test is some 100 KB; this only keeps a client gone wild from filling the memory.
const maxBody = 64 << 20

// Server is a running model. It is safe for concurrent use.
type Server struct {
	script   Script
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	requests []Request
	outputs  map[string]string
}

// Request is one that the server got, whatever it answered.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Start listens on a free port of 127.0.0.1, in the network namespace of the calling thread.
func Start(script Script) (*Server, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the fake model: %w (in a new network namespace, lo must be brought up first)", err)
	}
	s := &Server{script: script, listener: listener, outputs: map[string]string{}}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve)}
	go func() { _ = s.server.Serve(listener) }() // ends when Close closes the listener
	return s, nil
}

// BaseURL is what a client's configuration calls the provider's base URL.
func (s *Server) BaseURL() string { return "http://" + s.listener.Addr().String() + "/v1" }

// Requests returns what came in so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Outputs returns what the client reported about the calls so far, by call ID.
func (s *Server) Outputs() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.outputs)
}

// Close stops listening and breaks off what is being answered.
func (s *Server) Close() error { return s.server.Close() }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Body: body})
	number := len(s.requests)
	s.mu.Unlock()

	if r.Method != http.MethodPost || r.URL.Path != "/v1/responses" {
		http.Error(w, fmt.Sprintf("the fake model has no %s %s", r.Method, r.URL.Path), http.StatusNotFound)
		return
	}
	found, err := outputs(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	maps.Copy(s.outputs, found)
	s.mu.Unlock()

	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = w.Write(stream(fmt.Sprintf("resp_%d", number), s.script.next(found))) // a client that went away asks again
}

// stream is an answer with these items as server-sent events.
func stream(id string, items []map[string]any) []byte {
	events := []map[string]any{{"type": "response.created", "response": map[string]any{"id": id}}}
	for i, item := range items {
		events = append(events, map[string]any{"type": "response.output_item.done", "output_index": i, "item": item})
	}
	events = append(events, map[string]any{"type": "response.completed", "response": map[string]any{
		"id": id,
		"usage": map[string]any{
			"input_tokens": 1, "input_tokens_details": nil,
			"output_tokens": 1, "output_tokens_details": nil, "total_tokens": 2,
		},
	}})
	var out bytes.Buffer
	for _, event := range events {
		data, err := json.Marshal(event)
		if err != nil {
			panic(err) // strings, numbers and maps of them always have a JSON form
		}
		fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", event["type"], data)
	}
	return out.Bytes()
}
