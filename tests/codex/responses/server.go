// SPDX-License-Identifier: Apache-2.0

package responses

import (
	"fmt"
	"net/http"

	"github.com/seed-649e9bbc/paddock/tests/model"
)

// Server is a running model. It is safe for concurrent use.
type Server struct {
	*model.Server[string]
}

// Request is one that the server got, whatever it answered.
type Request = model.Request

// Start listens on a free port of 127.0.0.1, in the network namespace of the calling thread.
func Start(script Script) (*Server, error) {
	s, err := model.Start("/v1/responses", func(body []byte) (map[string]string, func(http.ResponseWriter, int), error) {
		found, err := outputs(body)
		return found, func(w http.ResponseWriter, number int) {
			model.Send(w, events(fmt.Sprintf("resp_%d", number), script.next(found)))
		}, err
	})
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// BaseURL is what a client's configuration calls the provider's base URL.
func (s *Server) BaseURL() string { return s.URL() + "/v1" }

// Outputs returns what the client reported about the calls so far, by call ID.
func (s *Server) Outputs() map[string]string { return s.Told() }

// events are an answer with these items.
func events(id string, items []map[string]any) []map[string]any {
	out := []map[string]any{{"type": "response.created", "response": map[string]any{"id": id}}}
	for i, item := range items {
		out = append(out, map[string]any{"type": "response.output_item.done", "output_index": i, "item": item})
	}
	return append(out, map[string]any{"type": "response.completed", "response": map[string]any{
		"id": id,
		"usage": map[string]any{
			"input_tokens": 1, "input_tokens_details": nil,
			"output_tokens": 1, "output_tokens_details": nil, "total_tokens": 2,
		},
	}})
}
