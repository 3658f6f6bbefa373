// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/watch"
)

// rig is a guard over a tree of its own.
type rig struct {
	*Guard
	t    *testing.T
	tree string
	told chan Change
	skew atomic.Int64 // ns that the clock is ahead
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, tree: t.TempDir(), told: make(chan Change, 1<<16)}
	for _, dir := range []string{"etc/codex", "etc/paddock", "lib"} {
		r.must(os.MkdirAll(filepath.Join(r.tree, dir), 0o755))
	}
	r.write("etc/codex/requirements.toml", "mode = 1\n")
	r.write("lib/paddock.service", "[Unit]\n")
	state := filepath.Join(t.TempDir(), "state")
	r.Guard = &Guard{
		Dir: state, Tell: func(c Change) { r.told <- c }, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Now().Add(time.Duration(r.skew.Load())) },
		Places: func() []Place {
			return []Place{
				{Path: r.path("etc/codex"), Role: Agents},
				{Path: r.path("etc/paddock"), Role: Requirements},
				{Path: r.path("lib/paddock.service"), Role: Paddock, Ours: true},
			}
		},
	}
	return r
}

func (r *rig) ahead(d time.Duration) { r.skew.Add(int64(d)) }

func (r *rig) path(name string) string { return filepath.Join(r.tree, name) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	r.must(os.WriteFile(r.path(name), []byte(text), 0o644))
}

func (r *rig) read(name string) string {
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// seen looks, and returns what was told: "OPERATION NAME", with "restored" or "failed".
func (r *rig) seen() []string {
	r.t.Helper()
	r.look()
	var out []string
	for {
		select {
		case c := <-r.told:
			out = append(out, r.say(c))
		default:
			return out
		}
	}
}

func (r *rig) say(c Change) string {
	text := c.Operation + " " + strings.TrimPrefix(c.Path, r.tree+"/")
	if c.Restored {
		text = "restored " + strings.TrimPrefix(c.Path, r.tree+"/")
	}
	if c.Failed != nil {
		text += " failed"
	}
	if c.Down {
		text += " while down"
	}
	return text
}

// Whatever is done to a file is noticed, and what it was is known.
func TestEveryChangeIsSeen(t *testing.T) {
	const file = "etc/codex/requirements.toml"
	for _, c := range []struct {
		name string
		do   func(r *rig) error
		want []string
	}{
		{"nothing", func(r *rig) error { return nil }, nil},
		{"written", func(r *rig) error { r.write(file, "mode = 2\n"); return nil }, []string{"write " + file}},
		{"truncated", func(r *rig) error { return os.Truncate(r.path(file), 0) }, []string{"write " + file}},
		{"swapped by rename", func(r *rig) error {
			r.write("new", "mode = 3\n")
			return os.Rename(r.path("new"), r.path(file))
		}, []string{"rename " + file}},
		{"swapped for a link", func(r *rig) error {
			r.write("other", "mode = 1\n")
			return errors.Join(os.Remove(r.path(file)), os.Symlink(r.path("other"), r.path(file)))
		}, []string{"rename " + file}},
		{"removed", func(r *rig) error { return os.Remove(r.path(file)) }, []string{"remove " + file}},
		{"removed and made again", func(r *rig) error {
			defer r.write(file, "mode = 1\n")
			return os.Rename(r.path(file), r.path("aside")) // so that it cannot get the same inode
		}, []string{"rename " + file}},
		{"mode", func(r *rig) error { return os.Chmod(r.path(file), 0o666) }, []string{"change " + file}},
		{"owner", func(r *rig) error { return os.Chown(r.path(file), 65534, 65534) }, []string{"change " + file}},
		{"mode of the directory", func(r *rig) error { return os.Chmod(r.path("etc/codex"), 0o777) }, []string{"change etc/codex"}},
		{"made", func(r *rig) error { r.write("etc/codex/rules", "x"); return nil }, []string{"create etc/codex/rules"}},
		{"made deep", func(r *rig) error {
			r.must(os.MkdirAll(r.path("etc/paddock/a/b"), 0o755))
			r.write("etc/paddock/a/b/c", "x")
			return nil
		}, []string{"create etc/paddock/a", "create etc/paddock/a/b", "create etc/paddock/a/b/c"}},
		{"the directory goes", func(r *rig) error { return os.RemoveAll(r.path("etc/codex")) }, []string{"remove etc/codex", "remove " + file}},
		{"another directory takes its place", func(r *rig) error {
			r.must(os.MkdirAll(r.path("etc/new"), 0o755))
			r.write("etc/new/requirements.toml", "mode = 4\n")
			return errors.Join(os.Rename(r.path("etc/codex"), r.path("aside")), os.Rename(r.path("etc/new"), r.path("etc/codex")))
		}, []string{"rename etc/codex", "rename " + file}},
		{"changed and changed back", func(r *rig) error {
			r.write(file, "mode = 9\n")
			r.write(file, "mode = 1\n")
			return nil
		}, []string{"change " + file}},
		{"changed back with its times", func(r *rig) error {
			info, err := os.Stat(r.path(file))
			r.must(err)
			r.write(file, "mode = 9\n")
			r.write(file, "mode = 1\n")
			return os.Chtimes(r.path(file), info.ModTime(), info.ModTime())
		}, []string{"change " + file}},
		{"written by another name", func(r *rig) error {
			r.must(os.Link(r.path(file), r.path("other")))
			r.write("other", "mode = 2\n")
			return nil
		}, []string{"write " + file}},
		{"what is not watched", func(r *rig) error { r.write("etc/hosts", "x"); return nil }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			if got := r.seen(); got != nil {
				t.Fatalf("the first look tells %q", got)
			}
			r.must(c.do(r))
			if got := r.seen(); !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
			if got := r.seen(); got != nil {
				t.Errorf("told once more: %q", got)
			}
		})
	}
}

