// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
)

const (
	forbidLs  = "[rules]\nprefix_rules = [{pattern = [{token = \"ls\"}], decision = \"forbidden\"}]\n"
	forbidGit = "[rules]\nprefix_rules = [{pattern = [{token = \"git\"}], decision = \"forbidden\"}]\n[paddock]\nmode = \"enforce\"\n"
	broken    = "[rules]\nprefix_rules = [{pattern = [{token = \"ls\"}], decision = \"forbidn\"}]\n"
)

// decide tells what holds for three programs, in one string.
func decide(r Result) string {
	rules := policy.Compile(r.Requirements.Rules, r.Requirements.Unmatched)
	out := r.Requirements.Mode.String()
	for _, name := range []string{"ls", "git", "true"} {
		out += " " + name + ":" + rules.Decide(policy.Command{Names: []string{name}}).Decision.String()
	}
	d, _ := r.Requirements.Network.Decide(netip.MustParseAddrPort("192.0.2.1:443"), policy.TCP)
	return out + " net:" + d.String()
}

const (
	holdsNothing   = "observe ls:allow git:allow true:allow net:allow"
	holdsLs        = "enforce ls:forbidden git:allow true:allow net:allow"
	holdsGit       = "enforce ls:allow git:forbidden true:allow net:allow"
	holdsBoth      = "enforce ls:forbidden git:forbidden true:allow net:allow"
	holdsStrictest = "enforce ls:forbidden git:forbidden true:forbidden net:deny"
)

type incidents []string

func (want incidents) check(t *testing.T, got []Incident) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d incidents %v, want %d", len(got), got, len(want))
		return
	}
	for i, w := range want {
		source, text, _ := strings.Cut(w, "|")
		if got[i].Source != source || !strings.Contains(got[i].Err.Error(), text) {
			t.Errorf("incident %d: %s: %v\nwant %s: ...%s...", i, got[i].Source, got[i].Err, source, text)
		}
	}
}

func TestLoad(t *testing.T) {
	const codex, paddock = "/etc/codex/requirements.toml", "/etc/paddock/requirements.toml"
	steps := []struct {
		name       string
		do         func(tr tree)
		holds      string
		layers     []string // " (kept)" behind a last-known-good
		incidents  incidents
		generation uint64
	}{
		{"nothing at all", func(tree) {}, holdsNothing, nil, nil, 1},
		{"an empty directory", func(tr tree) { tr.dir(etc + "/codex") }, holdsNothing, nil, nil, 1},
		{
			"an empty file is a layer, and enforces", func(tr tree) { tr.write(codexFile, "") },
			"enforce ls:allow git:allow true:allow net:allow",
			[]string{codex},
			nil, 2,
		},
		{"Codex's file", func(tr tree) { tr.write(codexFile, forbidLs) }, holdsLs, []string{codex}, nil, 3},
		{"the same again", func(tr tree) { tr.write(codexFile, forbidLs) }, holdsLs, []string{codex}, nil, 3},
		{"ours too", func(tr tree) { tr.write(paddockFile, forbidGit) }, holdsBoth, []string{codex, paddock}, nil, 4},
		{
			"Codex's breaks", func(tr tree) { tr.write(codexFile, broken) }, holdsBoth,
			[]string{codex + " (kept)", paddock},
			incidents{codex + `|reading requirements layer /etc/codex/requirements.toml: line 2, column 57: rules.prefix_rules[0].decision: unknown decision "forbidn"; did you mean "forbidden"?`},
			4,
		},
		{"it stays broken", func(tree) {}, holdsBoth, []string{codex + " (kept)", paddock}, incidents{codex + "|forbidn"}, 4},
		{
			"ours is unlocked", func(tr tree) { tr.mode(paddockFile, 0o666) }, holdsBoth,
			[]string{codex + " (kept)", paddock + " (kept)"},
			incidents{codex + "|forbidn", paddock + "|can be written by group and others"},
			4,
		},
		{
			"both are repaired", func(tr tree) { tr.write(codexFile, forbidLs); tr.mode(paddockFile, 0o644) },
			holdsBoth,
			[]string{codex, paddock},
			nil, 4,
		},
		{
			"an unlocked directory holds the layer", func(tr tree) { tr.mode(etc+"/codex", 0o775) }, holdsBoth,
			[]string{codex + " (kept)", paddock},
			incidents{codex + "|can be written by its group"},
			4,
		},
		{
			"even if the file is gone from it", func(tr tree) { tr.must(os.Remove(tr.path(codexFile))) }, holdsBoth,
			[]string{codex + " (kept)", paddock},
			incidents{codex + "|can be written by its group"},
			4,
		},
		{"gone from a locked one, it is withdrawn", func(tr tree) { tr.mode(etc+"/codex", 0o755) }, holdsGit, []string{paddock}, nil, 5},
		{"and forgotten", func(tr tree) { tr.write(codexFile, broken) }, holdsStrictest, []string{paddock}, incidents{codex + "|forbidn"}, 6},
		{"until it can be used", func(tr tree) { tr.write(codexFile, forbidLs) }, holdsBoth, []string{codex, paddock}, nil, 7},
		{"all withdrawn", func(tr tree) { tr.must(os.RemoveAll(tr.path(etc))) }, holdsNothing, nil, nil, 8},
	}
	tr := newTree(t)
	l := NewLoader(tr.root, t.TempDir(), nil)
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			tr.t = t
			step.do(tr)
			r := l.Load()
			if got := decide(r); got != step.holds {
				t.Errorf("holds %s\nwant  %s", got, step.holds)
			}
			var layers []string
			kept := false
			for _, layer := range r.Layers {
				name := layer.Source
				if layer.LastKnownGood {
					name, kept = name+" (kept)", true
				}
				if layer.Path != filepath.Join(tr.root, strings.Replace(layer.Source, "/etc", etc, 1)) || len(layer.Digest) != 64 || layer.Requirements == nil {
					t.Errorf("layer %+v", layer)
				}
				layers = append(layers, name)
			}
			if diff := cmp.Diff(step.layers, layers); diff != "" {
				t.Errorf("layers (-want +got):\n%s", diff)
			}
			if r.LastKnownGood != kept || r.Strictest != (step.holds == holdsStrictest) || r.Generation != step.generation {
				t.Errorf("last-known-good %t, strictest %t, generation %d; want generation %d", r.LastKnownGood, r.Strictest, r.Generation, step.generation)
			}
			step.incidents.check(t, r.Incidents)
		})
	}
}

