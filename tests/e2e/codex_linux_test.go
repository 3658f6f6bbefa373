// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/tests/codex"
	"github.com/seed-649e9bbc/paddock/tests/codex/responses"
)

// The real Codex under a managed network, as a command of the tests' own agent: its model
// is policy like everything else, and so is what its commands reach for.
func TestRealCodexGoesThroughTheManagedNetwork(t *testing.T) {
	install, err := codex.Find()
	must(t, err)
	native, err := filepath.EvalSymlinks(install.Native)
	must(t, err)
	m, n := online(t, managedRules)
	model, err := responses.Start(responses.Script{Last: "done", Calls: []responses.Call{
		responses.ExecCommand("call_000", "curl -sS -m 20 http://www.allowed.test/", 30000),
		responses.ExecCommand("call_001", "curl -sS -m 20 -D- http://other.test/", 30000),
		responses.ExecCommand("call_002", "curl -sS -m 20 http://evil.test/ 2>&1", 30000),
	}})
	must(t, err)
	defer model.Close()
	at, err := url.Parse(model.BaseURL())
	must(t, err)
	n.http(allowedHost+":8080", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: at.Scheme, Host: at.Host}), nil)
	n.http(otherHost+":8080", httputil.NewSingleHostReverseProxy(&url.URL{Scheme: at.Scheme, Host: at.Host}), nil)
	run := func(host string) string {
		t.Helper()
		home := filepath.Join(m.dir, "home-"+host)
		must(t, os.MkdirAll(filepath.Join(home, ".codex"), 0o700))
		must(t, os.WriteFile(filepath.Join(home, ".codex", "config.toml"), []byte(`model = "fake"
model_provider = "fake"
approval_policy = "never"
check_for_update_on_startup = false
[model_providers.fake]
name = "fake"
base_url = "http://`+host+`:8080`+at.Path+`"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
`), 0o600))
		out, _ := m.run("env -i PATH=$PATH HOME=" + home + " CODEX_HOME=" + home + "/.codex " + install.Native + " exec --skip-git-repo-check --sandbox danger-full-access 'follow the script' </dev/null 2>&1; true")
		return out
	}
	if out := run("other.test"); len(model.Requests()) > 0 {
		t.Errorf("a model at a host that is not allowed was asked: %s", out)
	}
	out := run("api.allowed.test")
	got := model.Outputs()
	for id, want := range map[string]string{
		"call_000": "served www.allowed.test", "call_001": "blocked-by-allowlist", "call_002": "Could not resolve host",
	} {
		if !strings.Contains(got[id], want) || id != "call_000" && strings.Contains(got[id], "served") {
			t.Errorf("%s: %q, want %q", id, got[id], want)
		}
	}
	if t.Failed() {
		t.Logf("Codex said:\n%s", out)
	}
	e := m.events.wait("Codex's connection to its model", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameNetworkConnection && text(e, telemetry.AttrServerAddress) == "api.allowed.test"
	})
	if text(e, telemetry.AttrProcessExecutablePath) != native || text(e, telemetry.AttrRule) != "**.allowed.test" {
		t.Errorf("event %v", e.Attrs)
	}
}
