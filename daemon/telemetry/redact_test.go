// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// letters and hexes make up the parts of secrets that are random. They are put
// together here, so that no scanner takes this file for a leak.
const (
	letters = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2eF4hJ6kM8nP0rS2uV4xY6zA8cD0fG2iJ4lM6oP8qR0tU2wX4"
	hexes   = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9"
	upper   = "ABCDEFGHIJ234567"
)

// leaks are texts with the secret in them and the kind of its marker.
func leaks() []struct{ kind, text, secret string } {
	jwt := "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0." + letters[:43]
	pem := "-----BEGIN " + "RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA" + letters + "\n-----END " + "RSA PRIVATE KEY-----"
	return []struct{ kind, text, secret string }{
		{"aws-access-key", "aws configure set aws_access_key_id %", "AK" + "IA" + upper},
		{"secret", "export AWS_SECRET_ACCESS_KEY=%", letters[:40]},
		{"secret", "aws_secret_access_key = %\nregion = eu-west-1", letters[:27] + "/+" + letters[30:40]},
		{"github-pat", "git clone https://%@github.com/a/b", "gh" + "p_" + letters[:36]},
		{"github-token", "GH_TOKEN=% gh pr list", "gh" + "o_" + letters[:36]},
		{"github-fine-grained-pat", "curl -H 'X: %'", "github" + "_pat_" + letters[:22] + "_" + letters[:59]},
		{"gitlab-token", "glab auth login --token %", "gl" + "pat-" + letters[:20]},
		{"openai-key", "OPENAI_API_KEY=%", "sk-" + "proj-" + letters[:48]},
		{"openai-key", "key %.", "sk-" + letters[:20] + "T3" + "BlbkFJ" + letters[20:40]},
		{"anthropic-key", "ANTHROPIC_API_KEY=% claude", "sk-" + "ant-api03-" + letters + "-x_AA"},
		{"slack-token", "curl -d token=% https://slack.com/api", "xo" + "xb-123456789012-123456789012-" + letters[:24]},
		{"slack-token", "%", "xa" + "pp-1-A012ABCDEFG-1234567890123-" + hexes},
		{"slack-webhook", "curl https://hooks.slack.com/services/%", "T01ABCDEF/B01ABCDEF/" + letters[:24]},
		{"google-api-key", "https://maps.example.com/?key=%&x=1", "AI" + "za" + letters[:35]},
		{"google-oauth-token", "curl -H x:%", "ya" + "29." + letters[:60]},
		{"jwt", "session %", jwt},
		{"private-key", "echo '%' > key.pem", pem},
		{"private-key", "cut off: %", "-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA" + letters},
		{"npm-token", "//npm.example.com/:x=%", "np" + "m_" + letters[:36]},
		{"pypi-token", "twine upload -p %", "py" + "pi-AgEIcHlwaS5vcmc" + letters[:60]},
		{"stripe-key", "%", "sk" + "_live_" + letters[:24]},
		{"vault-token", "vault login %", "hv" + "s." + letters[:24]},
		{"huggingface-token", "hf auth %", "h" + "f_" + letters[:34]},
		{"digitalocean-token", "%", "dop" + "_v1_" + hexes},
		{"url-password", "psql postgres://app:%@db.example.com:5432/x", "hunter2"},
		{"url-password", "git remote add o https://me:%@git.example.com/x.git", "p%40ss-w0rd"},
		{"authorization", `curl -H "Authorization: Bearer %" https://x`, "abcdef123456"},
		{"authorization", `curl -H 'authorization: Basic %'`, "dXNlcjpwYXNz"},
		{"authorization", `{"Authorization": "token %"}`, "tok-1234"},
		{"header-secret", `curl -H "PRIVATE-TOKEN: %"`, "abcdefgh"},
		{"header-secret", `-H X-Api-Key:%`, "abcdefgh"},
		{"cookie", "curl -H 'Cookie: %' x", "sid=0123456789"},
		{"password", "tool --password % --verbose", "hunter2"},
		{"password", "tool --db-password=% --verbose", "hunter2"},
		{"password", "PGPASSWORD=% psql", "hunter2"},
		{"password", `{"password": "%"}`, "correct-horse"},
		{"password", "curl -s -u admin:% https://x", "hunter2"},
		{"password", "sshpass -p % ssh host", "hunter2"},
		{"password", "mysql -u root -p% shop", "hunter2"},
		{"secret", "tool --api-key % --x", letters[:32]},
		{"secret", "CLIENT_SECRET='%'", letters[:24]},
		{"secret", "//registry.example.com/:_authToken=%", hexes[:36]},
		{"secret", "AccountName=x;AccountKey=%;", letters[:60] + "=="},
	}
}

