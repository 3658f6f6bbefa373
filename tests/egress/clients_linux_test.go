// SPDX-License-Identifier: Apache-2.0

// Package egress has the clients that people and agents really use talk through the
// managed network: its packages stand on them, and on no test's idea of them.
package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/egress"
	"github.com/seed-649e9bbc/paddock/tests/egress/rig"
)

// Every client takes localhost for what it is, without any setting; and every server
// of a test is at 127.0.0.1.
const (
	allowing = rig.Requirements + "\"localhost\" = \"allow\"\n"
	denying  = rig.Requirements + "\"localhost\" = \"deny\"\n"
)

// client is a command in which {http}, {https}, {proxy} and so on are replaced.
type client struct {
	name, program string
	args          []string
	input         string
	// want is what it prints when it is let through, and denied when it is not.
	want, denied string
}

const python = `
import http.client, ssl, asyncio, sys, urllib.request, urllib.error
http_at, https_at, ca = sys.argv[1:4]
context = ssl.create_default_context(cafile=ca)
def fetch(url):
    try:
        with urllib.request.urlopen(url, context=context if url.startswith("https") else None) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as e:
        return "%d %s %s" % (e.code, e.headers["x-proxy-error"], e.read().decode())
    except Exception as e:
        return repr(e)
print(fetch("http://localhost:%s/urllib" % http_at))
print(fetch("https://localhost:%s/urllib" % https_at))
async def main():
    async def one(i):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(https_at), ssl=context, server_hostname="localhost")
            writer.write(b"GET /asyncio%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % i)
            text = (await reader.read()).decode()
            writer.close()
            return "/asyncio%d" % i in text
        except ssl.SSLError as e:
            return e.reason
    got = await asyncio.gather(*[one(i) for i in range(20)])
    print("asyncio", set(got))
asyncio.run(main())
`

const node = `
const [http, https] = process.argv.slice(1);
async function main() {
  for (const url of ["http://localhost:" + http + "/fetch", "https://localhost:" + https + "/fetch"]) {
    try {
      const answers = await Promise.all([...Array(10).keys()].map(i => fetch(url + i, { method: "POST", body: "b" + i })));
      console.log(answers[9].status, answers[9].headers.get("x-proxy-error"), await answers[9].text());
    } catch (e) { console.log(String(e.cause)); }
  }
}
main();
`

func clients() []client {
	return []client{
		{"curl", "curl", []string{"{curl}", "http://localhost:{http}/a"}, "", "GET localhost:{http} /a", "403 blocked-by-denylist"},
		{"curl, several on one connection", "curl", []string{"{curl}", "http://localhost:{http}/a", "http://localhost:{http}/b", "-d", "x=y"}, "", "POST localhost:{http} /b x=y", "403 blocked-by-denylist"},
		{"curl, a large upload", "curl", []string{"{curl}", "-T", "{file}", "http://localhost:{http}/up"}, "", "PUT localhost:{http} /up large", "403 blocked-by-denylist"},
		{"curl, chunks", "curl", []string{"{curl}", "-H", "Transfer-Encoding: chunked", "-T", "-", "http://localhost:{http}/up"}, "from a pipe", "PUT localhost:{http} /up from a pipe", "403 blocked-by-denylist"},
		{"curl, HTTP/2 without asking", "curl", []string{"{curl}", "--http2-prior-knowledge", "http://localhost:{http}/a"}, "", "GET localhost:{http} /a", "403 blocked-by-denylist"},
		{"curl, HTTP/2 by upgrade", "curl", []string{"{curl}", "--http2", "http://localhost:{http}/a"}, "", "GET localhost:{http} /a", "403 blocked-by-denylist"},
		{"curl, HTTP/1.0", "curl", []string{"{curl}", "--http1.0", "http://localhost:{http}/a"}, "", "GET localhost:{http} /a", "403 blocked-by-denylist"},
		{"curl, HTTP/2 over TLS", "curl", []string{"{curl}", "-w", "%{http_version}", "https://localhost:{https}/a"}, "", "GET localhost:{https} /a 2", "alert access denied"},
		{"curl, TLS 1.2", "curl", []string{"{curl}", "--tls-max", "1.2", "https://localhost:{https}/a"}, "", "GET localhost:{https} /a", "alert access denied"},
		{"curl --resolve", "curl", []string{"{curl}", "--resolve", "allowed.test:{https}:127.0.0.1", "https://allowed.test:{https}/a"}, "", "GET allowed.test:{https} /a", "GET allowed.test:{https} /a"},
		{"curl --resolve to somewhere else", "curl", []string{"{curl}", "--resolve", "other.test:{https}:127.0.0.1", "https://other.test:{https}/a"}, "", "alert access denied", "alert access denied"},
		{"curl --tcp-fastopen", "curl", []string{"{curl}", "--tcp-fastopen", "https://localhost:{https}/a"}, "", "GET localhost:{https} /a", "alert access denied"},
		{"curl, proxy", "curl", []string{"{curl}", "--proxy", "http://s:secret@127.0.0.1:{proxy}", "http://localhost:{realhttp}/a", "https://localhost:{realhttps}/b"}, "", "GET localhost:{realhttps} /b", "403 blocked-by-denylist"},
		{"curl, SOCKS5", "curl", []string{"{curl}", "--socks5-hostname", "s:secret@127.0.0.1:{proxy}", "https://localhost:{realhttps}/a"}, "", "GET localhost:{realhttps} /a", "(2)"},
		{"curl, SOCKS5 with an address", "curl", []string{"{curl}", "--socks5", "s:secret@127.0.0.1:{proxy}", "https://localhost:{realhttps}/a"}, "", "(2)", "(2)"},
		{"openssl", "openssl", []string{"s_client", "-connect", "127.0.0.1:{https}", "-servername", "localhost", "-CAfile", "{ca}", "-verify_return_error", "-brief"}, "", "Verification: OK", "access denied"},
		{"openssl without a name", "openssl", []string{"s_client", "-connect", "127.0.0.1:{https}", "-noservername", "-CAfile", "{ca}", "-brief"}, "", "Verification: OK", "Verification: OK"}, // by the name of the address
		{"python", "python3", []string{"-c", python, "{http}", "{https}", "{ca}"}, "", "GET localhost:{http} /urllib \nGET localhost:{https} /urllib \nasyncio {True}", "blocked-by-denylist"},
		{"node", "node", []string{"-e", node, "{http}", "{https}"}, "", "200 null POST localhost:{http} /fetch9 b9\n200 null POST localhost:{https} /fetch9 b9", "403 blocked-by-denylist"},
		{"git over https", "git", []string{"ls-remote", "https://localhost:{https}/repo.git"}, "", "not found", "Access was denied"},
	}
}

