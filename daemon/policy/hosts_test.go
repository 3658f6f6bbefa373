// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-649e9bbc/paddock/daemon/policy/codex"
)

// hostQuestion is "host[:port] [protocol] [METHOD] [-> address]".
func hostQuestion(t testing.TB, text string) HostRequest {
	t.Helper()
	text, to, _ := strings.Cut(text, " -> ")
	words := strings.Fields(text)
	q := HostRequest{Protocol: HTTPS, Addr: netip.MustParseAddr("93.184.216.34")}
	var err error
	if q.Host, q.Port, err = ParseHostPort(words[0], 443); err != nil {
		t.Fatal(err)
	}
	for _, w := range words[1:] {
		switch w {
		case "http":
			q.Protocol = HTTP
		case "tcp":
			q.Protocol = RawTCP
		default:
			q.Method = w
		}
	}
	switch to {
	case "":
	case "?":
		q.Addr = netip.Addr{}
	default:
		q.Addr = netip.MustParseAddr(to)
	}
	return q
}

const managedNetwork = `
[experimental_network]
enabled = true
review_domains = ["paste.example", "**.review.example"]
[experimental_network.domains]
"example.com" = "allow"
"*.sub.example" = "allow"
"**.apex.example" = "allow"
"bücher.example" = "allow"
"UPPER.example." = "allow"
"port.example:8443" = "allow"
"api-?.glob.example" = "allow"
"{x,y}.brace.example" = "allow"
"paste.example" = "allow"
"bad.apex.example" = "deny"
"**.evil.example" = "deny"
"10.9.9.9" = "allow"
"192.0.2.66" = "deny"
"localhost" = "allow"
[[paddock.network.rules]]
cidr = "10.20.0.0/16"
decision = "allow"
[[paddock.network.rules]]
cidr = "203.0.113.0/24"
decision = "deny"
justification = "Not ours."
[[paddock.network.rules]]
cidr = "169.254.169.253"
decision = "allow"
`