func testRedactor() *redactor { return newRedactor([]byte(strings.Repeat("k", 32))) }

func TestSecretsAreRedacted(t *testing.T) {
	r := testRedactor()
	for _, c := range leaks() {
		text := strings.Replace(c.text, "%", c.secret, 1)
		got, changed := r.text(text)
		want := strings.Replace(c.text, "%", r.marker(c.kind, c.secret), 1)
		if !changed || got != want {
			t.Errorf("%q became\n%q, want\n%q", text, got, want)
		}
		if again, changed := r.text(got); changed {
			t.Errorf("what was redacted became something else: %q and %q", got, again)
		}
	}
}

// In argv a secret may be an argument of its own.
func TestSecretArguments(t *testing.T) {
	r := testRedactor()
	for _, c := range []struct {
		argv []string
		at   int
		kind string
		from int
	}{
		{[]string{"tool", "--password", "hunter2", "x"}, 2, "password", 0},
		{[]string{"tool", "--db-passwd", "x"}, 2, "password", 0},
		{[]string{"gh", "auth", "--token", letters[:20]}, 3, "secret", 0},
		{[]string{"/usr/bin/curl", "-u", "me:hunter2", "https://x"}, 2, "password", 3},
		{[]string{"sshpass", "-p", "hunter2", "ssh", "h"}, 2, "password", 0},
		{[]string{"mysql", "-phunter2"}, 1, "password", 2},
		{[]string{"curl", "-H", "Authorization: Bearer abc.def", "https://x"}, 2, "authorization", 22},
		{[]string{"bash", "-c", "curl -u me:hunter2 https://x"}, 2, "password", 11},
	} {
		got, changed := r.list(c.argv)
		want := append([]string(nil), c.argv...)
		secret := c.argv[c.at][c.from:]
		if i := strings.IndexByte(secret, ' '); i > 0 {
			secret = secret[:i]
		}
		want[c.at] = strings.Replace(c.argv[c.at], secret, r.marker(c.kind, secret), 1)
		if !changed || strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("%q became\n%q, want\n%q", c.argv, got, want)
		}
	}
}

