// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// managedRules judge by name.
const managedRules = `
[experimental_network]
enabled = true
managed_allowed_domains_only = true
[experimental_network.domains]
"**.allowed.test" = "allow"
"**.evil.test" = "deny"
[paddock]
mode = "enforce"
[[paddock.network.rules]]
cidr = "192.0.2.200/32"
decision = "deny"
justification = "the old server"
`

// online is a machine under a managed network.
func online(t *testing.T, requirements string) (*machine, *internet) {
	t.Helper()
	n := newInternet(t)
	m := newMachine(t, requirements)
	must(t, os.WriteFile(m.path("root/etc/resolv.conf"), []byte("nameserver "+dnsHost+"\noptions timeout:2 attempts:1\n"), 0o644))
	m.start()
	return m, n
}

// get is a client of many kinds: a command that shows what a URL serves.
var get = map[string]string{
	"curl":            "curl -sS -m 20 %s",
	"curl fast open":  "curl -sS -m 20 --tcp-fastopen %s",
	"curl, no proxy":  "env -u http_proxy -u https_proxy NO_PROXY='*' curl -sS -m 20 %s",
	"curl from a uid": "setpriv --reuid 65534 --regid 65534 --clear-groups curl -sS -m 20 %s",
	"python":          "/usr/bin/python3 -c 'import sys,urllib.request as u; print(u.urlopen(sys.argv[1],timeout=20).read().decode())' %s",
	"node":            "node -e 'fetch(process.argv[1]).then(r=>r.text()).then(console.log,e=>console.log(e.cause||e))' %s",
}

