// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
)

// The managed network for clients that use a proxy, and over the bridge for those in
// another network namespace: judged by the same policy, in the name of who is really
// there.
func TestProxyAndBridge(t *testing.T) {
	m, n := online(t, managedRules)
	network := m.status().Network
	if network == nil || network.Namespaces != api.NamespacesRefused {
		t.Fatalf("status says %+v of the managed network", network)
	}
	if out, _, _ := m.cli("status"); !strings.Contains(out, "other network namespaces are refused, but for what goes over paddock bridge") {
		t.Errorf("paddock status: %s", out)
	}
	// Hands over a socket that is made by what stands between, and says the answer.
	hand := func(make string) string {
		return "/usr/bin/python3 -c 'import socket,array; u=socket.socket(socket.AF_UNIX); u.connect(\"BRIDGE\"); s=socket.socket(); " + make +
			"; u.sendmsg([b\"x\"],[(socket.SOL_SOCKET,socket.SCM_RIGHTS,array.array(\"i\",[s.fileno()]))]); print(u.recv(1000).decode())'"
	}
	words := strings.NewReplacer("BRIDGE", network.Bridge, "PROXY", network.Proxy, "PADDOCK", shared.paddock, "CURL", "curl -sS -m 20 --noproxy ''")
	// A namespace of its own, in which only loopback is up.
	apart := func(script string) string { return "unshare -rn /bin/sh -c 'ip link set lo up; " + script + "'" }
	bridge := "PADDOCK bridge -- "
	for _, test := range []struct{ name, script, want, not string }{
		{"a proxy", "CURL --proxy http://PROXY http://www.allowed.test/", "served www.allowed.test", ""},
		{"a proxy, https", "CURL -k --proxy http://PROXY https://allowed.test/", "served allowed.test over HTTP/2.0", ""},
		{"a proxy, an unfamiliar host", "CURL -D- --proxy http://PROXY http://other.test/", "blocked-by-allowlist", "served"},
		{"a proxy, a denied host", "CURL -k --proxy http://PROXY https://evil.test/ 2>&1", "403", "served"},
		{"SOCKS5", "CURL -k --socks5-hostname PROXY https://allowed.test/", "served allowed.test", ""},
		{"SOCKS5, a denied host", "CURL -k --socks5-hostname PROXY https://evil.test/ 2>&1", "(2)", "served"},
		{"SOCKS5, an address", "CURL --socks5 PROXY http://" + otherHost + "/ 2>&1", "(2)", "served"},
		{"a proxy's tunnel to another host", "CURL -k --proxy http://PROXY --connect-to evil.test:443:allowed.test:443 https://evil.test/ 2>&1; echo ended", "ended", "served"},
		{"another namespace", apart("curl -sS -m 20 http://allowed.test/ 2>&1; curl -sS -m 20 http://" + allowedHost + "/ 2>&1; echo ended"), "ended", "served"},
		{"another namespace, the proxy's address", apart("CURL --proxy http://PROXY http://allowed.test/ 2>&1; echo ended"), "ended", "served"},
		{"the bridge", apart(bridge + "curl -sS -m 20 http://www.allowed.test/"), "served www.allowed.test", ""},
		{"the bridge, https", apart(bridge + "curl -sSk -m 20 https://allowed.test/"), "served allowed.test over HTTP/2.0", ""},
		{"the bridge, an unfamiliar host", apart(bridge + "curl -sS -D- -m 20 http://other.test/"), "blocked-by-allowlist", "served"},
		{"the bridge, a denied host", apart(bridge + "curl -sSk -m 20 https://evil.test/ 2>&1"), "403", "served"},
		{"the bridge, around it", apart(bridge + "env -i /usr/bin/curl -sS -m 20 http://" + allowedHost + "/ 2>&1; echo ended"), "ended", "served"},
		{"the bridge, no listener", hand("pass"), "what came does not listen", ""},
		{"the bridge, a listener for everybody", hand("s.bind((\"0.0.0.0\",0)); s.listen()"), "must be a TCP listener on an address of loopback", ""},
		{"the bridge, at home", hand("s.bind((\"127.0.0.1\",0)); s.listen()"), "the daemon's own network namespace", ""},
		{"the bridge, its exit code", apart(bridge + "sh -c \"exit 7\"; echo $?"), "7", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, _ := m.run(words.Replace(test.script)+"; true", "PADDOCK_SOCKET="+m.socket())
			if !strings.Contains(out, test.want) || test.not != "" && strings.Contains(out, test.not) {
				t.Errorf("%q, want %q and not %q", out, test.want, test.not)
			}
		})
	}
	// What comes beside the listener does not stay.
	files := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.daemon.pid()))
		must(t, err)
		return len(all)
	}
	had := files()
	many := `import socket, array
for i in range(100):
    u = socket.socket(socket.AF_UNIX); u.connect("BRIDGE")
    u.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * (2 + i % 2)))]); print(u.recv(1000).decode())`
	if out, _ := m.run(words.Replace("/usr/bin/python3 -c '" + many + "'; true")); strings.Count(out, "no listener came") != 100 {
		t.Errorf("two files: %.300s", out)
	}
	if has := files(); has > had+50 {
		t.Errorf("the daemon has %d files open, and had %d before it was sent others", has, had)
	}
	bridgeEndsWithItsSession(t, m, network.Bridge)
	// In whose name: two sessions at the same listener, and one over the bridge.
	seen := map[string]bool{}
	for _, script := range []string{
		"CURL --proxy http://PROXY http://one.allowed.test/", "CURL --proxy http://PROXY http://two.allowed.test/",
		apart(bridge + "curl -sS -m 20 http://three.allowed.test/"),
	} {
		_, _ = m.run(words.Replace(script)+"; true", "PADDOCK_SOCKET="+m.socket())
	}
	for _, host := range []string{"one.allowed.test", "two.allowed.test", "three.allowed.test"} {
		e := m.events.wait("the connection to "+host, func(e telemetry.Event) bool {
			return e.Name == telemetry.NameNetworkConnection && text(e, telemetry.AttrServerAddress) == host
		})
		if e.Session == "" || seen[e.Session] || number(e, telemetry.AttrProcessPID) == 0 {
			t.Errorf("%s: session %q, %v", host, e.Session, e.Attrs)
		}
		seen[e.Session] = true
	}
	// Nobody uses either who is not governed.
	before := n.count(allowedHost + ":80").Load()
	if out, err := m.free(words.Replace("CURL --proxy http://PROXY http://allowed.test/")); err == nil {
		t.Errorf("a process nobody governs, at the proxy: %q", out)
	}
	if out, err := m.free(words.Replace("PADDOCK --socket " + m.socket() + " bridge -- curl -sS http://allowed.test/")); err == nil || !strings.Contains(out, "belongs to no session") {
		t.Errorf("a process nobody governs, at the bridge: %q, %v", out, err)
	}
	if got := n.count(allowedHost + ":80").Load(); got != before {
		t.Error("a process nobody governs came through")
	}
}

