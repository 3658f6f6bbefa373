// SPDX-License-Identifier: Apache-2.0

package codex

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/join"
	"github.com/seed-649e9bbc/paddock/tests/codex/responses"
	"github.com/seed-649e9bbc/paddock/tests/otelcol/rig"
	"github.com/seed-649e9bbc/paddock/tests/pty"
)

// Hosts of the story, all on loopback.
const (
	trackerHost = "192.0.2.10"
	pasteHost   = "192.0.2.12"
)

const storyPrompt = "publish the release notes, and look who waits for them"

// storyRequirements are those of a company that lets agents reach its tracker. Where the tests' model listens changes.
const storyRequirements = `
[rules]
prefix_rules = [
  { pattern = [{ token = "curl" }, { token = "-T" }], decision = "prompt", justification = "uploads are looked at" },
  { pattern = [{ token = "scp" }], decision = "forbidden", justification = "use the tracker" },
]
[experimental_network]
enabled = true
managed_allowed_domains_only = true
[experimental_network.domains]
"tracker.test" = "allow"
"paste.test" = "deny"
[permissions.filesystem]
deny_read = [%q]
[paddock]
mode = "enforce"
[paddock.telemetry]
endpoint = %q
prompts = "record"
[[paddock.network.rules]]
cidr = "127.0.0.0/8"
decision = "allow"
`

// storyConfig is what docs/telemetry.md tells administrators to write into Codex's configuration, and an MCP server.
const storyConfig = `
[otel]
log_user_prompt = true
exporter = { otlp-http = { endpoint = "http://127.0.0.1:4328/v1/logs", protocol = "binary" } }
trace_exporter = { otlp-http = { endpoint = "http://127.0.0.1:4328/v1/traces", protocol = "binary" } }
metrics_exporter = { otlp-http = { endpoint = "http://127.0.0.1:4328/v1/metrics", protocol = "binary" } }
[features] # what takes time here and does nothing for the story
plugins = false
apps = false
remote_plugin = false
shell_snapshot = false
[mcp_servers.tracker]
command = %q
args = [%q]
`

// TestGovernedStory is run by TestUnderPaddock in the guest. The real Codex is asked for something, fetches a file, is kept
// from a command, from a host and from a file, has a person asked, and uses an MCP server; then Paddock tells why, and the real
// Collector has every record of it.
func TestGovernedStory(t *testing.T) {
	if os.Getenv("PADDOCK_VM") == "" {
		return // not a skip: TestUnderPaddock runs it where it can run
	}
	sites(t)
	collector := rig.New(t)
	collector.Start(rig.Willing)
	payroll := filepath.Join(t.TempDir(), "payroll")
	if err := os.WriteFile(payroll, []byte("what nobody may read"), 0o644); err != nil {
		t.Fatal(err)
	}
	paddock := startPaddock(t, fmt.Sprintf(storyRequirements, payroll, collector.Endpoint()))
	answered := make(chan error, 1)
	go func() { answered <- approveFirst(t.Context(), paddock) }()

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	commands := []string{
		"curl -sS -o notes http://tracker.test/notes && cat notes",
		"scp notes dev@tracker.test:",
		"curl -sS -m 60 http://paste.test/",
		"curl -T notes -sS http://tracker.test/release",
		"cat " + payroll,
	}
	result, err := Run(t.Context(), Options{
		Dir: t.TempDir(), Commands: commands, Prompt: storyPrompt, Sandbox: "danger-full-access",
		Tools:      []responses.Call{{ID: "call_mcp", Namespace: "mcp__tracker", Name: "fetch", Arguments: `{"url":"http://tracker.test/waiting"}`}},
		ConfigTOML: fmt.Sprintf(storyConfig, self, serveMCP),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("answering: %v", err)
	}
	for i, want := range []string{"GET /notes", "not permitted", `"paste.test\" = \"deny\"`, "PUT /release", payroll + ": ", "GET /waiting"} {
		if got := result.Calls[i]; !strings.Contains(got.Output, want) || strings.Contains(got.Output, "served paste.test") || strings.Contains(got.Output, "what nobody") {
			t.Errorf("call %s: %+v", got.ID, got)
		}
	}
	if t.Failed() {
		t.Logf("codex: %s", result.Output)
	}
	before := events(t, paddock)
	checkStory(t, paddock, before)
	checkFile(t, paddock, payroll, result.Calls[4].ID)
	checkCollector(t, paddock, collector, before)
}

// sites serves what the story reaches for.
func sites(t *testing.T) {
	t.Helper()
	hosts, err := os.OpenFile("/etc/hosts", os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644) // the guest's
	if err != nil {
		t.Fatal(err)
	}
	defer hosts.Close()
	for name, address := range map[string]string{"tracker.test": trackerHost, "paste.test": pasteHost} {
		if _, err := fmt.Fprintf(hosts, "\n%s %s\n", address, name); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("ip", "route", "add", "local", address, "dev", "lo").CombinedOutput(); err != nil { // an address of the machine's own is near
			t.Fatalf("ip route add: %v: %s", err, out)
		}
		l, err := net.Listen("tcp", net.JoinHostPort(address, "80"))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "served %s: %s %s\n", r.Host, r.Method, r.URL.Path)
		})}
		t.Cleanup(func() { s.Close() })
		go func() { _ = s.Serve(l) }() // ends with Close
	}
}