func TestDecideByName(t *testing.T) {
	h := CompileHosts(Merge(layer(t, codex.System, managedNetwork)))
	if !h.ByName() {
		t.Error("names make no difference")
	}
	for question, want := range map[string]string{
		"example.com":                      "allow",
		"EXAMPLE.COM.:8443":                "allow",
		"www.example.com":                  "ask not_allowed",
		"a.sub.example":                    "allow",
		"a.b.sub.example tcp":              "allow",
		"sub.example":                      "ask not_allowed", // only what is below
		"notsub.example":                   "ask not_allowed",
		"xsub.example":                     "ask not_allowed",
		"apex.example":                     "allow",
		"a.b.apex.example":                 "allow",
		"bad.apex.example":                 "deny denied", // whatever is more specific
		"evil.example":                     "deny denied",
		"a.evil.example. tcp":              "deny denied",
		"xn--bcher-kva.example":            "allow",
		"upper.example":                    "allow",
		"port.example:1":                   "allow", // patterns have no port
		"api-1.glob.example":               "allow",
		"api-12.glob.example":              "ask not_allowed",
		"x.brace.example":                  "allow",
		"z.brace.example":                  "ask not_allowed",
		"paste.example":                    "ask review",
		"a.review.example":                 "ask review",
		"example.com -> 10.1.2.3":          "deny not_allowed_local", // rebinding
		"example.com -> 127.0.0.1":         "deny not_allowed_local",
		"example.com -> ::ffff:10.1.2.3":   "deny not_allowed_local",
		"example.com -> 64:ff9b::10.1.2.3": "deny not_allowed_local",
		"example.com -> 2002:0a01:0203::1": "deny not_allowed_local",
		"example.com -> 2001::f5fe:fdfc":   "deny not_allowed_local", // Teredo of 10.1.2.3
		"example.com -> 100.64.0.1":        "deny not_allowed_local",
		"example.com -> 169.254.169.254":   "deny not_allowed_local",
		"example.com -> fe80::1":           "deny not_allowed_local",
		"example.com -> fd00::1":           "deny not_allowed_local",
		"example.com -> 0.0.0.0":           "deny not_allowed_local",
		"example.com -> ::":                "deny not_allowed_local",
		"example.com -> 240.0.0.1":         "deny not_allowed_local",
		"example.com -> 203.0.113.7":       "deny denied", // by address
		"example.com -> 192.0.2.66":        "deny denied", // the address is denied as a host
		"example.com -> 10.20.1.1":         "allow",       // named by address
		"example.com -> 10.9.9.9":          "allow",       // named as a host
		"unknown.example -> 10.20.1.1":     "allow",       // the rule by address speaks of it
		"unknown.example -> 10.1.1.1":      "deny not_allowed_local",
		"10.9.9.9":                         "allow",
		"10.9.9.8":                         "deny not_allowed_local",
		"0x0a090909":                       "allow",
		"192.0.2.66":                       "deny denied",
		"8.8.8.8 tcp":                      "ask not_allowed",
		"localhost:3000 http -> 127.0.0.1": "allow",
		"localhost:3000 http -> ::1":       "allow",
		"localhost:3000 http -> 10.1.1.1":  "deny not_allowed_local",
		"127.0.0.1":                        "deny not_allowed_local",
		"x.localhost -> ?":                 "deny not_allowed_local",
		"metadata.google.internal -> ?":    "deny not_allowed_local",
		"169.254.169.254":                  "deny not_allowed_local",
		"169.254.169.253":                  "allow",
		"168.63.129.16":                    "deny not_allowed_local",
		"unknown.example -> ?":             "ask not_allowed",
		"example.com http POST":            "allow",
	} {
		v := h.Decide(hostQuestion(t, question))
		got := v.Decision.String()
		if v.Decision != NetAllow {
			got += " " + string(v.Cause)
		}
		if got != want {
			t.Errorf("%s: %s (%s), want %s", question, got, v.Reason, want)
		}
		if v.Decision != NetAllow && v.Reason == "" {
			t.Errorf("%s: no reason", question)
		}
	}
}

// What listens on the machine is no farther away by one of its public addresses than by loopback.
func TestTheMachinesOwnAddresses(t *testing.T) {
	const own = "203.0.113.9"
	for _, tt := range []struct{ requirements, question, want string }{
		{"", "example.com -> " + own, "deny not_allowed_local"}, // a name that is allowed
		{"", "unknown.example -> " + own, "deny not_allowed_local"},
		{"", own + " tcp", "deny not_allowed_local"},
		{"[paddock.network]\nunfamiliar = 'allow'", own + " tcp", "deny not_allowed_local"},
		{"[experimental_network]\nallow_local_binding = true", own + " tcp", "ask not_allowed"},
		{"[experimental_network]\nallow_local_binding = true", "example.com -> " + own, "allow"},
		{"[experimental_network.domains]\n'" + own + "' = 'allow'", own + " tcp", "allow"},
		{"[[paddock.network.rules]]\ncidr = '203.0.113.0/24'\ndecision = 'allow'", "unknown.example -> " + own, "allow"},
	} {
		h := CompileHosts(Merge(layer(t, codex.System, "[experimental_network]\nenabled = true\n[experimental_network.domains]\n'example.com' = 'allow'"), layer(t, codex.MDM, tt.requirements)))
		q := hostQuestion(t, tt.question)
		if v := h.Decide(q); v.Cause == CauseLocal {
			t.Errorf("%q, %s: %s, although the address is somebody else's", tt.requirements, tt.question, v.Reason)
		}
		q.Own = true
		v := h.Decide(q)
		got := v.Decision.String()
		if v.Decision != NetAllow {
			got += " " + string(v.Cause)
		}
		if got != tt.want {
			t.Errorf("%q, %s: %s (%s), want %s", tt.requirements, tt.question, got, v.Reason, tt.want)
		}
	}
}

