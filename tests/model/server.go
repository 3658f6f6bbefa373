// SPDX-License-Identifier: Apache-2.0

// Package model has what the fake models of the tests have in common: a server on loopback that keeps what it was asked, and
// what it was told of each tool call, and answers with server-sent events.
package model

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

// Server is a running model that is told a T of each call. It is safe for concurrent use.
type Server[T any] struct {
	path     string
	read     Protocol[T]
	listener net.Listener
	server   *http.Server

	mu       sync.Mutex
	requests []Request
	told     map[string]T
}

// Request is one that the server got, whatever it answered.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// Protocol reads the body of a request: what it tells of the calls so far, by call ID, and who answers it. The number is the
// request's, from 1.
type Protocol[T any] func(body []byte) (told map[string]T, answer func(w http.ResponseWriter, number int), err error)

// Start listens on a free port of 127.0.0.1, in the network namespace of the calling thread. What is posted to the path is
// read by the protocol; there is nothing else.
func Start[T any](path string, read Protocol[T]) (*Server[T], error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("starting the fake model: %w (in a new network namespace, lo must be brought up first)", err)
	}
	s := &Server[T]{path: path, read: read, listener: listener, told: map[string]T{}}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve)}
	go func() { _ = s.server.Serve(listener) }() // ends when Close closes the listener
	return s, nil
}

// URL is where it listens, without a path.
func (s *Server[T]) URL() string { return "http://" + s.listener.Addr().String() }

// Requests returns what came in so far, oldest first.
func (s *Server[T]) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Told returns what the model was told of the calls so far, by call ID.
func (s *Server[T]) Told() map[string]T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.told)
}

// Close stops listening and breaks off what is being answered.
func (s *Server[T]) Close() error { return s.server.Close() }

func (s *Server[T]) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{Method: r.Method, Path: r.URL.Path, Header: r.Header.Clone(), Body: body})
	number := len(s.requests)
	s.mu.Unlock()

	if r.Method != http.MethodPost || r.URL.Path != s.path {
		http.Error(w, fmt.Sprintf("the fake model has no %s %s", r.Method, r.URL.Path), http.StatusNotFound)
		return
	}
	told, answer, err := s.read(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	maps.Copy(s.told, told)
	s.mu.Unlock()

	w.Header().Set("Content-Type", "text/event-stream")
	answer(w, number)
}

// Send writes server-sent events, each named by its type. A client that went away asks again.
func Send(w io.Writer, events []map[string]any) {
	var out bytes.Buffer
	for _, event := range events {
		fmt.Fprintf(&out, "event: %s\ndata: %s\n\n", event["type"], Encode(event))
	}
	_, _ = w.Write(out.Bytes())
}

// Encode is the JSON form of strings, numbers and maps of them.
func Encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // they always have one
	}
	return data
}
