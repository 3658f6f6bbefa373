// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// layers is a place with file systems of its own, on which overlays are made. It is no
// place for temporary files.
func layers(t *testing.T, names ...string) string {
	t.Helper()
	dir := fmt.Sprintf("/srv/pdk-layers-%d", os.Getpid())
	must(t, os.Mkdir(dir, 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	for _, name := range names {
		place := filepath.Join(dir, name)
		must(t, os.Mkdir(place, 0o755))
		must(t, unix.Mount("pdk-"+name, place, "tmpfs", 0, "mode=755"))
		t.Cleanup(func() { must(t, unix.Unmount(place, unix.MNT_DETACH)) })
	}
	return dir
}

// overlay mounts one, as who makes containers does.
func overlay(t *testing.T, at, options string) {
	t.Helper()
	must(t, os.MkdirAll(at, 0o755))
	must(t, unix.Mount("overlay", at, "overlay", 0, options))
	t.Cleanup(func() { must(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

// numbered: an overlay of two file systems gives its directories numbers that files of
// it have as well. What holds for such a file holds for none of the directories.
func (b *boundedMachine) numbered(t *testing.T) {
	dir := layers(t, "lower", "upper")
	const many = 100
	for i := range many {
		must(t, os.MkdirAll(filepath.Join(dir, "lower/secrets"), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "lower/secrets", fmt.Sprint(i)), []byte("secret\n"), 0o644))
	}
	for i := range many {
		place := filepath.Join(dir, "lower/places", fmt.Sprint(i))
		must(t, os.MkdirAll(place, 0o755))
		must(t, os.WriteFile(filepath.Join(place, "file"), []byte("content\n"), 0o644))
	}
	must(t, os.Mkdir(filepath.Join(dir, "upper/up"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "upper/work"), 0o755))
	merged := filepath.Join(dir, "merged")
	overlay(t, merged, fmt.Sprintf("lowerdir=%s/lower,upperdir=%s/upper/up,workdir=%s/upper/work,xino=off", dir, dir, dir))

	taken := map[uint64]bool{}
	var kept []*os.File // as long as they are open their numbers stay
	for _, path := range []string{"secrets", "places"} {
		for i := range many {
			f, err := os.Open(filepath.Join(merged, path, fmt.Sprint(i)))
			must(t, err)
			kept = append(kept, f)
			var st unix.Stat_t
			must(t, unix.Fstat(int(f.Fd()), &st))
			if path == "secrets" {
				taken[st.Ino] = true
			} else if taken[st.Ino] {
				taken[0] = true
			}
		}
	}
	defer func() {
		for _, f := range kept {
			f.Close()
		}
	}()
	if !taken[0] {
		t.Fatal("no directory has the number of a file: nothing is tried")
	}
	b.bound(`unreadable = ["` + merged + `/secrets/*"]`)
	out, err := b.run(fmt.Sprintf(`/bin/true; cd %s; n=0; while [ $n -lt %d ]; do
		read x <places/$n/file || echo refused place $n; read x <secrets/$n && echo told secret $n; n=$((n + 1)); done 2>/dev/null; echo end`, merged, many))
	if err != nil || strings.TrimSpace(out) != "end" {
		t.Errorf("%v: %s", err, out)
	}
}
