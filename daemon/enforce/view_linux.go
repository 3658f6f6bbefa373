// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// processView sees files as a held process does. The paths come from it, so
// nothing but a regular file is opened, and nothing waits for ever.
type processView struct {
	e   *Enforcer
	g   *generation
	pid int

	began time.Time // with the first file
	err   error
}

func (p *processView) lost() error { return p.err }

// file returns the names of what path leads to: its own, and those of a known
// program with the same content.
func (p *processView) file(path string) []string {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	if time.Since(p.began) > readLimit {
		p.err = errSlow // many files, or few and slow: all together have that time
		return nil
	}
	handle, err := p.open(path)
	if err != nil {
		return nil // then the kernel cannot have opened it either, or it is gone
	}
	defer handle.Close()
	var names []string
	self := "/proc/self/fd/" + itoa(int(handle.Fd()))
	if target, err := os.Readlink(self); err == nil {
		names = addName(names, filepath.Base(target))
		names = addName(names, target)
	}
	info, err := handle.Stat()
	if err != nil || !info.Mode().IsRegular() || !p.g.catalog.sizes[uint64(info.Size())] {
		return names
	}
	sum, err := p.e.bounded.do(func() (digest, error) {
		f, err := reopen(handle)
		if err != nil {
			return digest{}, err
		}
		defer f.Close()
		return hash(f)
	})
	if err != nil {
		p.err = err
		return names
	}
	for _, n := range p.g.catalog.byContent[sum] {
		names = addName(names, n)
	}
	return names
}

// open gives a handle that cannot read: opening a device may have effects.
func (p *processView) open(path string) (*os.File, error) {
	// fexecve(3) and execveat(2) run a script by a descriptor's name
	for _, prefix := range []string{"/dev/fd/", "/proc/self/fd/"} {
		if fd, ok := strings.CutPrefix(path, prefix); ok && !strings.Contains(fd, "/") {
			return os.OpenFile(procPath(p.pid, "fd/"+fd), unix.O_PATH, 0)
		}
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(readLink(p.pid, "cwd"), path)
	}
	root, err := unix.Open(procPath(p.pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(root)
	fd, err := unix.Openat2(root, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// reopen opens for reading what a handle is of, without waiting for somebody who has
// it on lease.
func reopen(handle *os.File) (*os.File, error) {
	return os.OpenFile("/proc/self/fd/"+itoa(int(handle.Fd())), os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// fullPath finds a path that was cut among the arguments.
func fullPath(cut string, args []string) string {
	for _, a := range args {
		if strings.HasPrefix(a, cut) {
			return a
		}
	}
	return cut
}

// bounded runs what may hang, because an agent's own file system may be behind
// it, a few at a time and not for ever.
type bounded struct{ slots chan struct{} }

// readLimit is how long reading a program may take.
const readLimit = 10 * time.Second

var errSlow = errors.New("reading it took too long")

func (b *bounded) init() { b.slots = make(chan struct{}, 16) }

func (b *bounded) do(f func() (digest, error)) (digest, error) {
	timer := time.NewTimer(readLimit)
	defer timer.Stop()
	select {
	case b.slots <- struct{}{}:
	case <-timer.C:
		return digest{}, errSlow
	}
	type result struct {
		sum digest
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-b.slots }()
		sum, err := f()
		done <- result{sum, err}
	}()
	select {
	case r := <-done:
		return r.sum, r.err
	case <-timer.C:
		return digest{}, errSlow
	}
}
