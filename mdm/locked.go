// SPDX-License-Identifier: Apache-2.0

package mdm

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxFile is the largest requirements file that is read, in bytes: more than 100,000 rules,
// each with a reason of some length.
const MaxFile = 32 << 20

// ErrNotLocked means that a file is there but is not one that only root can have
// written: the reason is in the message.
var ErrNotLocked = errors.New("not a locked requirements file")

// ErrTooLarge means that a file has more than MaxFile bytes.
var ErrTooLarge = fmt.Errorf("it is larger than %d MiB, the most that is read; put a part of it into another place that is read (rules: a file in %s)", MaxFile>>20, ruleFiles)

// ReadLocked reads a requirements file that only root can have put there and only
// root can change: a regular file of at most MaxFile bytes, no symbolic link
// anywhere on the way, owned by uid 0 and not writable for group or others, and
// neither is any directory on the way. A sticky directory is no exception: in it
// anybody can create what is missing.
//
// path is absolute and is looked up under root, which is a prefix for private
// instances and tests: what lies above root is not checked, root itself is. With
// root "" or "/" everything is.
//
// The walk holds each directory open while it looks up the next name in it, so
// that nothing can be exchanged between the check and the use. A file that does
// not exist gives an error that is fs.ErrNotExist, but only if the directory it is
// missing from is locked: elsewhere anybody may have removed it.
//
// A file with an access control list is judged by its mode bits too: on Linux the
// group bits are then the mask, the most that any entry of the list can grant.
func ReadLocked(root, name string) ([]byte, error) {
	data, err := readLocked(root, name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", under(root, name), err)
	}
	return data, nil
}

// under returns the name of a file below root, in which "" is the same as "/".
func under(root, name string) string {
	if root == "" {
		root = "/"
	}
	return path.Join(root, name)
}

func readLocked(root, name string) ([]byte, error) {
	if !path.IsAbs(name) {
		return nil, fmt.Errorf("%w: the path is not absolute", ErrNotLocked)
	}
	root = under(root, "")
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	dir := os.NewFile(uintptr(fd), root)
	defer func() { dir.Close() }()

	names := strings.Split(strings.Trim(path.Clean(name), "/"), "/")
	for _, name := range names[:len(names)-1] {
		if err := checkLocked(dir, unix.S_IFDIR); err != nil {
			return nil, err
		}
		next, err := openIn(dir, name, unix.O_DIRECTORY)
		if err != nil {
			return nil, err
		}
		dir.Close()
		dir = next
	}
	if err := checkLocked(dir, unix.S_IFDIR); err != nil {
		return nil, err
	}
	// O_NONBLOCK: to open a FIFO must not wait for a writer.
	file, err := openIn(dir, names[len(names)-1], unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := checkLocked(file, unix.S_IFREG); err != nil {
		return nil, err
	}
	return readStable(file)
}

// openIn opens name in dir, and does not follow it if it is a symbolic link.
func openIn(dir *os.File, name string, flags int) (*os.File, error) {
	full := path.Join(dir.Name(), name)
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NOCTTY|unix.O_CLOEXEC|flags, 0)
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), full), nil
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOENT):
			return nil, &fs.PathError{Op: "open", Path: full, Err: err}
		}
		// Only to say why: what counts is that it did not open.
		var st unix.Stat_t
		if unix.Fstatat(int(dir.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
			want := uint32(unix.S_IFREG)
			if flags&unix.O_DIRECTORY != 0 {
				want = unix.S_IFDIR
			}
			if why := wrongType(full, &st, want); why != nil {
				return nil, why
			}
		}
		return nil, &fs.PathError{Op: "open", Path: full, Err: err}
	}
}

func wrongType(name string, st *unix.Stat_t, want uint32) error {
	switch is := uint32(st.Mode) & unix.S_IFMT; { //nolint:unconvert // on macOS it has 16 bits
	case is == want:
		return nil
	case is == unix.S_IFLNK && want == unix.S_IFDIR:
		return fmt.Errorf("%w: the directory %s is a symbolic link; make a directory there, or mount one (mount --bind)", ErrNotLocked, name)
	case is == unix.S_IFLNK:
		return fmt.Errorf("%w: %s is a symbolic link; put the file itself there", ErrNotLocked, name)
	case want == unix.S_IFDIR:
		return fmt.Errorf("%w: %s is not a directory", ErrNotLocked, name)
	}
	return fmt.Errorf("%w: %s is not a regular file", ErrNotLocked, name)
}

// checkLocked judges what is open, not what a name leads to by now.
func checkLocked(f *os.File, want uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	if err := wrongType(f.Name(), &st, want); err != nil {
		return err
	}
	if st.Uid != 0 {
		return fmt.Errorf("%w: %s belongs to uid %d; chown it to root", ErrNotLocked, f.Name(), st.Uid)
	}
	if mode := uint32(st.Mode) & 0o7777; mode&0o022 != 0 { //nolint:unconvert // on macOS it has 16 bits
		who := "group and others"
		switch mode & 0o022 {
		case 0o020:
			who = "its group"
		case 0o002:
			who = "others"
		}
		return fmt.Errorf("%w: %s (mode %04o) can be written by %s; chmod go-w it", ErrNotLocked, f.Name(), mode, who)
	}
	return nil
}

// stated is what readStable needs of a file.
type stated interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

// readStable reads a file, again if it changed meanwhile: half a file may well
// be valid, with half of the rules.
func readStable(f stated) ([]byte, error) {
	const tries = 3
	for range tries {
		before, err := f.Stat()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.NewSectionReader(f, 0, MaxFile+1))
		if err != nil {
			return nil, err
		}
		if len(data) > MaxFile {
			return nil, ErrTooLarge
		}
		after, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if int64(len(data)) == before.Size() && before.Size() == after.Size() && before.ModTime().Equal(after.ModTime()) {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%w: it keeps changing while it is read; write a new file and rename it", ErrNotLocked)
}
