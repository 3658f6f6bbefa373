// SPDX-License-Identifier: Apache-2.0

package messages

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

// A conversation of a test is some 200 KB; this only keeps a client gone wild from filling the memory.
const maxBody = 64 << 20

// Server is a running model. It is safe for concurrent use.
type Server struct {
	script   Script
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	requests []Request
	results  map[string]Result
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
	s := &Server{script: script, listener: listener, results: map[string]Result{}}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve)}
	go func() { _ = s.server.Serve(listener) }() // ends when Close closes the listener
	return s, nil
}

// BaseURL is what ANTHROPIC_BASE_URL is to say.
func (s *Server) BaseURL() string { return "http://" + s.listener.Addr().String() }

// Requests returns what came in so far, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Results returns what the model was told of the calls so far, by call ID.
func (s *Server) Results() map[string]Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.results)
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

	if r.Method != http.MethodPost || r.URL.Path != "/v1/messages" {
		http.Error(w, fmt.Sprintf("the fake model has no %s %s", r.Method, r.URL.Path), http.StatusNotFound)
		return
	}
	asked, err := read(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	maps.Copy(s.results, asked.results())
	s.mu.Unlock()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Request-Id", fmt.Sprintf("req_%03d", number))
	block, stop := s.script.next(&asked)
	_, _ = w.Write(stream(fmt.Sprintf("msg_%03d", number), asked.Model, block, stop)) // a client that went away asks again
}

// stream is an answer of one block as server-sent events.
func stream(id, model string, block map[string]any, stop string) []byte {
	// A block starts empty, and comes in pieces.
	empty := maps.Clone(block)
	var delta map[string]any
	switch block["type"] {
	case "tool_use":
		empty["input"] = map[string]any{}
		delta = map[string]any{"type": "input_json_delta", "partial_json": string(encode(block["input"]))}
	case "text":
		empty["text"] = ""
		delta = map[string]any{"type": "text_delta", "text": block["text"]}
	}
	events := []map[string]any{
		{"type": "message_start", "message": map[string]any{
			"id": id, "type": "message", "role": "assistant", "model": model, "content": []any{},
			"stop_reason": nil, "stop_sequence": nil, "usage": map[string]any{"input_tokens": 11, "output_tokens": 1},
		}},
		{"type": "content_block_start", "index": 0, "content_block": empty},
		{"type": "content_block_delta", "index": 0, "delta": delta},
		{"type": "content_block_stop", "index": 0},
		{
			"type": "message_delta", "delta": map[string]any{"stop_reason": stop, "stop_sequence": nil},
			"usage": map[string]any{"output_tokens": 7},
		},
		{"type": "message_stop"},
	}
	var out bytes.Buffer
	for _, event := range events {
		fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", event["type"], encode(event))
	}
	return out.Bytes()
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, numbers and maps of them always have a JSON form
	}
	return data
}
