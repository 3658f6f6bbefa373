// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const nobody = 65534

func TestReadLocked(t *testing.T) {
	tr := newTree(t)
	want := "[rules]\n\x00 any bytes"
	tr.write("/a/b/f", want)
	for _, name := range []string{"/a/b/f", "/a//b/./f", "/a/b/../b/f"} {
		got, err := ReadLocked(tr.root, name)
		if err != nil || string(got) != want {
			t.Errorf("ReadLocked(%q) = %q, %v", name, got, err)
		}
	}
	for _, mode := range []uint32{0o600, 0o400, 0o755, 0o000} {
		tr.mode("/a/b/f", mode)
		if _, err := ReadLocked(tr.root, "/a/b/f"); err != nil {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	tr.write("/empty", "")
	if got, err := ReadLocked(tr.root, "/empty"); err != nil || len(got) != 0 {
		t.Errorf("an empty file: %q, %v", got, err)
	}
}

func TestReadLockedRefuses(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(tr tree)
		reason string
	}{
		{"the file belongs to somebody", func(tr tree) { tr.owner("/etc/p/f", nobody) }, "/etc/p/f belongs to uid 65534; chown it to root"},
		{"group may write the file", func(tr tree) { tr.mode("/etc/p/f", 0o664) }, "/etc/p/f (mode 0664) can be written by its group; chmod go-w it"},
		{"others may write the file", func(tr tree) { tr.mode("/etc/p/f", 0o646) }, "/etc/p/f (mode 0646) can be written by others"},
		{"the directory belongs to somebody", func(tr tree) { tr.owner("/etc/p", nobody) }, "/etc/p belongs to uid 65534"},
		{"group may write the directory", func(tr tree) { tr.mode("/etc/p", 0o775) }, "/etc/p (mode 0775) can be written by its group"},
		{"others may write the directory", func(tr tree) { tr.mode("/etc/p", 0o777) }, "/etc/p (mode 0777) can be written by group and others"},
		{"the directory is sticky", func(tr tree) { tr.mode("/etc/p", 0o1777) }, "/etc/p (mode 1777) can be written by group and others"},
		{"a directory further up belongs to somebody", func(tr tree) { tr.owner("/etc", nobody) }, "/etc belongs to uid 65534"},
		{"a directory further up is sticky", func(tr tree) { tr.mode("/etc", 0o1777) }, "/etc (mode 1777) can be written by group and others"},
		{"the root belongs to somebody", func(tr tree) { tr.owner("/", nobody) }, " belongs to uid 65534"},
		{"group may write the root", func(tr tree) { tr.mode("/", 0o775) }, " (mode 0775) can be written by its group"},
		{"the file is a symbolic link", func(tr tree) {
			tr.must(os.Rename(tr.path("/etc/p/f"), tr.path("/etc/p/g")))
			tr.must(os.Symlink("g", tr.path("/etc/p/f")))
		}, "/etc/p/f is a symbolic link; put the file itself there"},
		{"the file is a dangling link", func(tr tree) {
			tr.must(os.Remove(tr.path("/etc/p/f")))
			tr.must(os.Symlink("nowhere", tr.path("/etc/p/f")))
		}, "/etc/p/f is a symbolic link; put the file itself there"},
		{"the directory is a symbolic link", func(tr tree) {
			tr.must(os.Rename(tr.path("/etc/p"), tr.path("/etc/q")))
			tr.must(os.Symlink("q", tr.path("/etc/p")))
		}, "/etc/p is a symbolic link; make a directory there"},
		{"a directory further up is a symbolic link", func(tr tree) {
			tr.must(os.Rename(tr.path("/etc"), tr.path("/real")))
			tr.must(os.Symlink(tr.path("/real"), tr.path("/etc")))
		}, "/etc is a symbolic link; make a directory there"},
		{"a link in the middle is a loop", func(tr tree) {
			tr.must(os.Rename(tr.path("/etc/p"), tr.path("/etc/q")))
			tr.must(os.Symlink("p", tr.path("/etc/p")))
		}, "/etc/p is a symbolic link; make a directory there"},
		{"a directory is a file", func(tr tree) {
			tr.must(os.RemoveAll(tr.path("/etc/p")))
			tr.write("/etc/p", "x")
		}, "/etc/p is not a directory"},
		{"the file is a directory", func(tr tree) {
			tr.must(os.Remove(tr.path("/etc/p/f")))
			tr.dir("/etc/p/f")
		}, "/etc/p/f is not a regular file"},
		{"the file is a FIFO that nobody writes", func(tr tree) {
			tr.must(os.Remove(tr.path("/etc/p/f")))
			tr.must(unix.Mkfifo(tr.path("/etc/p/f"), 0o600))
		}, "/etc/p/f is not a regular file"},
		{"the file is a socket", func(tr tree) {
			tr.must(os.Remove(tr.path("/etc/p/f")))
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			tr.must(err)
			tr.t.Cleanup(func() { unix.Close(fd) })
			// A socket's path must be short, a test's directory need not be.
			dir, err := os.MkdirTemp("/tmp", "s") //nolint:usetesting // too long a name
			tr.must(err)
			tr.t.Cleanup(func() { os.RemoveAll(dir) })
			tr.must(unix.Bind(fd, &unix.SockaddrUnix{Name: dir + "/s"}))
			tr.must(os.Chmod(dir+"/s", 0o600))
			tr.must(os.Rename(dir+"/s", tr.path("/etc/p/f")))
		}, "/etc/p/f is not a regular file"},
		{"the file is missing where anybody can remove it", func(tr tree) {
			tr.must(os.Remove(tr.path("/etc/p/f")))
			tr.mode("/etc/p", 0o1777)
		}, "/etc/p (mode 1777) can be written by group and others"},
		{"the directory is missing where anybody can remove it", func(tr tree) {
			tr.must(os.RemoveAll(tr.path("/etc/p")))
			tr.owner("/etc", nobody)
		}, "/etc belongs to uid 65534"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTree(t)
			tr.write("/etc/p/f", "text")
			if _, err := ReadLocked(tr.root, "/etc/p/f"); err != nil {
				t.Fatalf("before it was spoilt: %v", err)
			}
			tt.spoil(tr)
			data, err := ReadLocked(tr.root, "/etc/p/f")
			if !errors.Is(err, ErrNotLocked) || data != nil {
				t.Fatalf("got %q, %v; want nothing and ErrNotLocked", data, err)
			}
			if errors.Is(err, fs.ErrNotExist) {
				t.Error("the error is fs.ErrNotExist as well: the layer would be left out")
			}
			if !strings.Contains(err.Error(), tt.reason) || !strings.Contains(err.Error(), tr.path("/etc/p/f")) {
				t.Errorf("error %q does not say %q, or not of which file", err, tt.reason)
			}
		})
	}
}

