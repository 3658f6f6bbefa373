// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// The project is found by where the session began, and nothing an agent can leave
// there for the next one makes it more than that.
func TestFindProject(t *testing.T) {
	top := t.TempDir()
	uid := uint32(os.Getuid())
	write := func(path, text string) {
		must(t, os.MkdirAll(filepath.Join(top, filepath.Dir(path)), 0o755))
		must(t, os.WriteFile(filepath.Join(top, path), []byte(text), 0o644))
	}
	dir := func(path string) string {
		must(t, os.MkdirAll(filepath.Join(top, path), 0o755))
		return filepath.Join(top, path)
	}
	dir("repo/.git/objects")
	dir("repo/a/b")
	dir("plain/a")
	// a linked work tree, as git makes it
	write("tree/.git", "gitdir: "+top+"/repo/.git/worktrees/tree\n")
	write("repo/.git/worktrees/tree/gitdir", top+"/tree/.git\n")
	write("repo/.git/worktrees/tree/commondir", "../..\n")
	dir("tree/sub")
	// files that an agent could have written into its project
	dir("secret/deep/er")
	write("forged/.git", "gitdir: "+top+"/secret/deep/er\n")
	write("liar/.git", "gitdir: "+top+"/repo/.git/worktrees/tree\n")
	write("self/.git", "gitdir: "+top+"/self/x/worktrees/y\n")
	write("self/x/worktrees/y/gitdir", top+"/self/.git\n")
	write("self/x/worktrees/y/commondir", top+"/secret\n")
	must(t, os.Symlink(top+"/secret", filepath.Join(top, "link")))

	b := policy.Boundary{Mode: policy.WorkspaceWrite}
	for cwd, want := range map[string]project{
		"repo":             {dir: "repo"},
		"repo/a/b":         {dir: "repo"},
		"plain/a":          {dir: "plain/a"},
		"tree/sub":         {dir: "tree", shared: "repo/.git"},
		"forged":           {dir: "forged"},
		"liar":             {dir: "liar"},
		"self":             {dir: "self"},
		"link":             {},
		"missing":          {},
		"repo/a (deleted)": {},
	} {
		if want.dir != "" {
			want.dir = filepath.Join(top, want.dir)
		}
		if want.shared != "" {
			want.shared = filepath.Join(top, want.shared)
		}
		if got := findProject(b, nil, filepath.Join(top, cwd), uid); got != want {
			t.Errorf("%s: %+v, want %+v", cwd, got, want)
		}
	}
	if got := findProject(b, nil, filepath.Join(top, "repo"), uid+1); got != (project{}) {
		t.Errorf("another user's directory: %+v", got)
	}
	b.Project = policy.WorkingDirectory
	if got := findProject(b, nil, filepath.Join(top, "repo/a"), uid); got != (project{dir: filepath.Join(top, "repo/a")}) {
		t.Errorf("the directory: %+v", got)
	}
	b.Projects = [][]policy.Pattern{{{Text: filepath.Join(top, "plain")}}}
	if got := findProject(b, nil, filepath.Join(top, "repo/a"), uid); got != (project{}) {
		t.Errorf("where none may be: %+v", got)
	}
}

func TestMatchParts(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"/srv/**/*.pem", "/srv/a.pem", true},
		{"/srv/**/*.pem", "/srv/a/b/c.pem", true},
		{"/srv/**/*.pem", "/srv/a/b/c.pem/d", false},
		{"/srv/**/*.pem", "/srvx/a.pem", false},
		{"/**/.env", "/a/.env", true},
		{"/**/k/**/x", "/k/x", true},
		{"/**/k/**/x", "/a/k/b/c/x", true},
		{"/**/k/**/x", "/a/b/x", false},
		{"/a/*/c", "/a/b/c", true},
		{"/a/*/c", "/a/b/b/c", false},
	} {
		if got := matchParts(strings.Split(c.pattern, "/"), strings.Split(c.path, "/")); got != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.path, got)
		}
	}
}

