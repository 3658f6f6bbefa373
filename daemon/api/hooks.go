// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"unicode/utf8"
)

// HookEvent is what an agent told its hook, for the record.
type HookEvent struct {
	Agent    string `json:"agent"` // whose protocol it was: codex, claude-code
	Event    string `json:"event"` // the agent's name of it: UserPromptSubmit, PostToolUse, ...
	Thread   string `json:"thread,omitempty"`
	Turn     string `json:"turn,omitempty"`
	Cwd      string `json:"cwd,omitempty"`
	Model    string `json:"model,omitempty"`
	Mode     string `json:"mode,omitempty"` // the agent's own permission mode
	Tool     string `json:"tool,omitempty"`
	ToolCall string `json:"tool_call,omitempty"`
	Input    string `json:"input,omitempty"`  // of the tool: JSON
	Result   string `json:"result,omitempty"` // of the tool
	Prompt   string `json:"prompt,omitempty"`
	Message  string `json:"message,omitempty"` // the agent's last words
	Detail   string `json:"detail,omitempty"`  // why a session began or ended
	// Cut names the fields that are not whole.
	Cut []string `json:"cut,omitempty"`
}

// MaxHookValue bounds each text of a HookEvent, in bytes.
const MaxHookValue = 4 << 10

// Truncate cuts every text to MaxHookValue and says so in Cut.
func (e *HookEvent) Truncate() {
	for _, f := range e.texts() {
		if len(*f.value) > MaxHookValue {
			n := MaxHookValue
			for n > MaxHookValue-utf8.UTFMax && !utf8.RuneStart((*f.value)[n]) {
				n--
			}
			*f.value = (*f.value)[:n]
			e.Cut = append(e.Cut, f.name)
		}
	}
}

type hookText struct {
	name  string
	value *string
}

func (e *HookEvent) texts() []hookText {
	return []hookText{
		{"agent", &e.Agent},
		{"event", &e.Event},
		{"thread", &e.Thread},
		{"turn", &e.Turn},
		{"cwd", &e.Cwd},
		{"model", &e.Model},
		{"mode", &e.Mode},
		{"tool", &e.Tool},
		{"tool_call", &e.ToolCall},
		{"input", &e.Input},
		{"result", &e.Result},
		{"prompt", &e.Prompt},
		{"message", &e.Message},
		{"detail", &e.Detail},
	}
}

// recordHook is for governed processes: a hook is the agent's child.
func (s *Server) recordHook(r *http.Request) (any, error) {
	peer := connOf(r).peer
	if !peer.Alive() {
		return nil, refused(http.StatusForbidden, "process %d, which connected, has ended", peer.PID)
	}
	var e HookEvent
	if err := readBody(r.Body, &e); err != nil {
		return nil, err
	}
	if e.Event == "" {
		return nil, refused(http.StatusBadRequest, "reading the request: event is empty")
	}
	if len(e.Cut) > len(e.texts()) {
		return nil, refused(http.StatusBadRequest, "reading the request: cut has %d entries", len(e.Cut))
	}
	e.Truncate() // whatever the client did
	return struct{}{}, s.backend.RecordHook(r.Context(), peer, e)
}

// governed tells whether a process belongs to a session, to who is to believe it.
func (s *Server) governed(r *http.Request) (any, error) {
	if err := s.ungoverned(r); err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(r.URL.Query().Get("pid"))
	if err != nil || pid <= 0 {
		return nil, refused(http.StatusBadRequest, "parameter pid=%q: not the number of a process", r.URL.Query().Get("pid"))
	}
	return governedAnswer{s.backend.Governed(pid)}, nil
}

type governedAnswer struct {
	Governed bool `json:"governed"`
}

// RecordHook has recorded what an agent told its hook, for the session the calling
// process belongs to.
func (c *Client) RecordHook(ctx context.Context, e HookEvent) error {
	e.Truncate()
	var out struct{}
	return c.ask(ctx, http.MethodPost, "/v1/hooks", e, &out)
}

// Governed asks whether a process belongs to a session now.
func (c *Client) Governed(ctx context.Context, pid int) (bool, error) {
	var out governedAnswer
	err := c.ask(ctx, http.MethodGet, "/v1/governed?"+url.Values{"pid": {strconv.Itoa(pid)}}.Encode(), nil, &out)
	return out.Governed, err
}