func TestReadLockedLargest(t *testing.T) {
	tr := newTree(t)
	tr.write("/f", "")
	tr.must(os.Truncate(tr.path("/f"), MaxFile))
	if data, err := ReadLocked(tr.root, "/f"); err != nil || len(data) != MaxFile {
		t.Errorf("a file of just MaxFile bytes: %d bytes, %v", len(data), err)
	}
	tr.must(os.Truncate(tr.path("/f"), MaxFile+1))
	data, err := ReadLocked(tr.root, "/f")
	if !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrNotLocked) || data != nil || !strings.Contains(err.Error(), "larger than 32 MiB") || !strings.Contains(err.Error(), tr.path("/f")) {
		t.Errorf("one byte more: %d bytes, %v", len(data), err)
	}
}

func TestReadLockedMissing(t *testing.T) {
	tr := newTree(t)
	tr.dir("/etc/p")
	for _, root := range []string{tr.root, tr.path("/nowhere")} {
		for _, name := range []string{"/etc/p/f", "/etc/q/f", "/var/q/f", "/f"} {
			_, err := ReadLocked(root, name)
			if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotLocked) {
				t.Errorf("ReadLocked(%q, %q): %v, want fs.ErrNotExist", root, name, err)
			}
		}
	}
	if _, err := ReadLocked(tr.root, "etc/p/f"); !errors.Is(err, ErrNotLocked) {
		t.Errorf("a relative path: %v", err)
	}
	// ".." does not lead out of the root.
	if _, err := ReadLocked(tr.root, "/../../../../../../../../etc/passwd"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a path with ..: %v, want fs.ErrNotExist", err)
	}
}