// A mount over a file or a directory causes no notification, and is seen all the same.
func TestMountOver(t *testing.T) {
	r := newRig(t)
	r.seen()
	over := t.TempDir()
	r.must(os.WriteFile(filepath.Join(over, "requirements.toml"), []byte("mode = 1\n"), 0o644))
	r.must(unix.Mount(over, r.path("etc/codex"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(r.path("etc/codex"), unix.MNT_DETACH) })
	if got, want := r.seen(), []string{"rename etc/codex", "rename etc/codex/requirements.toml"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	r.must(unix.Unmount(r.path("etc/codex"), unix.MNT_DETACH))
	if got := r.seen(); len(got) != 2 {
		t.Errorf("unmounted: told %q", got)
	}
}

// What changed while Paddock did not run is told at its start.
func TestWhileDown(t *testing.T) {
	r := newRig(t)
	r.seen()
	again := newRig(t)
	again.tree, again.Dir, again.Places = r.tree, r.Dir, r.Places
	r.write("etc/codex/requirements.toml", "mode = 5\n")
	r.must(os.Remove(r.path("lib/paddock.service")))
	if got, want := again.seen(), []string{"write etc/codex/requirements.toml while down", "remove lib/paddock.service while down"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	// It was ours, and is gone: not an upgrade.
	if got := again.seen(); !slices.Equal(got, []string{"restored lib/paddock.service"}) || r.read("lib/paddock.service") != "[Unit]\n" {
		t.Errorf("told %q; there is %q", got, r.read("lib/paddock.service"))
	}
}

// What is ours is put back, whatever was done to it.
func TestRestore(t *testing.T) {
	const file = "lib/paddock.service"
	for _, c := range []struct {
		name string
		do   func(r *rig) error
		want string
	}{
		{"written", func(r *rig) error { r.write(file, "[Evil]\n"); return nil }, "restored"},
		{"emptied", func(r *rig) error { return os.Truncate(r.path(file), 0) }, "restored"},
		{"removed", func(r *rig) error { return os.Remove(r.path(file)) }, "restored"},
		{"with its directory", func(r *rig) error { return os.RemoveAll(r.path("lib")) }, "restored"},
		{"mode", func(r *rig) error { return os.Chmod(r.path(file), 0o666) }, "restored"},
		{"owner", func(r *rig) error { return os.Chown(r.path(file), 65534, 65534) }, "restored"},
		{"a link to elsewhere", func(r *rig) error {
			r.write("victim", "precious")
			return errors.Join(os.Remove(r.path(file)), os.Symlink(r.path("victim"), r.path(file)))
		}, "restored"},
		{"a link instead of its directory", func(r *rig) error {
			r.must(os.MkdirAll(r.path("elsewhere"), 0o755))
			return errors.Join(os.RemoveAll(r.path("lib")), os.Symlink(r.path("elsewhere"), r.path("lib")))
		}, "failed"},
		{"a directory in its place", func(r *rig) error {
			return errors.Join(os.Remove(r.path(file)), os.Mkdir(r.path(file), 0o755))
		}, "failed"},
		{"changed and changed back", func(r *rig) error {
			r.write(file, "[Evil]\n")
			r.write(file, "[Unit]\n")
			return nil
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.seen()
			r.must(c.do(r))
			got := strings.Join(r.seen(), ", ")
			if c.want != "" && !strings.Contains(got, c.want) || c.want == "" && strings.Contains(got, "restored") || got == "" {
				t.Errorf("told %q, want %q", got, c.want)
			}
			is, err := printOf(r.path(file), nil, true)
			if c.want != "failed" && (err != nil || !is.locked() || is.Mode != unix.S_IFREG|0o644 || r.read(file) != "[Unit]\n") {
				t.Errorf("there is %+v, %v: %q", is, err, r.read(file))
			}
			if c.name == "a link to elsewhere" && r.read("victim") != "precious" {
				t.Errorf("what the link led to is %q", r.read("victim"))
			}
			if left, _ := filepath.Glob(r.path("*/.paddock-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// Somebody who changes it again and again wins, for a while, and that is told.
func TestRestoreWar(t *testing.T) {
	r := newRig(t)
	r.seen()
	restored, failed := 0, 0
	for i := range 20 {
		r.write("lib/paddock.service", fmt.Sprintf("[Evil]\n%d", i))
		for _, s := range r.seen() {
			if strings.HasPrefix(s, "restored") {
				restored++
			}
			if strings.HasSuffix(s, "failed") {
				failed++
			}
		}
	}
	if restored != maxFought || failed != 1 || !strings.HasPrefix(r.read("lib/paddock.service"), "[Evil]") {
		t.Errorf("put back %d times, given up %d times: %q", restored, failed, r.read("lib/paddock.service"))
	}
	r.ahead(warTime + time.Minute)
	if got := r.seen(); !slices.Contains(got, "restored lib/paddock.service") {
		t.Errorf("when it is over: told %q", got)
	}
}

// An upgrade brings another file of ours, and with it another program: that is left
// alone, and taken for what should be there by the daemon that comes then.
func TestUpgrade(t *testing.T) {
	r := newRig(t)
	upgrading := false
	r.Patience, r.Upgrading = time.Hour, func() bool { return upgrading }
	r.seen()
	r.write("lib/paddock.service", "[Unit]\nnew\n")
	if got := r.seen(); !slices.Equal(got, []string{"write lib/paddock.service"}) {
		t.Errorf("at once: %q", got)
	}
	upgrading = true
	r.ahead(2 * time.Hour)
	if got := r.seen(); got != nil || r.read("lib/paddock.service") != "[Unit]\nnew\n" {
		t.Errorf("told %q; there is %q", got, r.read("lib/paddock.service"))
	}
	again := newRig(t)
	again.tree, again.Dir, again.Places, again.Program = r.tree, r.Dir, r.Places, "another one"
	if got := again.seen(); got != nil || r.read("lib/paddock.service") != "[Unit]\nnew\n" {
		t.Errorf("the new one tells %q; there is %q", got, r.read("lib/paddock.service"))
	}
	r.write("lib/paddock.service", "[Evil]\n")
	if again.seen(); r.read("lib/paddock.service") != "[Unit]\nnew\n" {
		t.Errorf("after the upgrade: %q", r.read("lib/paddock.service"))
	}
}

// What others could have written is not kept as ours.
func TestUnlockedIsNotOurs(t *testing.T) {
	r := newRig(t)
	r.must(os.Chmod(r.path("lib/paddock.service"), 0o666))
	r.seen()
	r.write("lib/paddock.service", "other")
	if got := r.seen(); slices.Contains(got, "restored lib/paddock.service") {
		t.Errorf("told %q", got)
	}
}

// Ten thousand changes are few looks and few events, and the last state is known.
func TestStorm(t *testing.T) {
	r := newRig(t)
	r.seen() // what is there is known before anything changes
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	defer func() {
		cancel()
		r.must(<-done)
	}()
	const file = "etc/codex/requirements.toml"
	r.write(file, "begin")
	r.waitSum(file)
	f, err := os.OpenFile(r.path(file), os.O_WRONLY, 0) // once: a file that is emptied and written again is flushed each time
	r.must(err)
	for i := range 10_000 {
		_, err := fmt.Fprintln(f, i)
		r.must(err)
	}
	r.must(f.Close())
	r.ahead(2 * time.Minute)
	r.write(file, "end")
	told := r.waitSum(file)
	if told > 100 {
		t.Errorf("%d events", told)
	}
}

// waitSum waits until what a file is now was told, and returns how much was told.
func (r *rig) waitSum(name string) int {
	r.t.Helper()
	want := sumOf(r.path(name))
	for told := 1; ; told++ {
		select {
		case c := <-r.told:
			if c.After != nil && c.After.Sum == want {
				return told
			}
		case <-time.After(20 * time.Second):
			r.t.Fatalf("%s: what it is was not told", name)
		}
	}
}

// One file that changes all the time is told of now and then, with how often it was not.
func TestManyChangesOfOneFile(t *testing.T) {
	r := newRig(t)
	r.seen()
	told := 0
	for i := range 100 {
		r.write("etc/codex/requirements.toml", fmt.Sprintf("mode = %d\n", i))
		told += len(r.seen())
	}
	if told != maxTold {
		t.Errorf("told %d times", told)
	}
	r.ahead(2 * time.Minute)
	r.write("etc/codex/requirements.toml", "mode = 1000\n")
	r.look()
	if c := <-r.told; c.Folded != 100-maxTold || c.After.Sum != sumOf(r.path("etc/codex/requirements.toml")) {
		t.Errorf("%d folded, want %d: %+v", c.Folded, 100-maxTold, c)
	}
	// The last one is told though nothing comes after it.
	for i := range 20 {
		r.write("etc/codex/requirements.toml", fmt.Sprintf("mode = %d\n", 2000+i))
		r.seen()
	}
	r.ahead(2 * time.Minute)
	r.look()
	if c := <-r.told; c.After.Sum != sumOf(r.path("etc/codex/requirements.toml")) || c.Folded == 0 {
		t.Errorf("the last one: %+v", c)
	}
}

// A flood of new files is told as such.
func TestFlood(t *testing.T) {
	r := newRig(t)
	r.seen()
	for i := range 1000 {
		r.write(fmt.Sprintf("etc/codex/f%d", i), "")
	}
	r.write("etc/codex/requirements.toml", "mode = 2\n")
	told := r.seen()
	if len(told) != maxTells+1 {
		t.Errorf("told %d times", len(told))
	}
	r.write("etc/codex/requirements.toml", "mode = 3\n")
	if got := r.seen(); !slices.Equal(got, []string{"write etc/codex/requirements.toml"}) {
		t.Errorf("among a thousand: %q", got)
	}
}

// Of users' files only what sessions do is told, and none is read.
func TestUsersPlaces(t *testing.T) {
	r := newRig(t)
	r.write("lib/big", "x")
	r.Places = func() []Place { return []Place{{Path: r.path("lib"), Role: Users, Sessions: true}} }
	r.seen()
	r.write("lib/big", "y")
	r.look()
	if c := <-r.told; !c.Sessions || c.Operation != Alter || c.After.Sum != "" {
		t.Errorf("%+v", c)
	}
}

// Who did it is in what is told.
func TestWho(t *testing.T) {
	r := newRig(t)
	r.Last = func(path string, after time.Time) (watch.Act, bool) {
		return watch.Act{PID: 7, Who: path}, path == r.path("etc/codex/requirements.toml") && after.After(time.Now().Add(-time.Minute))
	}
	r.seen()
	r.write("etc/codex/requirements.toml", "x")
	r.write("etc/codex/other", "x")
	r.look()
	for range 2 {
		if c := <-r.told; c.Known != (c.Path == r.path("etc/codex/requirements.toml")) {
			t.Errorf("%s: %+v", c.Path, c.Act)
		}
	}
}

// What is kept may be damaged, and is then not written anywhere.
func TestDamagedState(t *testing.T) {
	r := newRig(t)
	r.seen()
	kept, err := filepath.Glob(filepath.Join(r.Dir, "????????????????????????????????????????????????????????????????"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%q, %v", kept, err)
	}
	r.must(os.WriteFile(kept[0], []byte("[Evil]"), 0o600))
	r.must(os.Remove(r.path("lib/paddock.service")))
	if got := r.seen(); !slices.Contains(got, "write lib/paddock.service failed") {
		t.Errorf("told %q", got)
	}
	r.must(os.WriteFile(filepath.Join(r.Dir, knownName), []byte("{"), 0o600))
	again := newRig(t)
	again.tree, again.Dir, again.Places = r.tree, r.Dir, r.Places
	if got := again.seen(); got != nil {
		t.Errorf("nothing is known, and told %q", got)
	}
}

func FuzzKnown(f *testing.F) {
	f.Add([]byte(`{"places":["/a"],"prints":{"/a":null,"/b":{"mode":1}},"ours":{"/c":{"sum":"../x"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, knownName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := readKnown(dir)
		if err != nil {
			return
		}
		for _, p := range k.ours {
			if _, err := k.content(dir, p); err == nil {
				t.Fatalf("content of %+v, which is not there", p)
			}
		}
	})
}
