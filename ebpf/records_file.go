// SPDX-License-Identifier: Apache-2.0

package ebpf

import "fmt"

// FileOp is what a session wanted to do.
type FileOp uint32

// What a session may want to do to a file, a service or the machine.
const (
	OpRead    = FileOp(kernelFileOpFILE_READ)
	OpConnect = FileOp(kernelFileOpFILE_CONNECT)
	OpBPF     = FileOp(kernelFileOpFILE_BPF)
	OpMount   = FileOp(kernelFileOpFILE_MOUNT)
	OpUnmount = FileOp(kernelFileOpFILE_UNMOUNT)
	OpModule  = FileOp(kernelFileOpFILE_MODULE)
	OpPtrace  = FileOp(kernelFileOpFILE_PTRACE)
	// OpTerminal is input put into a terminal, as if somebody had typed it.
	OpTerminal = FileOp(kernelFileOpFILE_TERMINAL)
	// OpKey is reading what a key of the kernel holds, OpIPC anything with shared memory, queues or semaphores of
	// System V, OpPriority setting the priority, limits or processors of another process.
	OpKey      = FileOp(kernelFileOpFILE_KEY)
	OpIPC      = FileOp(kernelFileOpFILE_IPC)
	OpPriority = FileOp(kernelFileOpFILE_PRIORITY)
)

// String is the word that events use.
func (o FileOp) String() string {
	names := map[kernelFileOp]string{
		kernelFileOpFILE_READ: "read", kernelFileOpFILE_WRITE: "write", kernelFileOpFILE_CREATE: "create",
		kernelFileOpFILE_REMOVE: "remove", kernelFileOpFILE_RENAME: "rename", kernelFileOpFILE_LINK: "link",
		kernelFileOpFILE_CHANGE: "change", kernelFileOpFILE_CONNECT: "connect", kernelFileOpFILE_MOUNT: "mount",
		kernelFileOpFILE_UNMOUNT: "unmount", kernelFileOpFILE_BPF: "bpf", kernelFileOpFILE_MODULE: "module",
		kernelFileOpFILE_PTRACE: "ptrace", kernelFileOpFILE_TERMINAL: "terminal",
		kernelFileOpFILE_KEY: "key", kernelFileOpFILE_IPC: "ipc", kernelFileOpFILE_PRIORITY: "priority",
	}
	if name, ok := names[kernelFileOp(o)]; ok {
		return name
	}
	return fmt.Sprintf("operation %d", uint32(o))
}

// FileWhy is why it was refused.
type FileWhy uint32

// WhyUnreadable is the reason of somebody who judges opens elsewhere than in the
// kernel side.
const WhyUnreadable = FileWhy(kernelFileWhyWHY_UNREADABLE)

// String is the reason as people read it.
func (w FileWhy) String() string {
	switch kernelFileWhy(w) {
	case kernelFileWhyWHY_OUTSIDE:
		return "it is in no place this session may write to"
	case kernelFileWhyWHY_PROTECTED:
		return "it is protected"
	case kernelFileWhyWHY_UNREADABLE:
		return "it may not be read"
	case kernelFileWhyWHY_PINNED:
		return "something in it is protected: it may be neither renamed nor removed"
	case kernelFileWhyWHY_UNKNOWN:
		return "where it is could not be told: it is too deep, or on no way from the root"
	case kernelFileWhyWHY_DEVICE:
		return "it is a device that gives the whole disk or memory"
	case kernelFileWhyWHY_OVERLAY:
		return "it is on an overlay of the session's own, which hides whose file it is"
	case kernelFileWhyWHY_BROKER:
		return "the service would act for the session, outside of it"
	case kernelFileWhyWHY_STRANGER:
		return "the other process belongs to no session, or to another one"
	case kernelFileWhyWHY_HOST:
		return "a session may not change the machine itself"
	}
	return fmt.Sprintf("reason %d", uint32(w))
}

// File is a file, a service or a part of the machine that was refused.
type File struct {
	Head
	ID       InodeID // 0: there is no such file yet, or it is none
	Op       FileOp
	Why      FileWhy
	Enforced bool
	UID      uint32
	Target   int      // of OpPtrace, OpPriority and OpConnect: the other process; else a command
	Parts    []string // of its path, the file's own name last; each at most 39 bytes
	Rooted   bool     // Parts begin at the root of its file system
}

func decodeFile(head Head, raw []byte) (*File, error) {
	r, err := view[kernelFileRecord](raw)
	if err != nil {
		return nil, err
	}
	f := &File{
		Head: head, ID: InodeID{r.Ino, r.Dev}, Op: FileOp(r.Op), Why: FileWhy(r.Why), Enforced: r.Enforced != 0,
		UID: r.Uid, Target: int(r.Target), Rooted: r.Rooted != 0,
	}
	for i := len(r.Parts) - 1; i >= 0; i-- {
		if part := text(r.Parts[i][:]); part != "" {
			f.Parts = append(f.Parts, part)
		}
	}
	return f, nil
}