// The root given may lie anywhere: its parents are the caller's affair.
func TestReadLockedBelowUnlockedParents(t *testing.T) {
	tr := newTree(t)
	tr.write("/open/root/f", "x")
	tr.mode("/open", 0o1777)
	if _, err := ReadLocked(tr.path("/open/root"), "/f"); err != nil {
		t.Error(err)
	}
	tr.must(os.Symlink("open", tr.path("/link")))
	if _, err := ReadLocked(tr.path("/link/root"), "/f"); err != nil {
		t.Errorf("through a link above the root: %v", err)
	}
	// The same file is not locked when everything is checked: /tmp is sticky.
	for _, root := range []string{"", "/"} {
		if _, err := ReadLocked(root, tr.path("/open/root/f")); !errors.Is(err, ErrNotLocked) {
			t.Errorf("ReadLocked(%q, ...): %v, want ErrNotLocked", root, err)
		}
	}
}

// Whatever is exchanged during the walk, what is read was written by root.
func TestReadLockedExchanged(t *testing.T) {
	tr := newTree(t)
	tr.write("/good/f", "root's")
	tr.write("/bad/f", "mine")
	tr.owner("/bad", nobody)
	tr.owner("/bad/f", nobody)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		link := tr.path("/link")
		for {
			select {
			case <-stop:
				return
			default:
			}
			// A link to the good one, a link to the bad one, the bad one itself, the good one.
			_ = os.Symlink(tr.path("/good"), link)
			_ = os.Remove(link)
			_ = os.Symlink(tr.path("/bad"), link)
			_ = os.Remove(link)
			_ = os.Rename(tr.path("/bad"), link)
			_ = os.Rename(link, tr.path("/bad"))
			_ = os.Rename(tr.path("/good"), link)
			_ = os.Rename(link, tr.path("/good"))
		}
	}()
	read := 0
	for range 5000 {
		data, err := ReadLocked(tr.root, "/link/f")
		if err == nil {
			read++
			if string(data) != "root's" {
				t.Errorf("read %q", data)
				break
			}
		}
	}
	close(stop)
	<-done
	t.Logf("read %d times", read)
}

// restless changes after each time it is read, until it has had enough.
type restless struct {
	*os.File
	change func(read int)
	reads  int
}

func (r *restless) ReadAt(p []byte, at int64) (int, error) {
	n, err := r.File.ReadAt(p, at)
	if errors.Is(err, io.EOF) {
		r.reads++
		r.change(r.reads)
	}
	return n, err
}

// Half a file is not read as the whole.
func TestReadStable(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	clock := time.Unix(1e9, 0)
	write := func(text string) {
		clock = clock.Add(time.Second)
		if err := errors.Join(os.WriteFile(name, []byte(text), 0o600), os.Chtimes(name, clock, clock)); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		change func(read int)
		want   string
	}{
		{"quiet", func(int) {}, "begin"},
		{"grows once", func(read int) {
			if read == 1 {
				write("begin and end")
			}
		}, "begin and end"},
		{"same size twice", func(read int) {
			if read <= 2 {
				write(fmt.Sprintf("%05d", read))
			}
		}, "00002"},
		{"for ever", func(read int) { write(fmt.Sprintf("%05d", read)) }, ""},
	}
	for _, tt := range tests {
		write("begin")
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readStable(&restless{File: f, change: tt.change})
		f.Close()
		if string(got) != tt.want || (err == nil) != (tt.want != "") || (err != nil && !errors.Is(err, ErrNotLocked)) {
			t.Errorf("%s: got %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}