// What is no secret stays: whoever reads a command line must be able to.
func TestOrdinaryTextStays(t *testing.T) {
	r := testRedactor()
	for _, text := range []string{
		"git commit -m 'fix: password reset sends two mails'",
		"git log --author=me --oneline -n 20",
		"git checkout 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
		"docker run -e TOKEN=$TOKEN -e PASSWORD=${PASSWORD} image@sha256:" + hexes,
		"curl -H \"Authorization: Bearer $TOKEN\" https://api.example.com/v1/keys",
		"curl -u \"$USER:$PASS\" https://x",
		"docker login --password-stdin registry.example.com",
		"ssh-keygen -t ed25519 -f ~/.ssh/id_ed25519",
		"sort --key=2,2 file", "ls -la /etc/passwd", "cat /etc/shadow | head",
		"grep -rn 'token' src/auth/token.go", "rg password --type go", "pytest tests/test_auth.py::test_token_expiry",
		"python3 -c 'token = get_token()'", "node --max-old-space-size=4096 token-server.js",
		"go test ./internal/secret/... -run TestSecretRotation -count=1", "npm run build:tokens -- --tokens-file tokens.json",
		"kubectl get secret my-secret -o yaml", "kubectl create token default --duration=1h",
		"aws sts get-caller-identity --profile dev", "openssl rsa -in key.pem -passin env:PW",
		"https://example.com/a/b?page=2", "https://user@example.com/x.git", "ssh://git@example.com:22/x.git",
		"http://[::1]:8080/x@y", "postgres://localhost:5432/db", "echo 'key: value'", "mysql -p -u root shop", "mkdir -p a/b/c",
		"PWD=/home/dev OLDPWD=/home", "AUTH_METHOD=oauth2 SECRET_NAME=prod-db-credentials", "max_tokens=4096 tokens: 12345678",
		"/home/dev/.cache/go-build/3b/3b18e512dba79e4c8300dd08aeb37f8e728b8dad-d", "01JDEFGHJKMNPQRSTVWXYZ0123",
		"0199a213-81c0-7800-8aa1-bbab2a035a53", "password: string;", "def login(password: str, token: str) -> None:",
		"ask-something-else-and-continue-with-the-task-at-hand", "skip sk-learn", "eyJust some words", "the authorization of users",
		"--token-file /run/secrets/token", "--secret id=npm,src=.npmrc", "basic auth and bearer tokens are supported",
		"sk-test", "AKIA", "ghp_", "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----",
		"CREATE USER app WITH PASSWORD", "password authentication failed for user", "curl -su https://x:443/a", "tar -xzf x.tgz -C /opt/x",
	} {
		if got, changed := r.text(text); changed {
			t.Errorf("%q became %q", text, got)
		}
		if got, changed := r.list(strings.Fields(text)); changed {
			t.Errorf("as arguments, %q became %q", text, got)
		}
	}
}

func TestMarkers(t *testing.T) {
	r, other := testRedactor(), newRedactor([]byte("another key"))
	one, same, two := r.marker("password", "hunter2"), r.marker("password", "hunter2"), r.marker("password", "hunter3")
	if one != same || one == two || one == other.marker("password", "hunter2") {
		t.Errorf("markers are %s, %s, %s", one, same, two)
	}
	if !regexp.MustCompile(`^\[redacted:password:[0-9a-f]{4}\]$`).MatchString(one) {
		t.Errorf("the marker is %s", one)
	}
}

// Nothing of a secret is anywhere in the files of a store, and what is found in
// them is the same after a restart.
func TestNoSecretReachesTheDisk(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, Options{})
	const secret = "hunter2-and-more"
	for _, e := range []Event{
		{Name: NameProcessExec, Attrs: map[string]any{AttrProcessCommandArgs: []string{"tool", "--password", secret}}},
		{Name: NamePolicyRejected, Attrs: map[string]any{AttrErrorMessage: "cannot read https://me:" + secret + "@x/y"}},
		{Name: "other.event", Attrs: map[string]any{"some.attribute": struct{ Password string }{"password=" + secret}}},
	} {
		record(t, s, e)
	}
	first := query(t, s, Query{})
	for _, e := range first {
		if e.Attrs[AttrRedacted] == nil {
			t.Errorf("nobody is told that something was redacted: %v", e.Attrs)
		}
	}
	if c := s.Counters(); c.Redacted != 3 {
		t.Errorf("%d redactions are counted of 3", c.Redacted)
	}
	for _, suffix := range parts {
		data, err := os.ReadFile(s.path + suffix)
		if err == nil && bytes.Contains(data, []byte(secret)) {
			t.Errorf("the secret is in %s", s.path+suffix)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, Options{})
	record(t, s, Event{Name: NameProcessExec, Attrs: map[string]any{AttrProcessCommandArgs: []string{"tool", "--password", secret}}})
	again := query(t, s, Query{After: first[2].Seq})
	if a, b := first[0].Attrs[AttrProcessCommandArgs].([]string), again[0].Attrs[AttrProcessCommandArgs].([]string); a[2] != b[2] {
		t.Errorf("the same secret is %s before a restart and %s after", a[2], b[2])
	}
}