func TestManagedNetwork(t *testing.T) {
	m, n := online(t, managedRules)
	// A first connection, so that what is started lazily has been.
	for name, client := range get {
		t.Run(name, func(t *testing.T) {
			out, _ := m.run(fmt.Sprintf(client, "http://www.allowed.test/") + "; true")
			if !strings.Contains(out, "served www.allowed.test over HTTP/1.1") {
				t.Errorf("an allowed host: %q", out)
			}
			before := n.count(otherHost + ":80").Load()
			out, _ = m.run(fmt.Sprintf(client, "http://other.test/") + "; true")
			if strings.Contains(out, "served") || n.count(otherHost+":80").Load() != before {
				t.Errorf("an unfamiliar host: %q", out)
			}
			out, _ = m.run(fmt.Sprintf(client, "http://evil.test/") + "; true")
			if strings.Contains(out, "served") {
				t.Errorf("a denied host: %q", out)
			}
		})
	}
	const beside = "127.0.0.1:8124"
	n.http(beside, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "served") }), nil)
	for _, test := range []struct{ name, script, want, not string }{
		{"https, http/2", "curl -sSk -m 20 https://allowed.test/", "served allowed.test over HTTP/2.0", ""},
		{"https, http/1", "curl -sSk -m 20 --http1.1 https://allowed.test/", "served allowed.test over HTTP/1.1", ""},
		{"https, another name", "curl -sSk -m 20 https://other.test/; echo ended", "ended", "served"},
		{"ipv6", "curl -sS -m 20 http://six.allowed.test/", "served six.allowed.test", ""},
		{"openssl", "echo | openssl s_client -connect allowed.test:443 -servername allowed.test 2>/dev/null | grep subject", "CN = test", ""},
		{"git over https", "git -c http.sslVerify=false ls-remote https://allowed.test/repo.git HEAD", "HEAD", ""},
		{"a server that speaks first", "bash -c 'exec 3<>/dev/tcp/allowed.test/22; head -1 <&3'", "SSH-2.0-test", ""},
		{"the same, another name", "bash -c 'exec 3<>/dev/tcp/other.test/22; timeout 20 head -1 <&3'; echo ended", "ended", "SSH"},
		{"a name by its resolver", "/usr/bin/python3 -c 'import socket; print(sorted({a[4][0] for a in socket.getaddrinfo(\"allowed.test\",80,type=1)}))'", allowedHost, ""},
		{"a denied name", "/usr/bin/python3 -c 'import socket; socket.getaddrinfo(\"evil.test\",80)' 2>&1 | tail -1", "Name or service not known", ""},
		// peers.md D3 calls these N13, N14, N15, N16, N18, N20.
		{"an address instead of a name", "curl -sS -m 20 http://" + otherHost + "/; echo ended", "ended", "served"},
		{"an allowed host's address, never resolved", "curl -sS -m 20 -H 'Host: x.test' http://" + evilHost + "/; echo ended", "ended", "served"},
		{"a name that leads home", "curl -sS -m 20 http://rebind.allowed.test:22/; echo ended", "ended", "served"},
		{"a name that leads to metadata", "curl -sS -m 20 http://metadata.allowed.test/; echo ended", "ended", "served"},
		{"metadata", "curl -sS -m 20 http://169.254.169.254/; echo ended", "ended", "served"},
		{"another name to an allowed host's address", "curl -sS -m 20 --resolve other.test:80:" + allowedHost + " http://other.test/; echo ended", "ended", "served"},
		{"an allowed name to another address", "curl -sSk -m 20 --resolve allowed.test:443:" + otherHost + " https://allowed.test/; echo ended", "ended", "served"},
		{"another server's DNS", "/usr/bin/python3 -c '" + askDNS(otherDNS) + "'", otherDNS, ""},
		{"quic", shared.self + " act-datagram " + allowedHost + ":443", "operation not permitted", ""},
		{"dns over tls", "bash -c 'exec 3<>/dev/tcp/allowed.test/853; head -1 <&3' 2>&1", "Operation not permitted", "dns over tls"},
		// What a session itself serves, and what somebody else does.
		{"its own server", "/usr/bin/python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 & for i in $(seq 400); do curl -sS -m 20 http://localhost:8123/ && break; sleep 0.05; done; kill $!", "Directory listing", ""},
		{"its own server, node", "node -e \"const s=require('http').createServer((q,r)=>r.end('own '+q.url)).listen(0,'127.0.0.1',()=>fetch('http://localhost:'+s.address().port+'/x').then(r=>r.text()).then(console.log,e=>console.log(e.cause||e)).then(()=>s.close()))\"", "own /x", ""},
		{"its own datagrams", "/usr/bin/python3 -c 'from socket import *; s=socket(AF_INET,SOCK_DGRAM); s.bind((\"127.0.0.1\",0)); c=socket(AF_INET,SOCK_DGRAM); c.sendto(b\"x\",s.getsockname()); d,a=s.recvfrom(9); s.sendto(b\"own\",a); c.settimeout(10); print(c.recv(9).decode())'", "own", ""},
		{"nobody's port", "bash -c '(exec 3<>/dev/tcp/127.0.0.1/9) 2>&1'", "Connection refused", ""},
		{"somebody else's server", "curl -sS -m 20 http://" + beside + "/; echo ended", "ended", "served"},
		{"somebody else's server, by localhost", "curl -sS -m 20 http://localhost:" + strings.Split(beside, ":")[1] + "/; echo ended", "ended", "served"},
		{"by rule", "curl -sS -m 20 http://192.0.2.200/ 2>&1; echo ended", "ended", "served"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, _ := m.run(test.script + "; true")
			if !strings.Contains(out, test.want) || test.not != "" && strings.Contains(out, test.not) {
				t.Errorf("%q, want %q and not %q", out, test.want, test.not)
			}
		})
	}
	if got := n.strayed.Load(); got != 0 {
		t.Errorf("%d questions came to a server that is not the system's", got)
	}
	if out, err := m.free("curl -sS -m 20 http://" + otherHost + "/"); err != nil || !strings.Contains(out, "served") {
		t.Errorf("a process nobody governs: %q, %v", out, err)
	}
	gates := map[string]bool{}
	for _, g := range m.status().Gates {
		gates[g.Gate] = g.Proven
		if !g.Proven && (g.Gate == "egress" || g.Gate == "resolver") {
			t.Errorf("gate %+v", g)
		}
	}
	if !gates["egress"] || !gates["resolver"] {
		t.Errorf("gates %v", gates)
	}
	e := m.events.wait("the refused name", func(e telemetry.Event) bool {
		return e.Name == telemetry.NameNetworkDecision && text(e, telemetry.AttrDNSQuestionName) == "evil.test"
	})
	if text(e, telemetry.AttrGate) != "resolver" || text(e, telemetry.AttrRule) != "**.evil.test" || number(e, telemetry.AttrProcessPID) == 0 {
		t.Errorf("event %v", e.Attrs)
	}
}

