// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// ErrInUse is returned when another daemon has the pin directory.
var ErrInUse = errors.New("another paddock daemon is running")

// Remove deletes everything pinned below dir, without loading anything. A
// missing dir is no error.
func Remove(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("removing the pinned kernel side %s: %w", dir, err)
	}
	return nil
}

// ownDir makes the pin directory, and refuses one of somebody else: the BPF file
// system is writable for all by default, and whoever owns the directory could
// take away what is pinned, or put maps of their own into its place.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the pin directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("looking at the pin directory %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o022 != 0 {
		return fmt.Errorf("the pin directory %s (mode %o) belongs to user %d or can be written by others: remove it", dir, st.Mode&0o7777, st.Uid)
	}
	if err := os.Chmod(dir, 0o700); err != nil { // who can open it can lock it
		return fmt.Errorf("closing the pin directory to others: %w", err)
	}
	return nil
}

// claimDir makes sure that there is one daemon for a pin directory. The lock ends with the
// process, however it ends.
func (k *Kernel) claimDir() error {
	dir := k.options.PinDir
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("opening the pin directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("locking the pin directory %s: %w", dir, err)
		}
		return fmt.Errorf("%w (pid %d) with its kernel side in %s; stop it, or give this one its own --pin-dir", ErrInUse, daemonOf(dir), dir)
	}
	if k.claim != nil {
		k.claim.Close()
	}
	k.claim = f
	return nil
}

// claimAgain locks the pin directory that is there now: somebody may have removed the one that was.
func (k *Kernel) claimAgain() {
	is, err := os.Stat(k.options.PinDir)
	if err != nil {
		return // nothing could be pinned either
	}
	if was, err := k.claim.Stat(); err == nil && os.SameFile(is, was) {
		return
	}
	if err := errors.Join(ownDir(k.options.PinDir), k.claimDir()); err != nil {
		k.log.Error("the pin directory is not this daemon's alone any more", "error", err)
	}
}

// daemonOf is the process that answers the kernel side pinned in dir; 0 if that is not known.
func daemonOf(dir string) uint32 {
	for _, version := range versions(dir) {
		m, err := ebpf.LoadPinnedMap(filepath.Join(version, "maps", kernelMapStates), nil)
		if err != nil {
			continue
		}
		var s kernelState
		err = m.Lookup(uint32(0), &s)
		m.Close()
		if err == nil && s.Alive != 0 {
			return s.Daemon
		}
	}
	return 0
}

// digestSize is how much of the digest of its programs names a version, in bytes.
const digestSize = 8

// versions lists the directories in pinDir in which a version of the kernel side is pinned.
// Whatever else is there is not Paddock's.
func versions(pinDir string) []string {
	entries, err := os.ReadDir(pinDir)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, e := range entries {
		dir := filepath.Join(pinDir, e.Name())
		digest, err := hex.DecodeString(e.Name())
		if err != nil || len(digest) != digestSize {
			continue
		}
		if st, err := os.Lstat(filepath.Join(dir, "maps")); err == nil && st.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// InForce says whether programs are pinned in pinDir, and govern agents also without a daemon.
func InForce(pinDir string) bool {
	for _, version := range versions(pinDir) {
		if links, err := os.ReadDir(filepath.Join(version, "links")); err == nil && len(links) > 0 {
			return true
		}
	}
	return false
}

func (k *Kernel) pinned(part string) string {
	return filepath.Join(k.options.PinDir, k.digest, part)
}