// Where clouds keep credentials nobody may be asked about, whatever else near is open.
func TestLocalBindingOpensNoMetadata(t *testing.T) {
	h := CompileHosts(Merge(layer(t, codex.System, "[experimental_network]\nenabled = true\nallow_local_binding = true")))
	for question, want := range map[string]HostCause{
		"169.254.169.254": CauseLocal, "fd00:ec2::254": CauseLocal, "fd20:ce::254": CauseLocal, "fd00:42::42": CauseLocal,
		"100.100.100.200": CauseLocal, "10.1.2.3": CauseNotAllowed, "fd20:ce::253": CauseNotAllowed,
	} {
		if strings.Contains(question, "::") {
			question = "[" + question + "]"
		}
		if v := h.Decide(hostQuestion(t, question)); v.Cause != want {
			t.Errorf("%s: %s (%s), want %s", question, v.Cause, v.Reason, want)
		}
	}
}

func TestVerdictsNameTheRule(t *testing.T) {
	h := CompileHosts(Merge(layer(t, codex.System, managedNetwork)))
	for question, want := range map[string]string{
		"a.evil.example":             `a.evil.example is denied (rule "**.evil.example" = "deny", system:16)`,
		"example.com -> 203.0.113.7": `Not ours. (rule "203.0.113.0/24" = "deny", system:23)`,
		"paste.example":              `rule "paste.example" = "ask", system:14`,
	} {
		if v := h.Decide(hostQuestion(t, question)); v.Reason != want {
			t.Errorf("%s: %s, want %s", question, v.Reason, want)
		}
	}
}

func TestUnfamiliar(t *testing.T) {
	for _, tt := range []struct {
		requirements     string
		byName           bool
		unknown, address string
	}{
		{"", false, "allow", "allow"},
		{"[paddock.network]\ndefault = 'deny'", false, "deny", "deny"},
		{"[paddock.network]\naccess = 'none'\nunfamiliar = 'ask'", false, "deny", "deny"},
		{"[experimental_network]\nenabled = true", true, "ask", "ask"},
		{"[network_proxy]\nenabled = false\n[network_proxy.domains]\n'x.example' = 'deny'", true, "allow", "allow"},
		{"[permissions.network]\nenabled = true\nmanaged_allowed_domains_only = true", true, "deny", "deny"},
		{"[experimental_network]\nenabled = true\n[paddock.network]\nunfamiliar = 'allow'", true, "allow", "allow"},
		{"[experimental_network]\nenabled = true\nmanaged_allowed_domains_only = true\n[paddock.network]\nunfamiliar = 'allow'", true, "deny", "deny"},
		{"[paddock.network]\nunfamiliar = 'ask'", true, "ask", "ask"},
		{"[paddock.network]\nunfamiliar = 'ask'\ndefault = 'deny'", true, "ask", "deny"},
		{"[experimental_network]\nenabled = true\n[paddock.network]\ndefault = 'deny'", true, "deny", "deny"},
		{"[paddock.network]\nmode = 'limited'", true, "allow", "allow"},
	} {
		h := CompileHosts(Merge(layer(t, codex.System, tt.requirements)))
		unknown, address := h.Decide(hostQuestion(t, "unknown.example")).Decision.String(), h.Decide(hostQuestion(t, "8.8.8.8")).Decision.String()
		if h.ByName() != tt.byName || unknown != tt.unknown || address != tt.address {
			t.Errorf("%q: by name %t, a name %s, an address %s; want %t, %s, %s", tt.requirements, h.ByName(), unknown, address, tt.byName, tt.unknown, tt.address)
		}
	}
	low := layer(t, codex.System, "[paddock.network]\nunfamiliar = 'ask'")
	high := layer(t, codex.MDM, "[paddock.network]\nunfamiliar = 'allow'\nmode = 'limited'")
	if m := Merge(low, high); m.Network.Unfamiliar.Decision != NetAsk || m.Network.Unfamiliar.Source != "system" || !m.Network.ReadOnly {
		t.Errorf("two layers: %+v", m.Network)
	}
}

