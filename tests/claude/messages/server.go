// SPDX-License-Identifier: Apache-2.0

package messages

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/seed-649e9bbc/paddock/tests/model"
)

// Server is a running model. It is safe for concurrent use.
type Server struct {
	*model.Server[Result]
}

// Request is one that the server got, whatever it answered.
type Request = model.Request

// Start listens on a free port of 127.0.0.1, in the network namespace of the calling thread.
func Start(script Script) (*Server, error) {
	s, err := model.Start("/v1/messages", func(body []byte) (map[string]Result, func(http.ResponseWriter, int), error) {
		asked, err := read(body)
		if err != nil {
			return nil, nil, err
		}
		return asked.results(), func(w http.ResponseWriter, number int) {
			w.Header().Set("Request-Id", fmt.Sprintf("req_%03d", number))
			block, stop := script.next(&asked)
			model.Send(w, events(fmt.Sprintf("msg_%03d", number), asked.Model, block, stop))
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// BaseURL is what ANTHROPIC_BASE_URL is to say.
func (s *Server) BaseURL() string { return s.URL() }

// Results returns what the model was told of the calls so far, by call ID.
func (s *Server) Results() map[string]Result { return s.Told() }

// events are an answer of one block.
func events(id, name string, block map[string]any, stop string) []map[string]any {
	// A block starts empty, and comes in pieces.
	empty := maps.Clone(block)
	var delta map[string]any
	switch block["type"] {
	case "tool_use":
		empty["input"] = map[string]any{}
		delta = map[string]any{"type": "input_json_delta", "partial_json": string(model.Encode(block["input"]))}
	case "text":
		empty["text"] = ""
		delta = map[string]any{"type": "text_delta", "text": block["text"]}
	}
	return []map[string]any{
		{"type": "message_start", "message": map[string]any{
			"id": id, "type": "message", "role": "assistant", "model": name, "content": []any{},
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
}
