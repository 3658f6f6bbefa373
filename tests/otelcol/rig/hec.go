// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// HEC is VictoriaLogs, which tests/hec/install.sh builds: a database that takes what Splunk's HTTP Event Collector takes. It
// can be started and stopped again and again, and keeps what it has.
type HEC struct {
	Server
	address, dir string
}

// hecBinary is VictoriaLogs.
const hecBinary = "../../.cache/hec/victoria-logs"

// hecToken is what it wants to be shown.
const hecToken = "0123-4567"

// NewHEC makes one that does not run yet, and ends with the test.
func NewHEC(t *testing.T) *HEC {
	t.Helper()
	if _, err := os.Stat(hecBinary); err != nil {
		t.Fatalf("there is no VictoriaLogs: run `make setup` (%v)", err)
	}
	h := &HEC{address: FreeAddress(t), dir: filepath.Join(t.TempDir(), "logs")}
	h.Init(t, "VictoriaLogs")
	return h
}

// Endpoint is where it listens.
func (h *HEC) Endpoint() string { return "http://" + h.address }

// Authorization is the header that it wants, or another one, as Splunk takes it as well: the token is the password.
func Authorization(right bool) string {
	token := hecToken
	if !right {
		token = "wrong"
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token))
}

// Start waits until it listens. What it is told besides is in the words of its command line.
func (h *HEC) Start(more ...string) {
	h.t.Helper()
	args := append([]string{
		"-storageDataPath=" + h.dir, "-httpListenAddr=" + h.address, "-httpAuth.username=x", "-httpAuth.password=" + hecToken,
		"-splunk.maxRequestSize=262144", "-splunk.preserveJSONKeys=event,fields", "-retentionPeriod=100y", "-memory.allowedBytes=64MiB",
	}, more...)
	h.Run(exec.Command(hecBinary, args...))
	h.Says("started server at " + h.Endpoint())
}

// Splunk is an event as a search in Splunk would show it.
type Splunk struct {
	Time         time.Time
	Host         string
	Source, Type string
	ID, Name     string // the indexed fields
	Session      string
	Event        map[string]any // numbers are json.Number
	Others       []string       // names of fields that nobody documents
}

// Events returns what it has, as often as it has it, in the order of time and id.
func (h *HEC) Events() []Splunk {
	h.t.Helper()
	h.ask("/internal/force_flush", nil)
	// Everything, and without a limit.
	body := h.ask("/select/logsql/query", url.Values{"query": {"_time:[1970-01-02, 2200-01-01] *"}, "limit": {"0"}})
	var out []Splunk
	for line := range bytes.Lines(body) {
		var in struct {
			Time       time.Time `json:"_time"`
			Message    string    `json:"_msg"`
			Fields     string    `json:"fields"`
			Host       string    `json:"host"`
			Source     string    `json:"source"`
			SourceType string    `json:"sourcetype"`
		}
		if err := json.Unmarshal(line, &in); err != nil {
			h.t.Fatalf("%s: %v", line, err)
		}
		fields := h.object(in.Fields)
		e := Splunk{Time: in.Time, Host: in.Host, Source: in.Source, Type: in.SourceType, Event: h.object(in.Message)}
		for name, to := range map[string]*string{telemetry.AttrRecordUID: &e.ID, telemetry.AttrEventName: &e.Name, telemetry.AttrSessionID: &e.Session} {
			*to, _ = fields[name].(string)
			delete(fields, name)
		}
		for name := range fields {
			e.Others = append(e.Others, name)
		}
		out = append(out, e)
	}
	slices.SortFunc(out, Splunk.Compare)
	return out
}

// Compare orders events by time and id.
func (s Splunk) Compare(other Splunk) int {
	return cmp.Or(s.Time.Compare(other.Time), cmp.Compare(s.ID, other.ID))
}

// SplunkOf is how an event, as the store has it, must be there.
func (h *HEC) SplunkOf(e telemetry.Event, host string) Splunk {
	h.t.Helper()
	text, err := json.Marshal(e)
	if err != nil {
		h.t.Fatal(err)
	}
	return Splunk{
		Time: e.Time.Truncate(time.Millisecond), Host: host, Source: "paddock", Type: "paddock:event",
		ID: e.ID, Name: e.Name, Session: e.Session, Event: h.object(string(text)),
	}
}

func (h *HEC) object(text string) map[string]any {
	h.t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber() // as they are written, to the last digit
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		h.t.Fatalf("%q: %v", text, err)
	}
	return out
}

func (h *HEC) ask(path string, form url.Values) []byte {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.Endpoint()+path+"?"+form.Encode(), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", Authorization(true))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("asking VictoriaLogs for %s: %s, %v: %s", path, resp.Status, err, body)
	}
	return body
}
