// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// A remembered answer holds for the name a program was called by. However that name is found, it is
// the same for the same name, and another for another one.
func TestCalledNames(t *testing.T) {
	k := enforcing(t)
	holds := reader(t, k, Holds)
	dir := t.TempDir()
	program, err := os.ReadFile("/bin/true")
	must(t, err)
	file := func(name string) string {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, program, 0o755))
		return path
	}
	link := func(name, to string) string {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.Symlink(to, path))
		return path
	}
	long := func(n int) string { return strings.Repeat("n", n-2) + fmt.Sprint(n) }

	short := file("some/name")
	calls := []string{short, "./name", "../some/name", dir + "/some//name"}
	calls = append(calls,
		link("links/name", short), link("links/other", short), link("links/longname", short), link("links/nam", short),
		link("links/name-", short), file("else/longname"), file("else/other"), file("else/12345678"), link("links/1234567", dir+"/else/12345678"),
		link("links/12345678", short), file("else/1234567"), link("links/a/name", file("else/a")),
	)
	for _, n := range []int{61, 62, 63, 64, 65, 120} {
		calls = append(calls, file("else/"+long(n)), link("links/"+long(n), short))
	}
	governedShell(t, k, "cd "+filepath.Dir(short)+"; "+strings.Join(calls, "; "))

	names, hashes := map[string]uint64{}, map[uint64]string{}
	for _, path := range calls {
		e := next[*Exec](t, k, holds)
		h, err := k.Hold(e)
		must(t, err)
		must(t, h.Release())
		h.Close()
		if e.Path != path || e.CalledHash == 0 {
			t.Fatalf("called by %q: recorded %q, hash %x", path, e.Path, e.CalledHash)
		}
		name := filepath.Base(path)
		name = name[max(0, len(name)-63):] // of a longer one its end
		if before, ok := names[name]; ok && before != e.CalledHash {
			t.Errorf("%s: the name has another hash than before", path)
		}
		if before, ok := hashes[e.CalledHash]; ok && before != name {
			t.Errorf("%s: has the hash of %s", path, before)
		}
		names[name], hashes[e.CalledHash] = e.CalledHash, name
	}
}

func TestExecRecordsHaveWhatTheySay(t *testing.T) {
	for _, c := range []struct{ path, at, argv uint32 }{
		{path: 9}, {at: 9}, {argv: 9}, {at: 4, argv: 5}, {at: 1<<32 - 1, argv: 2}, {path: 1 << 31},
	} {
		r := kernelExecRecord{PathLen: c.path, ArgvAt: c.at, ArgvLen: c.argv}
		if _, err := decodeExec(Head{}, slices.Concat(unsafe.Slice((*byte)(unsafe.Pointer(&r)), textOffset), make([]byte, 8))); err == nil {
			t.Errorf("%+v: taken for a record, and there are 8 bytes", c)
		}
	}
}