func TestLimitedModeOnlyReads(t *testing.T) {
	h := CompileHosts(Merge(layer(t, codex.System, "[experimental_network]\nenabled=true\n[experimental_network.domains]\n'example.com'='allow'\n[paddock.network]\nmode='limited'")))
	for question, want := range map[string]HostCause{
		"example.com http GET": CauseAllowed, "example.com http HEAD": CauseAllowed, "example.com http OPTIONS": CauseAllowed,
		"example.com http POST": CauseMethod, "example.com http get": CauseMethod, "example.com http PROPFIND": CauseMethod,
		"unknown.example http POST": CauseMethod, // nobody is asked for what will not be allowed
		"example.com":               CauseAllowed,
	} {
		if v := h.Decide(hostQuestion(t, question)); v.Cause != want {
			t.Errorf("%s: %s, want %s", question, v.Cause, want)
		}
	}
}

func TestLocalBinding(t *testing.T) {
	yes := layer(t, codex.System, "[experimental_network]\nenabled=true\nallow_local_binding=true\n[experimental_network.domains]\n'127.0.0.1'='allow'\n'example.com'='allow'")
	h := CompileHosts(Merge(yes))
	for question, want := range map[string]NetDecision{
		"127.0.0.1": NetAllow, "example.com -> 10.0.0.1": NetAllow, "10.0.0.2": NetAsk, "169.254.169.254": NetDeny, "example.com -> fe80::1": NetDeny,
	} {
		if v := h.Decide(hostQuestion(t, question)); v.Decision != want {
			t.Errorf("%s: %s, want %s", question, v.Decision, want)
		}
	}
	no := layer(t, codex.MDM, "[experimental_network]\nallow_local_binding=false")
	if v := CompileHosts(Merge(yes, no)).Decide(hostQuestion(t, "example.com -> 10.0.0.1")); v.Decision != NetDeny {
		t.Error("one layer opens what another one closes")
	}
}

// A session may reach itself unless somebody has said otherwise of loopback.
func TestOwnListeners(t *testing.T) {
	const managed = "[experimental_network]\nenabled=true\n"
	for _, test := range []struct {
		name        string
		layers      []string
		own, denied bool
	}{
		{"by default", []string{managed}, true, true},
		{"opened", []string{managed + "allow_local_binding=true"}, true, false},
		{"closed", []string{managed + "allow_local_binding=false"}, false, true},
		{"closed by one layer, opened by another", []string{managed + "allow_local_binding=true", "[experimental_network]\nallow_local_binding=false"}, false, true},
		{"closed for a profile", []string{managed, "[permissions.network]\nallow_local_binding=false"}, false, true},
		{"only what is listed", []string{managed + "managed_allowed_domains_only=true"}, true, true},
		{"a name of it opened", []string{managed + "[experimental_network.domains]\nlocalhost='allow'"}, true, false},
		{"an address of it opened", []string{managed + "[experimental_network.domains]\n'127.0.0.5'='allow'"}, true, false},
		{"a name of it denied", []string{managed + "[experimental_network.domains]\nlocalhost='deny'"}, false, true},
		{"names below denied", []string{managed + "[experimental_network.domains]\n'*.localhost'='deny'"}, false, true},
		{"an address of it denied", []string{managed + "[experimental_network.domains]\n'[::1]'='deny'"}, false, true},
		{"another spelling denied", []string{managed + "[experimental_network.domains]\n'2130706433'='deny'"}, false, true},
		{"a pattern of it denied", []string{managed + "[experimental_network.domains]\n'127.*'='deny'"}, false, true},
		{"reviewed", []string{managed + "review_domains=['localhost']"}, false, false},
		{"somebody else denied", []string{managed + "[experimental_network.domains]\n'10.0.0.1'='deny'\n'**.example'='deny'"}, true, true},
		{"nothing allowed", []string{"[paddock.network]\naccess='none'"}, false, true},
		{"not managed", []string{"[experimental_network.domains]\n'a.example'='deny'"}, true, false},
	} {
		var layers []*Requirements
		for _, text := range test.layers {
			layers = append(layers, layer(t, codex.System, text))
		}
		h := CompileHosts(Merge(layers...))
		if h.OwnListeners() != test.own || h.LoopbackDenied() != test.denied {
			t.Errorf("%s: own listeners %t, loopback denied %t", test.name, h.OwnListeners(), h.LoopbackDenied())
		}
	}
}

