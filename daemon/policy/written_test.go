// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"os"
	"regexp"
	"testing"
)

// The example that administrators begin with says what its comments say.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../../examples/requirements.toml")
	if err != nil {
		t.Fatal(err)
	}
	req, err := Parse("examples/requirements.toml", data)
	if err != nil {
		t.Fatal(err)
	}
	if len(req.Warnings) != 0 {
		t.Errorf("warnings %q", req.Warnings)
	}
	rules := Compile(req.Rules, req.Unmatched)
	for _, tt := range []struct {
		command Command
		want    Decision
		human   bool
	}{
		{cmd("git", "push", "origin"), Forbidden, false},
		{cmd("git", "status"), Allow, false},
		{cmd("/usr/bin/ncat", "-l"), Forbidden, false},
		{cmd("npm", "publish"), Prompt, false},
		{cmd("npm", "install"), Allow, false},
		{cmd("sudo", "-i"), Prompt, true},
	} {
		if v := rules.Decide(tt.command); v.Decision != tt.want || v.Rule.HumanOnly != tt.human {
			t.Errorf("%q: %s", tt.command, v.Reason)
		}
	}
	for _, tt := range []struct {
		to   string
		p    Protocol
		want NetDecision
	}{
		{"169.254.169.254:80", TCP, NetDeny},
		{"10.1.1.1:443", TCP, NetDeny},
		{"10.20.1.1:443", TCP, NetAllow},
		{"10.20.1.1:8050", TCP, NetAllow},
		{"10.20.1.1:22", TCP, NetDeny},
		{"192.0.2.1:443", TCP, NetAllow},
		{"10.20.0.1:123", UDP, NetAllow},
		{"192.0.2.1:53", UDP, NetAllow},
	} {
		if d, _ := req.Network.Decide(netip.MustParseAddrPort(tt.to), tt.p); d != tt.want {
			t.Errorf("%s %s: %s", tt.to, tt.p, d)
		}
	}
	hosts := CompileHosts(Merge(req))
	for name, want := range map[string]NetDecision{
		"chatgpt.com": NetAllow, "api.openai.com": NetAllow, "github.com": NetAllow, "codeload.github.com": NetAllow, "gist.github.com": NetDeny,
		"packages.example.com": NetAllow, "pastebin.com": NetAsk, "example.com": NetAsk, "evilgithub.com": NetAsk, "127.0.0.1": NetDeny,
	} {
		h, err := ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		if v := hosts.Decide(HostRequest{Host: h, Port: 443, Protocol: HTTPS, Addr: h.Addr()}); v.Decision != want {
			t.Errorf("%s: %v, want %v (%s)", name, v.Decision, want, v.Reason)
		}
	}
	if req.Mode != Enforce {
		t.Errorf("mode %s", req.Mode)
	}
}

// What the documentation shows can be copied.
func TestDocumentedRequirements(t *testing.T) {
	data, err := os.ReadFile("../../docs/requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(data, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d examples", len(blocks))
	}
	for _, b := range blocks {
		req, err := Parse("docs/requirements.md", b[1])
		if err != nil {
			t.Errorf("%v in\n%s", err, b[1])
		} else if len(req.Warnings) != 0 {
			t.Errorf("%q for\n%s", req.Warnings, b[1])
		}
	}
}
