// SPDX-License-Identifier: Apache-2.0

// Package responses is a model made of a list: a server of OpenAI's Responses API on loopback that answers every turn
// with the next tool call of a script, and at its end with a message. It keeps what it was asked, so that a test can see
// what came of each call.
//
// The protocol, as Codex 0.169.0 speaks it with `wire_api = "responses"`: POST {base}/responses with the whole
// conversation in "input"; the answer is a stream of server-sent events, of which response.created,
// response.output_item.done (once for each item) and response.completed are enough.
package responses

import (
	"encoding/json"
	"fmt"
)

// Call is one tool call that the model makes.
type Call struct {
	ID        string // Codex hands it on as CODEX_TOOL_CALL_ID
	Name      string // the tool
	Namespace string // of the tool; of an MCP server's, "mcp__" and the server's name
	Arguments string // a JSON object
	// Before is run when the model is about to ask for it; the answer waits for it. A request that is repeated runs it again.
	Before func()
}

// ExecCommand is a call of Codex's shell tool. The command must end within yieldMillis, or Codex answers without its
// exit status; Codex 0.169.0 takes at most 30000.
func ExecCommand(id, command string, yieldMillis int) Call {
	arguments, err := json.Marshal(map[string]any{"cmd": command, "yield_time_ms": yieldMillis})
	if err != nil {
		panic(err) // strings and numbers always have a JSON form
	}
	return Call{ID: id, Name: "exec_command", Arguments: string(arguments)}
}

// Script is what the model does.
type Script struct {
	Calls []Call // in this order, one in each turn
	Last  string // what it says after them

	// Together puts all calls into the first turn. Codex 0.169.0 then runs them at the same time.
	Together bool
}

// next is the answer to a conversation: the calls that have no output in it yet, or the first of them. It depends on
// nothing else, so a request that the client repeats gets the same answer.
func (s Script) next(outputs map[string]string) []map[string]any {
	var items []map[string]any
	for _, call := range s.Calls {
		if _, done := outputs[call.ID]; done {
			continue
		}
		if call.Before != nil {
			call.Before()
		}
		item := map[string]any{
			"type": "function_call", "id": "fc_" + call.ID, "call_id": call.ID,
			"name": call.Name, "arguments": call.Arguments,
		}
		if call.Namespace != "" {
			item["namespace"] = call.Namespace
		}
		items = append(items, item)
		if !s.Together {
			break
		}
	}
	if len(items) > 0 {
		return items
	}
	return []map[string]any{{
		"type": "message", "id": "msg_last", "role": "assistant",
		"content": []map[string]any{{"type": "output_text", "text": s.Last}},
	}}
}

// outputs finds what the client reports about the calls in a request's body: text by call ID.
func outputs(body []byte) (map[string]string, error) {
	var request struct {
		Input []struct {
			Type   string          `json:"type"`
			CallID string          `json:"call_id"`
			Output json.RawMessage `json:"output"`
		} `json:"input"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("reading a request for the Responses API: %w", err)
	}
	found := map[string]string{}
	for _, item := range request.Input {
		if item.Type == "function_call_output" {
			found[item.CallID] = text(item.Output)
		}
	}
	return found, nil
}

// text reads the two forms of an output: a string, or a list of parts with text in them. Anything else stays as it is.
func text(output json.RawMessage) string {
	var whole string
	if json.Unmarshal(output, &whole) == nil {
		return whole
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(output, &parts) != nil {
		return string(output)
	}
	for _, part := range parts {
		whole += part.Text
	}
	return whole
}