func TestNetworkRulesOfRulesFiles(t *testing.T) {
	req := Merge(layer(t, codex.System, managedNetwork))
	host := func(s string) Host { h, _ := ParseHost(s); return h }
	req.HostRules = []HostRule{
		{Host: host("only.http.example"), Protocols: []HostProtocol{HTTP}, Decision: NetAllow, Source: "a.rules", Line: 1},
		{Host: host("example.com"), Protocols: []HostProtocol{RawTCP}, Decision: NetDeny, Justification: "No ssh.", Source: "a.rules", Line: 2},
		{Host: host("a.evil.example"), Decision: NetAllow, Source: "a.rules", Line: 3},
		{Host: host("asked.example"), Decision: NetAsk, Source: "a.rules", Line: 4},
	}
	h := CompileHosts(req)
	for question, want := range map[string]NetDecision{
		"only.http.example http": NetAllow, "only.http.example": NetAsk, "example.com": NetAllow, "example.com tcp": NetDeny,
		"a.evil.example": NetDeny, "asked.example": NetAsk, "a.only.http.example http": NetAsk,
	} {
		if v := h.Decide(hostQuestion(t, question)); v.Decision != want {
			t.Errorf("%s: %s, want %s", question, v.Decision, want)
		}
	}
	if v := h.Decide(hostQuestion(t, "example.com tcp")); v.Reason != `No ssh. (rule "example.com" = "deny", a.rules:2)` {
		t.Error(v.Reason)
	}
}