// approveFirst is a person at a terminal who allows the first thing that is asked.
func approveFirst(ctx context.Context, paddock string) error {
	return answerAll(ctx, paddock, func(api.Approval) []string { return []string{"approve"} }, 1)
}

// answerAll is a person at a terminal who answers the first n questions, each with a command and its options.
func answerAll(ctx context.Context, paddock string, answer func(api.Approval) []string, n int) error {
	client := api.NewClient("/run/paddock/paddock.sock")
	for change, err := range client.Approvals(ctx, true) {
		if err != nil {
			return err
		}
		if change.Approval == nil || change.Approval.State != approval.Pending {
			continue
		}
		if err := typed(ctx, paddock, append(answer(*change.Approval), change.Approval.ID)...); err != nil {
			return err
		}
		if n--; n == 0 {
			return nil
		}
	}
	return ctx.Err()
}

// typed runs a command on a terminal of its own.
func typed(ctx context.Context, name string, args ...string) error {
	master, slave, err := pty.Open()
	if err != nil {
		return err
	}
	defer master.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return err
	}
	said := make([]byte, 4096)
	n, _ := master.Read(said)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, said[:n])
	}
	return nil
}

// says runs a client command.
func says(t *testing.T, paddock string, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command(paddock, args...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("paddock %q: %v: %s", args, err, errs.String())
	}
	return out
}

