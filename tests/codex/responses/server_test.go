// SPDX-License-Identifier: Apache-2.0

package responses

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
	s, err := Start(Script{Calls: []Call{ExecCommand("call_a", "ls", 1000), ExecCommand("call_b", `echo "x"`, 1000)}, Last: "bye"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	url := s.BaseURL() + "/responses"

	turns := []struct{ name, body, want string }{
		{"nothing done yet", `{"input":[{"type":"message"}]}`, `"call_id":"call_a"`},
		{"the same request again", `{"input":[{"type":"message"}]}`, `"call_id":"call_a"`},
		{"the first is done", `{"input":[{"type":"function_call_output","call_id":"call_a","output":"one"}]}`, `"arguments":"{\"cmd\":\"echo \\\"x\\\"\",`},
		{
			"all are done",
			`{"input":[{"type":"function_call_output","call_id":"call_a","output":"one"},
			           {"type":"function_call_output","call_id":"call_b","output":[{"type":"input_text","text":"t"},{"type":"input_text","text":"wo"}]}]}`,
			`"text":"bye"`,
		},
	}
	for _, turn := range turns {
		status, text := ask(t, url, turn.body)
		if status != http.StatusOK || !strings.Contains(text, turn.want) {
			t.Errorf("%s: status %d, want %s in\n%s", turn.name, status, turn.want, text)
		}
		if !strings.HasPrefix(text, "event: response.created\n") || !strings.Contains(text, "\n\nevent: response.completed\n") {
			t.Errorf("%s: not a whole stream:\n%s", turn.name, text)
		}
	}
	if got := s.Outputs(); len(got) != 2 || got["call_a"] != "one" || got["call_b"] != "two" {
		t.Errorf("Outputs() = %q", got)
	}
	if got := s.Requests(); len(got) != len(turns) || got[0].Path != "/v1/responses" {
		t.Errorf("%d requests kept, want %d", len(got), len(turns))
	}
}

func TestTogether(t *testing.T) {
	s := Script{Calls: []Call{{ID: "a"}, {ID: "b"}}, Together: true}
	if got := s.next(nil); len(got) != 2 {
		t.Errorf("first turn: %d items, want both calls", len(got))
	}
	if got := s.next(map[string]string{"a": ""}); len(got) != 1 || got[0]["call_id"] != "b" {
		t.Errorf("one done: %v, want the other", got)
	}
	if got := s.next(map[string]string{"a": "", "b": ""}); len(got) != 1 || got[0]["type"] != "message" {
		t.Errorf("both done: %v, want a message", got)
	}
}

func TestRefused(t *testing.T) {
	s, err := Start(Script{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if status, _ := ask(t, s.BaseURL()+"/responses", "{"); status != http.StatusBadRequest {
		t.Errorf("broken JSON: status %d, want 400", status)
	}
	if status, _ := ask(t, s.BaseURL()+"/other", "{}"); status != http.StatusNotFound {
		t.Errorf("unknown path: status %d, want 404", status)
	}
}

func FuzzOutputs(f *testing.F) {
	f.Add([]byte(`{"input":[{"type":"function_call_output","call_id":"a","output":[{"text":"x"}]}]}`))
	f.Add([]byte(`{"input":[{"type":"function_call_output","call_id":"a","output":null}]}`))
	f.Add([]byte(`{"input":"text"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := outputs(body)
		if err == nil && found == nil {
			t.Error("neither outputs nor an error")
		}
	})
}