func TestPolicyOfRedaction(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	argv := []string{"git", "push", "--password", "hunter2"}
	e := Event{Name: NameProcessExec, Attrs: map[string]any{AttrProcessCommandArgs: argv}}
	s.Redact(Redaction{Omit: []Content{Commands}})
	record(t, s, e)
	s.Redact(Redaction{KeepSecrets: true})
	record(t, s, e)
	got := query(t, s, Query{})
	if args := got[0].Attrs[AttrProcessCommandArgs].([]string); len(args) != 4 || args[0] != "git" || !strings.HasPrefix(args[1], "[redacted:commands:") {
		t.Errorf("without command lines: %q", args)
	}
	if args := got[1].Attrs[AttrProcessCommandArgs].([]string); args[3] != "hunter2" {
		t.Errorf("with secrets: %q", args)
	}
}

// A prompt that nobody asked for is nowhere on the disk, under whatever name an
// agent has it; that it was there, and the same as another one, is.
func TestPromptsAreLeftOut(t *testing.T) {
	s := openStore(t, t.TempDir(), Options{})
	s.Redact(Redaction{Omit: []Content{Prompts, Outputs, Arguments}})
	const text = "please-look-at-the-payroll"
	for _, name := range []string{
		AttrPrompt, AttrToolArguments, AttrToolOutput, RecordPrefix + "gen_ai.input.messages",
		RecordPrefix + "prompt", RecordPrefix + "prompt_text", RecordPrefix + "user_prompt", // Claude Code's
		RecordPrefix + "request_text", RecordPrefix + "response_text", RecordPrefix + "function_args", // Gemini CLI's
		RecordPrefix + "response", RecordPrefix + "tool_parameters", RecordPrefix + "full_command",
	} {
		record(t, s, Event{Name: NameAgentPrompt, Attrs: map[string]any{name: text, AttrPromptLength: len(text)}})
	}
	for _, suffix := range parts {
		data, err := os.ReadFile(s.path + suffix)
		if err == nil && bytes.Contains(data, []byte(text)) {
			t.Errorf("the prompt is in %s", s.path+suffix)
		}
	}
	got := query(t, s, Query{})[0].Attrs
	if p, _ := got[AttrPrompt].(string); !strings.HasPrefix(p, "[redacted:prompts:") || got[AttrPromptLength] != int64(len(text)) {
		t.Errorf("kept is %v", got)
	}
}

// Text that is made to be slow is not.
func TestRedactionIsLinear(t *testing.T) {
	r := testRedactor()
	for name, unit := range map[string]string{
		"urls": "a://b:", "words": "password secret token key ", "flags": "--x-y-z-", "dots": "ey" + "Ja.", "begin": "-----BEGIN PRIVATE KEY-----",
		"curl": "curl curl ", "auth": "authorization authorization:", "sk": "sk-sk-", "mysql": "mysql mysql ",
	} {
		began := time.Now()
		r.text(strings.Repeat(unit, 1<<20/len(unit)))
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%s: a text of a megabyte took %s", name, took)
		}
	}
}

// Whatever bytes come, redaction neither fails nor leaves a shape that it knows.
func FuzzRedact(f *testing.F) {
	for _, c := range leaks() {
		f.Add(strings.Replace(c.text, "%", c.secret, 1), "")
	}
	r := testRedactor()
	token := "gh" + "p_" + letters[:36]
	f.Fuzz(func(t *testing.T, before, after string) {
		r.list([]string{before, after})
		got, _ := r.text(before + " " + token + " " + after)
		if len(before)+len(after) < MaxAttribute && strings.Contains(got, token) {
			t.Errorf("the token is in %q", got)
		}
	})
}

func BenchmarkRedact(b *testing.B) {
	r := testRedactor()
	e := execEvent(1, time.Now())
	b.Run("event", func(b *testing.B) {
		for range b.N {
			for key, value := range e.Attrs {
				r.attribute(treatmentOf(key), value)
			}
		}
	})
	long := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 100)
	b.Run("4 kB of text", func(b *testing.B) {
		b.SetBytes(int64(len(long)))
		for range b.N {
			r.text(long)
		}
	})
}