// A new daemon knows what the old one knew.
func TestLoadAfterRestart(t *testing.T) {
	tr := newTree(t)
	state := filepath.Join(t.TempDir(), "made", "by", "it")
	tr.write(codexFile, forbidLs)
	NewLoader(tr.root, state, nil).Load()
	for name, spoil := range map[string]func(){
		"broken":     func() { tr.write(codexFile, "[rules") },
		"unlocked":   func() { tr.owner(codexFile, nobody) },
		"a link":     func() { tr.must(errors.Join(os.Remove(tr.path(codexFile)), os.Symlink("x", tr.path(codexFile)))) },
		"not UTF-8":  func() { tr.write(codexFile, "# \xff") },
		"too large":  func() { tr.must(os.Truncate(tr.path(codexFile), MaxFile+1)) },
		"a mistake":  func() { tr.write(codexFile, "[paddock]\nmod = 'observe'\n") },
		"half of it": func() { tr.write(codexFile, forbidLs[:len(forbidLs)/2]) },
	} {
		tr.write(codexFile, forbidLs)
		spoil()
		r := NewLoader(tr.root, state, nil).Load()
		if got := decide(r); got != holdsLs || !r.LastKnownGood || len(r.Incidents) != 1 {
			t.Errorf("%s: holds %s, last-known-good %t, incidents %v", name, got, r.LastKnownGood, r.Incidents)
		}
		tr.must(os.Remove(tr.path(codexFile)))
	}

	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others may look into it", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// What is kept is requirements: who could change it would be the administrator.
func TestKeptIsLocked(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(t *testing.T, state, file string) error
		want  incidents
	}{
		{"lost", func(_ *testing.T, _, file string) error { return os.Remove(file) }, nil},
		{"somebody's", func(_ *testing.T, _, file string) error { return os.Chown(file, nobody, -1) }, incidents{"|last-known-good: reading"}},
		{"writable", func(_ *testing.T, _, file string) error { return os.Chmod(file, 0o622) }, incidents{"|last-known-good: reading"}},
		{"in a sticky directory", func(_ *testing.T, state, _ string) error {
			return os.Chmod(state, 0o777|os.ModeSticky)
		}, incidents{"|last-known-good: reading", "cloud requirements|chmod go-w it", "cloud requirements|last-known-good: reading"}},
		{"a link", func(_ *testing.T, state, file string) error {
			return errors.Join(os.Rename(file, state+"/x"), os.Symlink(state+"/x", file))
		}, incidents{"|is a symbolic link"}},
		{"damaged", func(_ *testing.T, _, file string) error { return os.WriteFile(file, []byte("[rul"), 0o600) }, incidents{"|last-known-good: reading requirements layer"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			state := t.TempDir()
			tr.write(codexFile, forbidLs)
			NewLoader(tr.root, state, nil).Load()
			tr.write(codexFile, broken)
			file := filepath.Join(state, keptDir, "system-codex.toml")
			if r := NewLoader(tr.root, state, nil).Load(); !r.LastKnownGood {
				t.Fatalf("before it was spoilt: %+v", r)
			}
			if err := tt.spoil(t, state, file); err != nil {
				t.Fatal(err)
			}
			r := NewLoader(tr.root, state, nil).Load()
			if got := decide(r); got != holdsStrictest || !r.Strictest || r.LastKnownGood {
				t.Errorf("holds %s, strictest %t", got, r.Strictest)
			}
			want := incidents{"/etc/codex/requirements.toml|forbidn"}
			for _, w := range tt.want {
				if w[0] == '|' {
					w = "/etc/codex/requirements.toml" + w
				}
				want = append(want, w)
			}
			want.check(t, r.Incidents)
		})
	}
}