// world is a rig with servers, and what the words in braces stand for.
func world(t *testing.T, requirements string) (*rig.Rig, *strings.Replacer) {
	t.Helper()
	authority := rig.NewAuthority(t)
	r := rig.New(t, rig.Options{Requirements: requirements, Nobody: true})
	r.Names.Bind("allowed.test", netip.MustParseAddr("127.0.0.1"))
	r.Names.Know("other.test", netip.MustParseAddr("127.0.0.77"))
	repo := http.NewServeMux()
	repo.HandleFunc("/repo.git/", http.NotFound)
	repo.HandleFunc("/", rig.Echo)
	realHTTP := rig.HTTP(t)
	realHTTPS := rig.Serve(t, repo, &tls.Config{Certificates: []tls.Certificate{authority.Certificate(t, "localhost", "allowed.test", "other.test")}, NextProtos: []string{"h2", "http/1.1"}})
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	large := t.TempDir() + "/large"
	if err := os.WriteFile(large, []byte(strings.Repeat("large ", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, strings.NewReplacer(
		"{http}", port(r.Redirect(t, realHTTP)), "{https}", port(r.Redirect(t, realHTTPS)), "{realhttp}", fmt.Sprint(realHTTP.Port()), "{realhttps}", fmt.Sprint(realHTTPS.Port()),
		"{proxy}", port(r.Proxy(t, egress.Credentials{User: "s", Password: "secret"})), "{ca}", authority.File, "{file}", large,
	)
}

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == rig.Role {
		os.Exit(rig.Main(os.Args[2]))
	}
	os.Exit(m.Run())
}

func TestRealClients(t *testing.T) {
	for _, requirements := range []string{allowing, denying} {
		_, words := world(t, requirements)
		for _, c := range clients() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				var args []string
				for _, a := range c.args {
					if a == "{curl}" {
						// What the client printed, how it was answered, and why it failed.
						args = append(args, "-sS", "--noproxy", "", "--cacert", words.Replace("{ca}"), "-w", " %{http_code} %header{x-proxy-error} %{errormsg}\n")
						continue
					}
					args = append(args, words.Replace(a))
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, c.program, args...)
				cmd.Env = append(cleanEnv(), words.Replace("NODE_EXTRA_CA_CERTS={ca}"), words.Replace("GIT_SSL_CAINFO={ca}"), "GIT_TERMINAL_PROMPT=0")
				cmd.Stdin = strings.NewReader(c.input)
				var out bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &out
				err := cmd.Run()
				want := c.want
				if requirements == denying {
					want = c.denied
				}
				if got := out.String(); !strings.Contains(got, words.Replace(want)) {
					t.Errorf("%s %.200q: %v\n%.2000s\nwant %s", c.program, args, err, got, words.Replace(want))
				}
			})
		}
	}
}

// cleanEnv is the environment without proxies.
func cleanEnv() []string {
	var out []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			out = append(out, v)
		}
	}
	return out
}

// Ten thousand at a time, or as many as files may be open, each of them alive.
func TestTenThousandConnections(t *testing.T) {
	n := min(10_000, (files(t)-200)/2)                                                                                                 // both ends are ours, and the two in the middle the engine's
	engine := rig.StartProcess(t, rig.TCP(t, func(c *net.TCPConn) { _, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) })) // splice would take a pipe each
	conns := make([]net.Conn, n)
	answered := func(i, round int) {
		t.Helper()
		_ = conns[i].SetDeadline(time.Now().Add(time.Minute))
		var b [2]byte
		if _, err := io.ReadFull(conns[i], b[:]); err != nil {
			t.Fatalf("connection %d, round %d: %v", i, round, err)
		}
	}
	say := func(i int) {
		t.Helper()
		if _, err := conns[i].Write([]byte("\x00\x01")); err != nil {
			t.Fatal(err)
		}
	}
	// No more at a time than listeners keep for who accepts: what comes beyond that the kernel may reset.
	const begun = 1000
	for i := range conns {
		c, err := net.Dial("tcp", engine.Redirect)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer c.Close()
		conns[i] = c
		say(i)
		if i >= begun {
			answered(i-begun, 0)
		}
	}
	for i := max(0, n-begun); i < n; i++ {
		answered(i, 0)
	}
	for i := range conns {
		say(i)
	}
	for i := range conns {
		answered(i, 1)
	}
	if open := engine.Open(t); open != n {
		t.Errorf("%d are open, want %d", open, n)
	}
	for _, c := range conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
	for end := time.Now().Add(time.Minute); engine.Open(t) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are still open", engine.Open(t))
		}
	}
}
