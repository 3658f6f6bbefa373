// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"errors"
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Version returns the version of the running kernel's Landlock, 0 if it has none.
func Version() int {
	v, err := ll.LandlockGetABIVersion()
	if err != nil {
		return 0
	}
	return v
}

const (
	writeFile = ll.AccessFSWriteFile
	change    = writeFile | ll.AccessFSRemoveDir | ll.AccessFSRemoveFile | ll.AccessFSMakeChar | ll.AccessFSMakeDir |
		ll.AccessFSMakeReg | ll.AccessFSMakeSock | ll.AccessFSMakeFifo | ll.AccessFSMakeBlock | ll.AccessFSMakeSym
)

// Restrict puts the calling process into a domain with these rules, for ever, and
// with it what it starts. It cannot gain privileges any more (no_new_privs), mount,
// or trace what is outside; where the kernel can tell (NeedsScopes), it can neither
// signal what is outside nor reach its abstract sockets.
//
// A place that is not there, or that the process cannot get to, is left out. On an
// error the process may be in the domain or not: it should not go on.
func (r Ruleset) Restrict() error {
	version := Version()
	if version == 0 {
		return errors.New("entering the sandbox: the kernel has no Landlock, or it is not among its LSMs")
	}
	dir, file := landlock.AccessFSSet(change), landlock.AccessFSSet(writeFile)
	if version >= needsRefer {
		dir |= ll.AccessFSRefer
	}
	if version >= NeedsTruncate {
		dir, file = dir|ll.AccessFSTruncate, file|ll.AccessFSTruncate
	}
	var config landlock.Config
	if r.Reading {
		config.HandledAccessFS |= ll.AccessFSReadFile
	}
	if r.Writing {
		config.HandledAccessFS |= dir
	}
	if version >= NeedsScopes {
		config.Scoped = ll.ScopeAbstractUnixSocket | ll.ScopeSignal
	}
	handled := config.HandledAccessFS
	ruleset, flags, err := config.NewRulesetFD()
	if err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	if ruleset < 0 {
		return nil // nothing is handled
	}
	defer unix.Close(ruleset)
	for _, places := range []struct {
		paths           []string
		ofDirs, ofFiles landlock.AccessFSSet
	}{
		{r.Read, ll.AccessFSReadFile, ll.AccessFSReadFile}, {r.Write, dir, file}, {r.Devices, file, file},
	} {
		for _, p := range places.paths {
			if err := allow(ruleset, p, places.ofDirs&handled, places.ofFiles&handled); err != nil {
				return fmt.Errorf("entering the sandbox: allowing %s: %w", p, err)
			}
		}
	}
	if err := ll.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("entering the sandbox: giving up privileges: %w", err)
	}
	if err := ll.AllThreadsLandlockRestrictSelf(ruleset, flags); err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	return nil
}

// allow adds one place. What its path leads to is looked up once, and never by a
// link, which somebody could have put there.
func allow(ruleset int, path string, ofDirs, ofFiles landlock.AccessFSSet) error {
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ELOOP) {
		return nil // then nobody in the domain gets there either
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	rights := ofFiles
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return nil
	case unix.S_IFDIR:
		rights = ofDirs
	}
	if rights == 0 {
		return nil
	}
	return ll.LandlockAddPathBeneathRule(ruleset, &ll.PathBeneathAttr{AllowedAccess: uint64(rights), ParentFd: fd}, 0)
}
