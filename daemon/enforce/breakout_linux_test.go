// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

// Ways round the rules that need no changed program: another name, another
// argv[0], another way to the same address.

const gitPushForbidden = `
rules = { prefix_rules = [
  { pattern = [{ token = "git" }, { token = "push" }], decision = "forbidden" },
  { pattern = [{ token = "ls" }, { token = "box" }], decision = "forbidden" },
] }
paddock = { mode = "enforce" }`

// An IPv6 socket bound to a v4-mapped address reaches 127.0.0.1 by way of "::".
func TestUnspecifiedAddressReachesBothLoopbacks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	m := newMachine(t, `
[paddock]
mode = "enforce"
[paddock.network]
default = "allow"
[[paddock.network.rules]]
cidr = "127.0.0.1/32"
decision = "deny"
`)
	script := fmt.Sprintf(`exec python3 -c 'import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(41, 26, 0)
s.bind(("::ffff:127.0.0.1", 0)); s.connect(("::", %s)); print("through to", s.getpeername())' 2>&1`, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	if out := m.free(script); !strings.Contains(out, "through to") {
		t.Fatalf("the attack does not even work where nothing is governed: %q", out)
	}
	if out, _ := m.run(script); strings.Contains(out, "through to") {
		t.Errorf("the denied address was reached: %q", out)
	}
}