// Whatever a deny rule is added to, nothing gets milder.
func TestAddingADenyMakesNothingMilder(t *testing.T) {
	names := []string{"example.com", "a.example.com", "b.a.example.com", "other.example", "localhost", "10.0.0.1", "8.8.8.8", "127.0.0.1", "169.254.169.254", "::1", "fd00::1"}
	patterns := append([]string{"*.example.com", "**.example.com", "*.com", "**.com", "*.example", "?.example.com", "*", "a*", "10.*"}, names...)
	addrs := []string{"10.0.0.1", "8.8.8.8", "127.0.0.1", "169.254.169.254", "::1", "fd00::1", "2001:db8::1"}
	rapid.Check(t, func(t *rapid.T) {
		pick := func(from []string, label string) string { return rapid.SampledFrom(from).Draw(t, label) }
		flag := func(label string) bool { return rapid.Bool().Draw(t, label) }
		h := func(domains Domains, rules []HostRule, n Network) *Hosts {
			out := CompileHosts(&Requirements{Network: n, HostRules: rules})
			// As CompileHosts does with what merged layers say.
			out.domains = domains
			for _, d := range domains.Rules {
				out.addPattern(d)
			}
			out.managed = domains.Enabled || n.Unfamiliar.Set
			return out
		}
		domains := Domains{Enabled: flag("enabled"), Only: flag("only"), LocalBinding: flag("local")}
		for range rapid.IntRange(0, 4).Draw(t, "domains") {
			domains.Rules = append(domains.Rules, DomainRule{Pattern: pick(patterns, "pattern"), Decision: rapid.SampledFrom([]NetDecision{NetDeny, NetAllow}).Draw(t, "decision"), Ask: flag("ask")})
		}
		var rules []HostRule
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			host, _ := ParseHost(pick(names, "host"))
			rules = append(rules, HostRule{Host: host, Decision: rapid.SampledFrom([]NetDecision{NetDeny, NetAsk, NetAllow}).Draw(t, "rule")})
		}
		n := drawNetwork().Draw(t, "network")
		n.Unfamiliar = HostSetting{Set: flag("set"), Decision: rapid.SampledFrom([]NetDecision{NetDeny, NetAsk, NetAllow}).Draw(t, "unfamiliar")}
		host, _ := ParseHost(pick(names, "asked"))
		q := HostRequest{Host: host, Port: 443, Protocol: rapid.SampledFrom([]HostProtocol{RawTCP, HTTP, HTTPS}).Draw(t, "protocol"), Method: pick([]string{"", "GET", "POST"}, "method")}
		if flag("known") {
			q.Addr = netip.MustParseAddr(pick(addrs, "addr"))
		}
		before := h(domains, rules, n).Decide(q)
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0:
			domains.Rules = append([]DomainRule{{Pattern: pick(patterns, "added"), Decision: NetDeny}}, domains.Rules...)
		case 1:
			added, _ := ParseHost(pick(names, "added"))
			rules = append(rules, HostRule{Host: added, Decision: NetDeny})
		case 2:
			r := drawNetRule().Draw(t, "added")
			r.Decision = NetDeny
			n.Rules = append(n.Rules, r)
		case 3:
			domains.Rules = append(domains.Rules, DomainRule{Pattern: pick(patterns, "reviewed"), Decision: NetDeny, Ask: true})
		case 4:
			n.ReadOnly = true
		}
		if after := h(domains, rules, n).Decide(q); after.Decision > before.Decision {
			t.Fatalf("%s became %s: %s", before.Decision, after.Decision, after.Reason)
		}
	})
}

func TestHostPatternsThatCannotBeRead(t *testing.T) {
	for _, p := range []string{"", " ", "exa mple.com", "a/b", "{a", "a}", "[a", "*.1.2.3.4", "http://a.example", "a@b", "*.[::1]", strings.Repeat("a", 2000)} {
		if _, err := parseHostPattern(p); err == nil {
			t.Errorf("%q is read", p)
		}
	}
}

// To Codex they match nothing, and say so nowhere.
func TestADenyThatIsNoPatternDeniesWhatWasMeant(t *testing.T) {
	h := CompileHosts(Merge(layer(t, codex.System, `[network_proxy.domains]
"https://x.example/path" = "deny"
"y.example/path" = "deny"
"8.8.8.0/24" = "deny"
"https://z.example" = "allow"
"a b" = "deny"
`)))
	for question, want := range map[string]NetDecision{
		"x.example": NetDeny, "y.example": NetDeny, "8.8.8.8": NetDeny, "other.example -> 8.8.8.9": NetDeny, "other.example": NetAllow,
	} {
		if v := h.Decide(hostQuestion(t, question)); v.Decision != want {
			t.Errorf("%s: %s (%s), want %s", question, v.Decision, v.Reason, want)
		}
	}
}

func FuzzHostPattern(f *testing.F) {
	for _, p := range []string{"*.x.example", "**.x", "a?[b-c]{d,e}.x", "[::1]", "*", "1.2.3.4:80", "[!a].x", "{{{,},},}"} {
		f.Add(p, "a.x.example")
	}
	f.Fuzz(func(_ *testing.T, pattern, name string) {
		host, err := ParseHost(name)
		if err != nil {
			return
		}
		h := CompileHosts(&Requirements{Network: Network{Default: NetAllow}})
		h.addPattern(DomainRule{Pattern: pattern, Decision: NetDeny})
		h.Decide(HostRequest{Host: host, Port: 1})
	})
}