// The layers that can be used do not soften what the one that cannot demands.
func TestStrictestIsNotMerged(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, broken)
	tr.write(paddockFile, "[rules]\nprefix_rules = [{pattern = [{token = \"ls\"}], decision = \"prompt\"}]\n"+
		"[paddock]\nmode = \"observe\"\nagents = [\"codex\"]\n[paddock.telemetry]\nendpoint = \"http://127.0.0.1:4318\"\nheaders = {a = \"b\"}\n")
	r := NewLoader(tr.root, t.TempDir(), nil).Load()
	if got := decide(r); got != holdsStrictest || len(r.Requirements.Agents) != 0 {
		t.Errorf("holds %s for agents %q", got, r.Requirements.Agents)
	}
	if r.Requirements.Telemetry.Endpoint != "http://127.0.0.1:4318" || r.Requirements.Telemetry.Headers["a"] != "b" {
		t.Errorf("telemetry %+v: nobody will hear of it", r.Requirements.Telemetry)
	}
}

// That requirements cannot be kept is said. Where anybody may have taken away what
// was kept, nobody knows what the cloud requires.
func TestLoadWithoutState(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, forbidLs)
	file := filepath.Join(t.TempDir(), "f")
	tr.must(os.WriteFile(file, nil, 0o600))
	open := t.TempDir()
	tr.must(os.Chmod(open, 0o777))
	for state, want := range map[string]incidents{
		file: {
			"/etc/codex/requirements.toml|as last-known-good", "/etc/paddock/requirements.toml|forgetting the last-known-good",
			"cloud requirements|not a directory", "cloud requirements|last-known-good: reading",
			"/etc/codex/managed_config.toml|forgetting the last-known-good",
		},
		open: {
			"/etc/codex/requirements.toml|as last-known-good",
			"cloud requirements|chmod go-w it", "cloud requirements|last-known-good: reading",
		},
	} {
		r := NewLoader(tr.root, state, nil).Load()
		if got := decide(r); got != holdsStrictest {
			t.Errorf("with state in %s holds %s", state, got)
		}
		want.check(t, r.Incidents)
	}
}

// Two files that are fine alone may be more than fits together.
func TestLayersTooManyPorts(t *testing.T) {
	tr := newTree(t)
	few := func(from int) string {
		var b strings.Builder
		b.WriteString("[paddock.network]\n")
		for port := from; port < from+200; port += 20 {
			b.WriteString("[[paddock.network.rules]]\ncidr = \"10.0.0.0/8\"\ndecision = \"deny\"\nports = " + strconv.Itoa(port) + "\n")
		}
		return b.String()
	}
	tr.write(codexFile, few(100))
	l := NewLoader(tr.root, t.TempDir(), nil)
	if r := l.Load(); len(r.Incidents) != 0 || r.Requirements.Network.None {
		t.Fatalf("one layer: %v", r.Incidents)
	}
	tr.write(paddockFile, few(110))
	r := l.Load()
	incidents{"all layers together|no connection is allowed: network rules for 10.0.0.0/8 need"}.check(t, r.Incidents)
	if _, err := r.Requirements.Network.Entries(); err != nil || !r.Requirements.Network.None {
		t.Errorf("network %+v, %v; want none", r.Requirements.Network, err)
	}
	if got := r.Requirements.Network.Closed(); got != tooMany {
		t.Errorf("who is refused is told: %s", got)
	}
}

// What is logged says what happened once, and no secret.
func TestLoadLog(t *testing.T) {
	tr := newTree(t)
	tr.write(codexFile, forbidLs+"[paddock.telemetry]\nendpoint = \"https://otel.example.com\"\nheaders = {authorization = \"Bearer hush\"}\n")
	tr.write(paddockFile, "[padock]\n")
	var out bytes.Buffer
	l := NewLoader(tr.root, t.TempDir(), slog.New(slog.NewTextHandler(&out, nil)))
	l.Load()
	l.Load()
	tr.write(codexFile, "[paddock.telemetry]\nendpoint = \"https://otel.example.com\"\nheaders = {authorization = [\"Bearer hush\"]}\n")
	l.Load()
	l.Load()
	text := out.String()
	for want, times := range map[string]int{"requirements loaded": 2, "requirements cannot be used": 1, `did you mean \"paddock\"`: 2, "hush": 0} {
		if n := strings.Count(text, want); n != times {
			t.Errorf("%q is in the log %d times, want %d:\n%s", want, n, times, text)
		}
	}
}