// askDNS is a program that asks a server for allowed.test over UDP and shows who answered.
func askDNS(server string) string {
	return "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(10); " +
		"s.sendto(bytes.fromhex(\"000101000001000000000000\")+b\"\\x07allowed\\x04test\\x00\\x00\\x01\\x00\\x01\",(\"" + server + "\",53)); " +
		"print(s.recvfrom(512)[1][0])"
}

// actDatagram sends one datagram.
func actDatagram(args []string) error {
	c, err := net.Dial("udp", args[0])
	if err != nil {
		return err
	}
	_, err = c.Write([]byte("hello"))
	return err
}

// The daemon dies while a session transfers: what goes through it ends, nothing new
// begins, nobody else notices, and its successor goes on.
func TestDeathOfTheManagedNetwork(t *testing.T) {
	m, n := online(t, managedRules)
	m.detach = false
	s := m.terminalOf("bash")
	fetch := "curl -sS -m 20 http://allowed.test/ 2>&1"
	if out, _ := s.do(fetch); !strings.Contains(out, "served") {
		t.Fatalf("before: %q", out)
	}
	big := m.begin("curl -sS -o /dev/null --limit-rate 1M -w 'got %{size_download}\n' http://allowed.test/big; echo ended $?")
	select {
	case <-n.began:
	case <-after():
		t.Fatal("the transfer does not begin")
	}
	m.kill()
	big.says(t, "ended")
	if out := big.out.String(); strings.Contains(out, "ended 0") {
		t.Errorf("a transfer through a daemon that died: %q", out)
	}
	// The shell itself connects: no exec that would be killed for want of an answer.
	for _, to := range []string{allowedHost + "/80", otherHost + "/80", "127.0.0.1/22", dnsHost + "/53"} {
		out, _ := s.do("if (exec 3<>/dev/tcp/" + to + ") 2>&1; then echo through; fi")
		if !strings.Contains(out, "Operation not permitted") || strings.Contains(out, "through") {
			t.Errorf("%s: %q", to, out)
		}
	}
	if out, err := m.free("curl -sS -m 20 http://" + otherHost + "/"); err != nil || !strings.Contains(out, "served") {
		t.Errorf("a process nobody governs: %q, %v", out, err)
	}
	m.detach = true
	m.start()
	if out, _ := m.run(fetch + "; true"); !strings.Contains(out, "served") {
		t.Errorf("after the restart: %q", out)
	}
	for _, g := range m.status().Gates {
		if (g.Gate == "egress" || g.Gate == "resolver") && !g.Proven {
			t.Errorf("gate %+v", g)
		}
	}
}

