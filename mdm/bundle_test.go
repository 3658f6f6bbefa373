// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fromCodex is a cache that codex-cli 0.169.0 itself wrote, of a config_server.
func fromCodex(t testing.TB) []byte {
	data, err := os.ReadFile("testdata/codex-0.169.0-bundle.json")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadBundle(t *testing.T) {
	whole := fromCodex(t)
	b, err := readBundle(whole)
	if err != nil {
		t.Fatal(err)
	}
	if b.User != "anonymous" || len(b.Account) != 64 || b.Expires.Sub(b.Fetched) != time.Hour || len(b.Requirements) != 2 {
		t.Errorf("%+v", b)
	}
	var names []string
	for _, l := range b.layers() {
		names = append(names, l.Name)
	}
	// The name that the server gave holds a line separator: it is shown as what it is.
	if diff := cmp.Diff([]string{"enterprise-managed requirements Low (req_low)", "enterprise-managed requirements \"High <&> é \\u2028\" (\"req_high\")"}, names); diff != "" {
		t.Errorf("layers from low to high (-want +got):\n%s", diff)
	}
	for name, tt := range map[string]struct{ old, new, want string }{
		"a rule is changed":          {"curl", "cUrl", "damaged"},
		"the time is changed":        {"T22:19", "T23:19", "damaged"},
		"the signature is":           {"t9owRXV2", "t8owRXV2", "damaged"},
		"no signature":               {`"signature"`, `"sig"`, "damaged"},
		"no payload":                 {`"signed_payload"`, `"payload"`, "without a payload"},
		"no JSON":                    {"{", "", "no JSON"},
		"half of a file":             {"\n  },\n", "\n", "no JSON"},
		"spaces are nobody's matter": {"\n", "", ""},
	} {
		n := 1
		if tt.want == "" {
			n = -1
		}
		_, err := readBundle([]byte(strings.Replace(string(whole), tt.old, tt.new, n)))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want ...%s...", name, err, tt.want)
		}
	}
}

// served is what a server answers with these documents, the highest first.
func served(t testing.TB, documents ...string) []byte {
	var list []map[string]string
	for i, text := range documents {
		list = append(list, map[string]string{"id": string(rune('a' + i)), "name": "", "contents": text})
	}
	out, err := json.Marshal(map[string]any{"requirements_toml": map[string]any{"enterprise_managed": list}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What the cloud requires is in force while it counts, and after that as what it last
// said. It is above the machine's own file and weakens it in nothing.
func TestBundle(t *testing.T) {
	tr := newTree(t)
	state := t.TempDir()
	tr.write(codexFile, forbidLs)
	l := NewLoader(tr.root, state, nil)
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	l.now = func() time.Time { return now }
	file := filepath.Join(state, bundleFile)
	keep := func(documents ...string) {
		tr.must(writeWhole(file, signed(t, served(t, documents...), now, time.Hour)))
	}
	for _, step := range []struct {
		name      string
		do        func()
		holds     string
		layers    int
		incidents incidents
	}{
		{"none", func() {}, holdsLs, 1, nil},
		{"one", func() { keep("", forbidGit) }, holdsBoth, 3, nil},
		{"expired", func() { now = now.Add(time.Hour) }, holdsBoth, 3, incidents{bundleName + "|it counted until 2026-11-25T13:00:00Z, and no newer one was kept"}},
		{"damaged", func() { tr.must(os.WriteFile(file, []byte("{}"), 0o600)) }, holdsBoth, 3, incidents{bundleName + "|without a payload"}},
		{"written by somebody", func() { tr.must(os.Chown(file, nobody, nobody)) }, holdsBoth, 3, incidents{bundleName + "|chown it to root"}},
		{"a newer one", func() { keep("allowed_login_methods = [\"api\"]\n") }, holdsLs, 2, nil},
		{"withdrawn", func() { tr.must(os.Remove(file)) }, holdsLs, 1, nil},
		{"of a server that was never asked", func() { tr.write(codexFile, forbidLs+"[config_server]\nbase_url = \"https://c.example\"\n") }, holdsLs, 1, incidents{bundleName + "|what it requires is not in force"}},
		{"never good", func() {
			tr.must(os.WriteFile(file, []byte("{}"), 0o600))
		}, holdsStrictest, 1, incidents{bundleName + "|without a payload"}},
	} {
		step.do()
		r := l.Load()
		if got := decide(r); got != step.holds || len(r.Layers) != step.layers {
			t.Errorf("%s: holds %s with %d layers", step.name, got, len(r.Layers))
		}
		t.Run(step.name, func(t *testing.T) { step.incidents.check(t, r.Incidents) })
	}
}

// What is no answer of a configuration server cannot be used, however well it is signed.
func TestBadBundles(t *testing.T) {
	now := time.Now()
	if b, err := readBundle(signed(t, served(t, forbidLs), now, time.Hour)); err != nil || b.User != "u" || b.Account != "acc" || b.Requirements[0].Contents != forbidLs {
		t.Errorf("%+v, %v", b, err)
	}
	for name, answer := range map[string][]byte{
		"not an object": []byte("[]"),
		"nothing":       []byte("null"),
		"another type":  []byte(`{"requirements_toml":[]}`),
		"too many":      served(t, make([]string, maxFragments+1)...),
	} {
		if b, err := readBundle(signed(t, answer, now, time.Hour)); err == nil {
			t.Errorf("%s: %+v", name, b)
		}
	}
}

// signed is what Codex keeps of an answer.
func signed(t *testing.T, answer []byte, fetched time.Time, lifetime time.Duration) []byte {
	t.Helper()
	payload, err := marshal(bundlePayload{1, fetched.UTC(), fetched.Add(lifetime).UTC(), "u", "acc", answer})
	if err != nil {
		t.Fatal(err)
	}
	out, err := marshal(signedBundle{payload, sign(payload)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// marshal writes JSON as Codex does, which escapes nothing for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err := json.Compact(&out, b.Bytes())
	return out.Bytes(), err
}

func TestWatchNoticesBundles(t *testing.T) {
	tr := newTree(t)
	state := t.TempDir()
	tr.write(codexFile, forbidLs)
	l := NewLoader(tr.root, state, nil)
	l.Load()
	results := watching(t, l)
	tr.must(writeWhole(filepath.Join(state, bundleFile), signed(t, served(t, forbidGit), time.Now(), time.Hour)))
	if got := decide(next(t, results, "a bundle")); got != holdsBoth {
		t.Errorf("holds %s", got)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add(fromCodex(f))
	f.Add([]byte(`{"signed_payload":{"version":1,"bundle":{"requirements_toml":{"enterprise_managed":[{}]}}},"signature":""}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if b, err := readBundle(data); err == nil {
			b.layers()
		}
		// As if it were signed: who can write the file can sign it.
		var signed signedBundle
		if json.Unmarshal(data, &signed) != nil {
			return
		}
		var compact bytes.Buffer
		if json.Compact(&compact, signed.Payload) != nil {
			return
		}
		signed.Signature = sign(compact.Bytes())
		if again, err := marshal(signed); err == nil {
			if b, err := readBundle(again); err == nil {
				b.layers()
			}
		}
	})
}