func TestMounts(t *testing.T) {
	all := parseMounts([]byte(`22 1 259:2 / / rw,relatime - ext4 /dev/nvme0n1p2 rw
30 22 0:25 / /tmp rw - tmpfs tmpfs rw
31 22 259:2 /srv/data /mnt/with\040space rw - ext4 /dev/nvme0n1p2 rw
40 22 8:1 /sub /data rw - btrfs /dev/sda1 rw,subvol=/sub
50 22 0:50 / /live rw - overlay overlay rw,lowerdir=/a\040b:relative:/c\134:d,upperdir=/up,workdir=/work
broken
41 22 x:y / /x rw - x x rw
`))
	want := []mounted{
		{dev: 259<<20 | 2, root: "/", point: "/"},
		{dev: 25, root: "/", point: "/tmp"},
		{dev: 259<<20 | 2, root: "/srv/data", point: "/mnt/with space"},
		{dev: 8<<20 | 1, root: "/sub", point: "/data"},
		{dev: 50, root: "/", point: "/live", layers: []string{"/a b", "/c:d", "/up"}},
	}
	if diff := cmp.Diff(want, all, cmp.AllowUnexported(mounted{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		dev          uint32
		inside, want string
	}{
		{25, "/a/b", "/tmp/a/b"},
		{25, "/", "/tmp"},
		{259<<20 | 2, "/etc/x", "/etc/x"},
		{8<<20 | 1, "/sub/a", "/data/a"},
		{8<<20 | 1, "/other/a", ""},
		{8<<20 | 1, "/subway", ""},
		{7, "/a", ""},
	} {
		if got := pathOn(all, c.dev, c.inside); got != c.want {
			t.Errorf("%d %s: %q, want %q", c.dev, c.inside, got, c.want)
		}
	}
}

func TestInLayers(t *testing.T) {
	all := []mounted{
		{point: "/", layers: []string{"/run/rw", "/run/ro"}, root: "/"},
		{point: "/home", root: "/"},
		{point: "/srv", root: "/part", layers: []string{"/layer"}},
		{point: "/opt", root: "/", layers: []string{"/old"}},
		{point: "/opt", root: "/"},
	}
	for path, want := range map[string]string{
		"/etc/shadow": "[/run/rw/etc/shadow /run/ro/etc/shadow]", "/": "[/run/rw /run/ro]", "/home/u/.ssh": "[]",
		"/srv/x": "[/layer/part/x]", "/srv": "[/layer/part]", "/opt/x": "[]",
	} {
		if got := fmt.Sprint(inLayers(all, path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func FuzzMounts(f *testing.F) {
	f.Add([]byte(`22 1 259:2 / / rw - ext4 x rw`), "/a")
	f.Add([]byte(`22 1 0:5 /\040\134 /\0400 rw`), "/")
	f.Fuzz(func(t *testing.T, data []byte, inside string) {
		inside = filepath.Clean("/" + inside) // as the kernel walks: without dots
		for _, m := range parseMounts(data) {
			if p := pathOn([]mounted{m}, m.dev, inside); p != "" && !strings.HasPrefix(p, filepath.Clean(m.point)) {
				t.Errorf("%q is not below %q", p, m.point)
			}
		}
	})
}

// Whoever makes a link where a cache is to be gets no place to write to behind it.
func TestLinksLeadNowhere(t *testing.T) {
	top := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(top, "home/.cargo"), 0o755))
	must(t, os.MkdirAll(filepath.Join(top, "private"), 0o755))
	must(t, os.Symlink(filepath.Join(top, "private"), filepath.Join(top, "home/.cache")))
	must(t, os.Symlink(filepath.Join(top, "private"), filepath.Join(top, "home/.npm")))
	l := &lookups{}
	l.init()
	for path, want := range map[string]string{
		"home/.cache":          "[] []",
		"home/.npm/_cacache":   "[] []",
		"home/.cargo/registry": "[] [home/.cargo registry]",
		"home/.cargo":          "[home/.cargo] []",
		"home/.m2/repository":  "[] [home .m2]",
	} {
		r := &resolver{lookups: l}
		r.add(filepath.Join(top, path), ebpf.Bound{Flags: ebpf.BoundWrite})
		var files, names []string
		for _, w := range r.files {
			files = append(files, strings.TrimPrefix(w.path, top+"/"))
		}
		for _, w := range r.names {
			names = append(names, strings.TrimPrefix(w.path, top+"/"), w.name)
		}
		if got := fmt.Sprint(files, " ", names); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	r := &resolver{lookups: l}
	r.add(filepath.Join(top, "home/.cache"), ebpf.Bound{Flags: ebpf.BoundUnreadable})
	if len(r.files) == 0 || r.files[0].path != filepath.Join(top, "private") {
		t.Errorf("what is unreadable is not followed: %+v", r.files)
	}
}

// Of a repository as git makes it, every configuration that somebody else's git obeys is
// known: of submodules with slashes in their names and within each other, and of work
// trees outside of the project.
func TestGitDirectories(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	cmd := exec.Command("sh", "-ec", `export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
		git config --global user.name a; git config --global user.email a@b; git config --global protocol.file.allow always
		for r in inner outer main; do git init -q $r; git -C $r commit -q --allow-empty -m 1; done
		git -C outer submodule -q add ../inner libs/in; git -C outer commit -q -m 2
		git -C main submodule -q add ../outer libs/out; git -C main submodule -q update --init --recursive; git -C main commit -q -m 2
		git -C main worktree add -q ../beside; git -C main worktree add -q within; git -C main worktree add -q ../gone; rm -r gone
		git -C beside submodule -q update --init`)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	names := func(dirs []string) string {
		var out []string
		for _, d := range dirs {
			out = append(out, strings.TrimPrefix(d, top+"/main/.git/"))
		}
		return strings.Join(out, " ")
	}
	git := filepath.Join(top, "main/.git")
	modules, all := gitModules(git)
	if got := names(modules); got != "modules/libs/out modules/libs/out/modules/libs/in" || !all {
		t.Errorf("submodules: %s, all: %v", got, all)
	}
	if got := names(gitTrees(git, filepath.Join(top, "main"), nil)); got != "worktrees/beside" {
		t.Errorf("work trees, for a session in the first: %s", got)
	}
	if got := names(gitTrees(git, filepath.Join(top, "beside"), nil)); got != "worktrees/beside worktrees/within" {
		t.Errorf("work trees, for a session in another: %s", got)
	}
	var r resolver
	r.git(git, filepath.Join(top, "main"), policy.Boundary{Mode: policy.WorkspaceWrite}.Rules())
	var kept []string
	for _, w := range r.names {
		if w.bound.Flags&ebpf.BoundProtected != 0 {
			kept = append(kept, strings.TrimPrefix(filepath.Join(w.path, w.name), git+"/"))
		}
	}
	for _, want := range []string{
		"config", "hooks", "commondir", "modules/libs/out/config", "modules/libs/out/modules/libs/in/config", "worktrees/beside/commondir",
		"worktrees/beside/config.worktree", "worktrees/beside/modules/libs/out/config",
	} {
		if !slices.Contains(kept, want) {
			t.Errorf("%s is not protected: %s", want, kept)
		}
	}
}

// Where a work tree's files have been, no session takes back, whatever it has git's
// own file say for the next one, also of another daemon.
func TestWorkTreesAreRemembered(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	sh := func(script string) {
		t.Helper()
		cmd := exec.Command("sh", "-ec", `export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
			`+script)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
	}
	file := filepath.Join(top, "state")
	open := func() *knownTrees {
		t.Helper()
		k, err := openTrees(file, func(err error) { t.Error(err) })
		must(t, err)
		return k
	}
	known := open()
	expect := func(when, project, want string) {
		t.Helper()
		var got []string
		for _, d := range gitTrees(filepath.Join(top, "main/.git"), filepath.Join(top, project), known) {
			got = append(got, filepath.Base(d))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s, not the session's in %s: %q, want %q", when, project, got, want)
		}
	}
	sh(`git init -q main; git -C main commit -q --allow-empty -m 1
		for w in ../beside ../related in/within in/moved; do git -C main worktree add -q $w; done
		echo ../../../../related/.git >main/.git/worktrees/related/gitdir`)
	expect("as git made it", "main", "beside related")

	sh(`echo $PWD/main/in/within/.git >main/.git/worktrees/beside/gitdir`)
	expect("said to be below the project", "main", "beside related")
	sh(`echo /nowhere/.git >main/.git/worktrees/beside/gitdir; rm main/.git/worktrees/related/gitdir`)
	expect("said to be nowhere", "main", "beside related")
	known = open()
	expect("with the next daemon", "main", "beside related")

	sh(`mkdir beside/x; echo $PWD/beside/x/.git >main/.git/worktrees/within/gitdir`)
	expect("that of the first, said to be below the other", "beside", "beside moved related within")
	sh(`echo $PWD/main/in/within/.git >main/.git/worktrees/within/gitdir; git -C main worktree move in/moved ../moved`)
	expect("moved out", "main", "beside moved related within")
	sh(`echo $PWD/main/in/moved/.git >main/.git/worktrees/moved/gitdir`)
	expect("moved out, and said to be back", "main", "beside moved related within")

	sh(`rm -r main/.git/worktrees/moved; git -C main worktree add -q -f in/moved`)
	expect("removed, and another one made", "main", "beside related within")
	for i := range maxTreePlaces + 1 {
		sh(fmt.Sprintf(`mkdir -p main/in/%d; echo $PWD/main/in/%[1]d/.git >main/.git/worktrees/moved/gitdir`, i))
		gitTrees(filepath.Join(top, "main/.git"), filepath.Join(top, "main"), known)
	}
	expect("in too many places", "main", "beside moved related within")

	must(t, os.WriteFile(file, []byte("no trees"), 0o600))
	var told error
	if known, err = openTrees(file, func(err error) { told = err }); err != nil || told == nil {
		t.Errorf("a damaged file: %v, told %v", err, told)
	}
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
}

// Where no more can be remembered, what is new counts as outside, and what nobody has
// seen for long makes room.
func TestTooManyWorkTrees(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	must(t, err)
	own, project := filepath.Join(top, "p/.git/worktrees/own"), filepath.Join(top, "p")
	must(t, os.MkdirAll(own, 0o755))
	must(t, os.MkdirAll(filepath.Join(project, "in"), 0o755))
	must(t, os.WriteFile(filepath.Join(own, "gitdir"), []byte(project+"/in/.git\n"), 0o644))
	var told error
	known, err := openTrees("", func(err error) { told = err })
	must(t, err)
	for i := range maxKnownTrees {
		id := treeID{Ino: uint64(i)}
		known.known[id] = &knownTree{ID: id, Seen: time.Now()}
	}
	if got := gitTrees(filepath.Join(project, ".git"), project, known); !slices.Equal(got, []string{own}) || told == nil {
		t.Errorf("without room: %s, told %v", got, told)
	}
	known.known[treeID{Ino: 1}].Seen = time.Now().Add(-2 * keepTrees)
	if got := gitTrees(filepath.Join(project, ".git"), project, known); got != nil || len(known.known) != maxKnownTrees {
		t.Errorf("with room: %s, %d known", got, len(known.known))
	}
}

// What a project's directory is called, protects it neither more nor less.
func TestProjectsOfAnyName(t *testing.T) {
	l := &lookups{}
	l.init()
	rules := policy.Boundary{Mode: policy.WorkspaceWrite}.Rules()
	found := map[string]string{}
	for _, name := range []string{"plain", "app [1]", "a*", "wh?t", `back\slash`, "[", "a**b", "caf\xe9 [1]"} {
		top := t.TempDir()
		dir := filepath.Join(top, name)
		for _, d := range []string{".git/hooks", ".git/modules/lib/hooks", ".codex"} {
			must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
		}
		for _, f := range []string{".git/config", ".git/modules/lib/HEAD"} {
			must(t, os.WriteFile(filepath.Join(dir, f), nil, 0o644))
		}
		r := &resolver{lookups: l}
		r.own(dir, rules)
		var all []string
		for _, w := range slices.Concat(r.files, r.names) {
			if below(w.path, dir) {
				all = append(all, fmt.Sprint(strings.TrimPrefix(w.path, dir), " ", w.name, w.bound.Flags))
			}
		}
		found[name] = strings.Join(all, "\n")
		if found[name] != found["plain"] || !strings.Contains(found[name], "/.git/modules/lib/hooks ") {
			t.Errorf("in %q is protected\n%s\nwant\n%s", name, found[name], found["plain"])
		}
	}
}
