// SPDX-License-Identifier: Apache-2.0

// Package messages is a model made of a list: a server of Anthropic's Messages API on loopback that answers every turn with
// the next tool call of a script, and at its end with a message. It keeps what it was asked, so that a test can see what the
// model is told of each call.
//
// The protocol, as Claude Code 2.1 speaks it: POST /v1/messages with the whole conversation in "messages" and
// "stream": true; the answer is a stream of server-sent events.
package messages

import (
	"encoding/json"
	"fmt"
)

// Call is one tool call that the model makes.
type Call struct {
	ID    string // tool_use_id
	Name  string // the tool
	Input map[string]any
	// Before is run when the model is about to ask for it; the answer waits for it. A request that is repeated runs it again.
	Before func()
}

// Bash is a call of Claude Code's shell tool.
func Bash(id, command string) Call {
	return Call{ID: id, Name: "Bash", Input: map[string]any{"command": command, "description": "Run it"}}
}

// Script is what the model does.
type Script struct {
	Calls []Call // in this order, one in each turn
	Last  string // what it says after them
}

// Result is what the client reports about a call.
type Result struct {
	Text    string
	IsError bool
}

// request is what is read of one.
type request struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Tools []struct {
		Name string `json:"name"`
	} `json:"tools"`
}

// agent tells the conversation with the user from what Claude Code asks besides (a title for it): that has no tools.
func (r *request) agent() bool { return len(r.Tools) > 0 }

// results finds what the client reports about the calls, by their id.
func (r *request) results() map[string]Result {
	found := map[string]Result{}
	for _, m := range r.Messages {
		var blocks []struct {
			Type      string          `json:"type"`
			ToolUseID string          `json:"tool_use_id"`
			Content   json.RawMessage `json:"content"`
			IsError   bool            `json:"is_error"`
		}
		if json.Unmarshal(m.Content, &blocks) != nil {
			continue // a message that is only text
		}
		for _, b := range blocks {
			if b.Type == "tool_result" {
				found[b.ToolUseID] = Result{text(b.Content), b.IsError}
			}
		}
	}
	return found
}

// text reads the two forms of a content: a string, or a list of blocks with text in them. Anything else stays as it is.
func text(content json.RawMessage) string {
	var whole string
	if json.Unmarshal(content, &whole) == nil {
		return whole
	}
	var blocks []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &blocks) != nil {
		return string(content)
	}
	for _, b := range blocks {
		whole += b.Text
	}
	return whole
}

func read(body []byte) (request, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return request{}, fmt.Errorf("reading a request for the Messages API: %w", err)
	}
	return r, nil
}

// next is the answer to a conversation: the first call that has no result in it yet. It depends on nothing else, so a request
// that the client repeats gets the same answer.
func (s Script) next(r *request) (block map[string]any, stop string) {
	if r.agent() {
		results := r.results()
		for _, call := range s.Calls {
			if _, done := results[call.ID]; !done {
				if call.Before != nil {
					call.Before()
				}
				return map[string]any{"type": "tool_use", "id": call.ID, "name": call.Name, "input": call.Input}, "tool_use"
			}
		}
	}
	return map[string]any{"type": "text", "text": s.Last}, "end_turn"
}
