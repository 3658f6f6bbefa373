// SPDX-License-Identifier: Apache-2.0

package messages

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func ask(t *testing.T, url, body string) (int, string) {
	t.Helper()
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func TestConversation(t *testing.T) {
	ready := 0
	calls := []Call{Bash("toolu_a", "ls"), Bash("toolu_b", `echo "x"`)}
	calls[1].Before = func() { ready++ }
	s, err := Start(Script{Calls: calls, Last: "bye"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url := s.BaseURL() + "/v1/messages"
	const tools = `"model":"m","tools":[{"name":"Bash"}],`
	const first = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_a","content":"one"}]}`
	const second = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_b","is_error":true,"content":[{"type":"text","text":"t"},{"type":"text","text":"wo"}]}]}`
	turns := []struct {
		name, body, want string
		ready            int
	}{
		{"nothing done yet", `{` + tools + `"messages":[{"role":"user","content":"go"}]}`, `"id":"toolu_a"`, 0},
		{"the same request again", `{` + tools + `"messages":[{"role":"user","content":"go"}]}`, `"id":"toolu_a"`, 0},
		{"the first is done", `{` + tools + `"messages":[` + first + `]}`, `\"command\":\"echo \\\"x\\\"\"`, 1},
		{"all are done", `{` + tools + `"messages":[` + first + `,` + second + `]}`, `"text":"bye"`, 1},
		{"another question, without tools", `{"model":"m","messages":[{"role":"user","content":"a title?"}]}`, `"text":"bye"`, 1},
	}
	for _, turn := range turns {
		status, text := ask(t, url, turn.body)
		if status != http.StatusOK || !strings.Contains(text, turn.want) || ready != turn.ready {
			t.Errorf("%s: status %d, made ready %d times, want %s in\n%s", turn.name, status, ready, turn.want, text)
		}
		if !strings.HasPrefix(text, "event: message_start\n") || !strings.Contains(text, "\n\nevent: message_stop\n") {
			t.Errorf("%s: not a whole stream:\n%s", turn.name, text)
		}
	}
	if got := s.Results(); len(got) != 2 || got["toolu_a"] != (Result{"one", false}) || got["toolu_b"] != (Result{"two", true}) {
		t.Errorf("Results() = %v", got)
	}
	if got := s.Requests(); len(got) != len(turns) || got[0].Path != "/v1/messages" {
		t.Errorf("%d requests kept, want %d", len(got), len(turns))
	}
	if status, _ := ask(t, url, "{"); status != http.StatusBadRequest {
		t.Errorf("broken JSON: status %d, want 400", status)
	}
	if status, _ := ask(t, s.BaseURL()+"/other", "{}"); status != http.StatusNotFound {
		t.Errorf("unknown path: status %d, want 404", status)
	}
}
