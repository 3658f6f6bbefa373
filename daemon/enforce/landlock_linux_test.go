// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// What permissions keep from somebody, and nothing else, is left to them.
func TestMayRead(t *testing.T) {
	dir := t.TempDir()
	for at := dir; at != "/"; at = filepath.Dir(at) { // everybody can get there
		must(t, os.Chmod(at, 0o1777))
		if filepath.Dir(at) == os.TempDir() {
			break
		}
	}
	file := func(name string, mode os.FileMode, uid, gid int) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, nil, 0o600))
		must(t, os.Chown(path, uid, gid))
		must(t, os.Chmod(path, mode))
		return path
	}
	closed := filepath.Join(dir, "closed")
	must(t, os.Mkdir(closed, 0o700))
	listed := file("listed", 0o600, 0, 0)
	acl := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 0, 0, 255, 255, 255, 255, 0x10, 0, 4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255}
	hasACL := unix.Setxattr(listed, "system.posix_acl_access", acl, 0) == nil // not on every file system
	user := credentials{uid: 1000, groups: map[uint32]bool{1000: true, 42: true}}
	for path, want := range map[string]bool{
		file("everybody's", 0o644, 0, 0):        true,
		file("root's", 0o600, 0, 0):             false,
		file("group's", 0o640, 0, 42):           true,
		file("another group's", 0o640, 0, 43):   false,
		file("its own", 0, 1000, 0):             true, // it can change the mode
		file("closed/everybody's", 0o644, 0, 0): false,
		filepath.Join(dir, "not there"):         true,
		listed:                                  hasACL,
	} {
		if got := user.mayRead(path); got != want {
			t.Errorf("%s: %v, want %v", filepath.Base(path), got, want)
		}
		if !(credentials{privileged: true}).mayRead(path) {
			t.Errorf("%s: kept from who has capabilities", path)
		}
	}
	if c, err := readCredentials(os.Getpid()); err != nil || c.uid != 0 || !c.privileged {
		t.Errorf("of root: %+v, %v", c, err)
	}
}

// A directory is denied wherever else it is mounted.
func TestElsewhere(t *testing.T) {
	all := []mounted{
		{dev: 1, root: "/", point: "/"},
		{dev: 2, root: "/", point: "/home"},
		{dev: 2, root: "/u/.ssh", point: "/srv/keys"},
		{dev: 2, root: "/u", point: "/mnt/u"},
		{dev: 2, root: "/u/.ssh/deep", point: "/mnt/deep"},
		{dev: 2, root: "/v", point: "/mnt/v"},
		{dev: 3, root: "/", point: "/media"},
	}
	want := []string{"/home/u/.ssh", "/srv/keys", "/mnt/u/.ssh", "/mnt/deep"}
	if diff := cmp.Diff(want, elsewhere(all, "/home/u/.ssh")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := elsewhere(all, "/etc/shadow"); !cmp.Equal(got, []string{"/etc/shadow"}) {
		t.Errorf("%q", got)
	}
}