// events returns what is stored, oldest first.
func events(t *testing.T, paddock string) []telemetry.Event {
	t.Helper()
	var out []telemetry.Event
	for line := range bytes.Lines(says(t, paddock, "events", "--json", "--limit", "0")) {
		var e telemetry.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// checkStory asks why the programs ran, by number, when they are long gone.
func checkStory(t *testing.T, paddock string, all []telemetry.Event) {
	t.Helper()
	curls := map[string]any{} // what it was told last: its number
	var session string
	for _, e := range all {
		args, _ := e.Attrs[telemetry.AttrProcessCommandArgs].([]string)
		if e.Name == telemetry.NameProcessExec && len(args) > 0 && args[0] == "curl" {
			curls[args[len(args)-1]] = e.Attrs[telemetry.AttrProcessPID]
			session = e.Session
		}
		for _, fault := range telemetry.Undocumented(e) {
			t.Errorf("docs/events.md does not say so: %s", fault)
		}
	}
	for _, test := range []struct {
		url, tool, server, decisions, reached string
		confidence                            join.Confidence
	}{
		{"http://tracker.test/release", "exec_command", "", "config allow, paddock asked, person allowed", "tracker.test allow", join.Exact},
		{"http://paste.test/", "exec_command", "", "config allow, paddock deny", "paste.test deny", join.Exact},
		{"http://tracker.test/waiting", "fetch", "tracker", "", "tracker.test allow", join.Medium},
	} {
		pid := fmt.Sprint(curls[test.url])
		var s join.Story
		if err := json.Unmarshal(says(t, paddock, "explain", "--json", pid), &s); err != nil {
			t.Fatal(err)
		}
		if s.Prompt == nil || s.Prompt.Text != storyPrompt {
			t.Errorf("%s: prompt %+v", test.url, s.Prompt)
		}
		c := s.Call
		if c == nil {
			t.Errorf("%s: no tool call", test.url)
			continue
		}
		var decisions, reached []string
		for _, d := range c.Decisions {
			decisions = append(decisions, d.By+" "+d.What)
		}
		for _, n := range append(slices.Clone(c.Network), s.Network...) {
			reached = append(reached, n.Host+" "+n.Decision.What)
		}
		if c.Tool != test.tool || c.MCPServer != test.server || c.Link == nil || c.Link.Confidence != test.confidence || c.Result == nil || c.Turn == "" {
			t.Errorf("%s: %+v, link %+v, result %+v", test.url, c, c.Link, c.Result)
		}
		if got := strings.Join(decisions, ", "); got != test.decisions {
			t.Errorf("%s: decided %s, want %s", test.url, got, test.decisions)
		}
		if got := strings.Join(reached, ", "); got != test.reached {
			t.Errorf("%s: reached %s, want %s", test.url, got, test.reached)
		}
	}
	t.Logf("paddock explain\n%s", says(t, paddock, "explain", fmt.Sprint(curls["http://tracker.test/release"])))
	timeline := string(says(t, paddock, "sessions", "show", session))
	report := filepath.Join(t.TempDir(), "report.html")
	says(t, paddock, "report", "--session", session, "-o", report)
	page, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{storyPrompt, "uploads are looked at", "use the tracker", "paste.test", "call_mcp"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
	for _, want := range []string{storyPrompt, "tracker: fetch", "1 STOPPED"} {
		if !strings.Contains(timeline, want) {
			t.Errorf("the timeline does not say %q", want)
		}
	}
}

// checkFile asks who wanted a file that nobody got.
func checkFile(t *testing.T, paddock, file, call string) {
	t.Helper()
	var s join.Story
	if err := json.Unmarshal(says(t, paddock, "explain", "--json", file), &s); err != nil {
		t.Fatal(err)
	}
	if s.Prompt == nil || s.Prompt.Text != storyPrompt || s.Call == nil || s.Call.ID != call || s.Process == nil || s.Process.Args[0] != "cat" {
		t.Errorf("%s: prompt %+v, call %+v (want %s), process %+v", file, s.Prompt, s.Call, call, s.Process)
	}
	told := append([]join.File(nil), s.Files...)
	if s.Call != nil {
		told = append(told, s.Call.Files...)
	}
	if len(told) == 0 || told[0].Path != file || told[0].Decision.What != "deny" || told[0].Decision.By != "paddock" {
		t.Errorf("%s: the story has of files %+v", file, told)
	}
	text := string(says(t, paddock, "explain", file))
	for _, want := range []string{storyPrompt, call, "cat " + file, "it may not be read"} {
		if !strings.Contains(text, want) {
			t.Errorf("paddock explain %s does not say %q:\n%s", file, want, text)
		}
	}
}

// checkCollector compares what is stored with what the Collector got, before and later.
func checkCollector(t *testing.T, paddock string, collector *rig.Collector, before []telemetry.Event) {
	t.Helper()
	client := api.NewClient("/run/paddock/paddock.sock")
	ctx, cancel := context.WithTimeout(t.Context(), rig.Patience)
	defer cancel()
	var status api.Status
	for {
		var err error
		if status, err = client.Status(ctx); err != nil {
			t.Fatal(err)
		}
		if len(status.Sinks) == 1 && status.Sinks[0].Waiting == 0 {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the Collector does not get everything: %+v", status.Sinks)
		case <-time.After(100 * time.Millisecond):
		}
	}
	collector.Stop()
	for _, identity := range status.Identities {
		if !identity.Holds {
			t.Errorf("%s: %d is not %d", identity.Name, identity.Left, identity.Right)
		}
	}
	stored := map[string]telemetry.Event{}
	for _, e := range events(t, paddock) {
		stored[e.ID] = e
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	resource := map[string]any{
		"service.name": "paddock", "service.version": status.Version, "host.name": host, "os.type": "linux", "os.version": status.Kernel,
	}
	came := map[string]bool{}
	for _, record := range collector.Read() {
		got := rig.Form(record)
		id, _ := got.Attributes[telemetry.AttrRecordUID].(string)
		e, known := stored[id]
		if !known {
			t.Errorf("a record arrived that is not stored: %v", record.LogRecord)
			continue
		}
		if diff := cmp.Diff(rig.Expected(e, resource), got); diff != "" {
			t.Errorf("event %d %s, stored (-) and arrived (+):\n%s", e.Seq, e.Name, diff)
		}
		came[id] = true
	}
	for _, e := range before {
		if !came[e.ID] {
			t.Errorf("event %d %s did not arrive", e.Seq, e.Name)
		}
	}
	t.Logf("%d of %d events arrived before the Collector stopped", len(came), len(stored))
}