// Who keeps a session's end of the bridge does not keep the bridge.
func bridgeEndsWithItsSession(t *testing.T, m *machine, bridge string) {
	t.Helper()
	path := t.TempDir() + "/s"
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	defer l.Close()
	script := `import socket, array
rights = lambda s: [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [s.fileno()]))]
u = socket.socket(socket.AF_UNIX); u.connect("` + bridge + `")
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
u.sendmsg([b"x"], rights(s)); print(u.recv(1000).decode(), flush=True)
k = socket.socket(socket.AF_UNIX); k.connect("` + path + `"); k.sendmsg([b"x"], rights(u)); k.recv(1)`
	p := m.begin("unshare -rn /bin/sh -c 'ip link set lo up; exec /usr/bin/python3 -c \"$1\"' sh '" + script + "'")
	keeper, err := l.AcceptUnix()
	must(t, err)
	oob := make([]byte, 64)
	_, size, _, _, err := keeper.ReadMsgUnix(make([]byte, 1), oob)
	must(t, err)
	messages, err := unix.ParseSocketControlMessage(oob[:size])
	must(t, err)
	fds, err := unix.ParseUnixRights(&messages[0])
	must(t, err)
	kept := os.NewFile(uintptr(fds[0]), "bridge")
	defer kept.Close()
	keeper.Close() // and the session ends
	p.wait(t)
	if out := p.out.String(); !strings.Contains(out, api.BridgeReady) {
		t.Fatalf("the bridge: %q", out)
	}
	must(t, unix.SetsockoptTimeval(fds[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	if n, err := unix.Read(fds[0], make([]byte, 64)); n != 0 || err != nil {
		t.Errorf("the bridge of a session that has ended: %d, %v, want its end", n, err)
	}
}