// Rules by name come and go with the requirements, for sessions that live.
func TestManagedNetworkComesAndGoes(t *testing.T) {
	m, n := online(t, "[paddock]\nmode = \"enforce\"\n")
	s := m.terminal()
	fetch := "curl -sS -m 20 http://" + otherHost + "/ 2>&1"
	for _, gate := range m.status().Gates {
		if gate.Gate == "egress" || gate.Gate == "resolver" {
			t.Errorf("without rules by name there is a gate %+v", gate)
		}
	}
	for range 2 {
		if out, _ := s.do(fetch); !strings.Contains(out, "served") {
			t.Errorf("without rules by name: %q", out)
		}
		seq := m.lastSeq()
		m.require(managedRules)
		m.events.applied(seq)
		before := n.count(otherHost + ":80").Load()
		if out, _ := s.do(fetch); strings.Contains(out, "served") || n.count(otherHost+":80").Load() != before {
			t.Errorf("with rules by name: %q", out)
		}
		seq = m.lastSeq()
		m.require("[paddock]\nmode = \"enforce\"\n")
		m.events.applied(seq)
	}
	// Observe: everything passes, and what would have been refused is told.
	seq := m.lastSeq()
	m.require(strings.Replace(managedRules, `mode = "enforce"`, `mode = "observe"`, 1))
	m.events.applied(seq)
	if out, _ := s.do(fetch); !strings.Contains(out, "served") {
		t.Errorf("in mode observe: %q", out)
	}
	if out, _ := s.do("/usr/bin/python3 -c 'import socket; print(socket.gethostbyname(\"evil.test\"))' 2>&1"); !strings.Contains(out, evilHost) {
		t.Errorf("a denied name in mode observe: %q", out)
	}
}

// An unfamiliar host is held until a person has answered.
func TestUnfamiliarHostIsAsked(t *testing.T) {
	m, n := online(t, strings.Replace(managedRules, "managed_allowed_domains_only = true\n", "", 1)+"[paddock.approvals]\nscopes = [\"once\", \"session\"]\ntimeout = 120\n")
	question := func(other ...string) string {
		t.Helper()
		e := m.events.wait("a question about other.test", func(e telemetry.Event) bool {
			return e.Name == telemetry.NameApprovalRequested && text(e, telemetry.AttrDestinationAddress) == "other.test" &&
				!slices.Contains(other, text(e, telemetry.AttrApprovalID))
		})
		return text(e, telemetry.AttrApprovalID)
	}
	s := m.terminal()
	s.send("curl -sS -m 60 http://other.test/ 2>&1; echo")
	first := question()
	if got := n.count(otherHost + ":80").Load(); got != 0 {
		t.Fatal("it was reached before anybody answered")
	}
	if out, code := m.answers(0, "approve", first, "--session"); code != 0 {
		t.Fatalf("paddock approve: %d, %s", code, out)
	}
	s.wants("served other.test over HTTP/1.1")
	s.wants("")
	if out, _ := s.do("curl -sS -m 60 http://other.test/ 2>&1"); !strings.Contains(out, "served") {
		t.Errorf("again in the same session: %q", out)
	}
	p := m.begin("curl -sS -m 60 -o /dev/null -w '%{http_code}\\n' http://other.test/")
	second := question(first)
	if out, code := m.answers(0, "deny", second); code != 0 {
		t.Fatalf("paddock deny: %d, %s", code, out)
	}
	p.says(t, "403")

	// A host that is reviewed is asked about each time, whatever was answered before.
	seq := m.lastSeq()
	m.require(strings.Replace(managedRules, "managed_allowed_domains_only = true\n", "review_domains = [\"other.test\"]\n", 1) + "[paddock.approvals]\nscopes = [\"once\", \"session\"]\ntimeout = 120\n")
	m.events.applied(seq)
	asked := []string{first, second}
	for range 2 {
		s.send("curl -sS -m 60 http://other.test/ 2>&1; echo")
		id := question(asked...)
		asked = append(asked, id)
		if out, code := m.answers(0, "approve", id, "--session"); code == 0 {
			t.Fatalf("an answer for the whole session was taken: %s", out)
		}
		if out, code := m.answers(0, "approve", id); code != 0 {
			t.Fatalf("paddock approve: %d, %s", code, out)
		}
		s.wants("served other.test over HTTP/1.1")
		s.wants("")
	}
}
