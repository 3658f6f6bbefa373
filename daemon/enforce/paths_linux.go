// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"os"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// paths are where files and directories were seen, for events: by the daemon's own mounts, if anybody has been there by
// these. A session with mounts of its own can have any file at any path, for itself and for nobody else.
type paths struct {
	*memo[ebpf.InodeID, string]
	mounts string // the daemon's
}

func newPaths() *paths {
	return &paths{newMemo[ebpf.InodeID, string](8192), readLink(os.Getpid(), "ns/mnt")}
}

// learn notes where a process sees a file.
func (p *paths) learn(pid int, id ebpf.InodeID, path string) {
	known, ok := p.get(id)
	if ok && (known == path || readLink(pid, "ns/mnt") != p.mounts) {
		return
	}
	p.put(id, path)
}
