// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"fmt"
	"net/netip"
	"unsafe"
)

// Record is what the kernel side reports: *Exec, *Exit, *Connect, *Refused,
// *Socket, *Signal, *Killed or *File.
type Record interface{ Header() *Head }

// Head is common to all records. Times are nanoseconds since boot, suspended
// time included (CLOCK_BOOTTIME).
type Head struct {
	PID     int    // thread group id in the first pid namespace
	Time    uint64 // when it happened
	Session uint64 // key of the session; 0: not governed
	Cause   uint64 // the daemon's number for the tool call it serves; 0: none
	Start   uint64 // when the process started: with PID, its identity
}

// Header returns h.
func (h *Head) Header() *Head { return h }

// FileID identifies a file and its content: it changes with every write,
// rename or change of mode. It is what the kernel's inode says; stat(2) may
// differ (overlayfs, btrfs).
type FileID struct {
	Ino       uint64
	Size      uint64 // bytes
	CtimeSec  int64
	CtimeNsec uint32
	Dev       uint32 // major << 20 | minor
}

// InodeID identifies an inode.
type InodeID struct {
	Ino uint64
	Dev uint32 // major << 20 | minor
}

// ExecAction is what the kernel did with an exec.
type ExecAction = kernelExecAction

// What the kernel may have done with an exec.
const (
	ExecAllowed   = kernelExecActionEXEC_ALLOWED   // a cached decision let it run
	ExecHeld      = kernelExecActionEXEC_HELD      // stopped before its first instruction
	ExecObserved  = kernelExecActionEXEC_OBSERVED  // observe mode: it runs
	ExecCandidate = kernelExecActionEXEC_CANDIDATE // may be an agent; governed for now
	ExecKilled    = kernelExecActionEXEC_KILLED    // could not be judged
)

// KillReason says why the kernel killed on its own.
type KillReason uint32

// String is the reason as people read it.
func (r KillReason) String() string {
	switch kernelKillReason(r) {
	case kernelKillReasonKILL_NO_DAEMON:
		return "the daemon was not running"
	case kernelKillReasonKILL_RING_FULL:
		return "too many questions at once"
	case kernelKillReasonKILL_HELD_FULL:
		return "too many processes were held"
	case kernelKillReasonKILL_TRACED:
		return "the process was being traced"
	case kernelKillReasonKILL_ESCAPED:
		return "it ran before it was released"
	case kernelKillReasonKILL_PROCS_FULL:
		return "too many governed processes"
	case kernelKillReasonKILL_NO_POLICY:
		return "no policy was in force"
	case kernelKillReasonKILL_SIGNAL_FAILED:
		return "it could not be stopped"
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// ExecFlags qualify an exec.
type ExecFlags uint32

// Has reports whether all of flag is set.
func (f ExecFlags) Has(flag ExecFlags) bool { return f&flag == flag }

// What may be said of an exec.
const (
	Script     = ExecFlags(kernelExecFlagEXEC_SCRIPT)      // run through an interpreter line
	ArgvCut    = ExecFlags(kernelExecFlagEXEC_ARGV_CUT)    // argv is longer than the record
	ArgvUnread = ExecFlags(kernelExecFlagEXEC_ARGV_UNREAD) // argv could not be read in the kernel
	PathCut    = ExecFlags(kernelExecFlagEXEC_PATH_CUT)
	FromAgent  = ExecFlags(kernelExecFlagEXEC_FROM_AGENT) // the agent's own process started it
	Unlinked   = ExecFlags(kernelExecFlagEXEC_UNLINKED)   // the file has no name: memfd or deleted
	Sure       = ExecFlags(kernelExecFlagEXEC_SURE)       // candidate by a sure name
	Foreign    = ExecFlags(kernelExecFlagEXEC_FOREIGN)    // on a user's own file system: Exe may be made up
)

// Exec is a program about to run.
type Exec struct {
	Head
	Exe        FileID
	Cwd        InodeID
	ArgvHash   uint64 // keys of the cached decision; 0 if none was looked up
	CalledHash uint64
	Token      uint64 // names the hold
	PPID       int
	UID, GID   uint32
	Generation uint32 // of the policy
	Action     ExecAction
	Reason     KillReason
	Flags      ExecFlags
	ArgvTotal  uint32 // bytes the process has
	Name       string // the file's own name, at most 63 bytes
	Path       string // as called, at most 255 bytes
	Argv       []byte // each argument ends in a zero byte; at most 4096 bytes
}

// Args splits argv. A last argument that was cut is kept as far as it goes.
func (e *Exec) Args() []string {
	if len(e.Argv) == 0 {
		return nil
	}
	parts := bytes.Split(bytes.TrimSuffix(e.Argv, []byte{0}), []byte{0})
	args := make([]string, len(parts))
	for i, p := range parts {
		args[i] = string(p)
	}
	return args
}

// Exit is the end of a governed process.
type Exit struct {
	Head
	Code      int    // as wait(2) reports it: exit code << 8 | signal
	Remaining uint32 // processes left in the session, give or take a race
}

// Connect is a judged destination.
type Connect struct {
	Head
	Destination netip.AddrPort // v4-mapped shown as v4
	Protocol    uint8          // TCP, UDP
	Allowed     bool           // what policy says
	Enforced    bool           // false: observe mode let it through
	Rule        int            // index in the policy; -1: default; else none
	UID         uint32
	Generation  uint32
	Coalesced   uint32 // earlier datagrams to here that were not recorded
}

// Protocols of a Connect and of a NetSpan (a set of bits there).
const (
	TCP = uint8(kernelNetProtocolNET_TCP)
	UDP = uint8(kernelNetProtocolNET_UDP)
)

// Refused is a program refused before it began.
type Refused struct {
	Head
	Exe      FileID
	UID      uint32
	Mmap     bool // refused when mapped as code (by a loader), not at exec
	Enforced bool
	Name     string
	Path     string
}

// Socket is a kind of socket that may not exist in a session, or one that may
// but was to send its packets by a way of the sender's choice.
type Socket struct {
	Head
	Family, Type, Protocol uint32
	Routed                 bool // the latter; Type and Protocol are not known
	Enforced               bool
	UID                    uint32
}

// Signal is a signal (0: ptrace) to a held process or to Paddock, refused.
type Signal struct {
	Head
	Target int
	Signal uint32
	UID    uint32
}

// Killed is a process the kernel side killed.
type Killed struct {
	Head
	Reason KillReason
	UID    uint32
}

// What Rule of a Connect or a Flow is where it is no index in the policy: negative
// numbers, of which the kernel's enumeration has the complement.
const (
	RuleDefault    = -1 - int(^kernelNetRuleRULE_DEFAULT)     // no rule is about it
	RuleCanary     = -1 - int(^kernelNetRuleRULE_CANARY)      // the canary's own address
	RuleMissing    = -1 - int(^kernelNetRuleRULE_MISSING)     // no policy entry
	RuleOwnService = -1 - int(^kernelNetRuleRULE_OWN_SERVICE) // a service of Paddock's own
	// Of the managed network:
	RuleListener    = -1 - int(^kernelNetRuleRULE_LISTENER)     // to a port where redirected connections arrive
	RuleNamespace   = -1 - int(^kernelNetRuleRULE_NAMESPACE)    // from another network namespace
	RuleDatagram    = -1 - int(^kernelNetRuleRULE_DATAGRAM)     // UDP that is no DNS
	RuleDNSOverTLS  = -1 - int(^kernelNetRuleRULE_DNS_OVER_TLS) // TCP port 853
	RuleDevice      = -1 - int(^kernelNetRuleRULE_DEVICE)       // the socket is bound to a device
	RuleNobody      = -1 - int(^kernelNetRuleRULE_NOBODY)       // the daemon does not run, or does not listen
	RuleNoMemory    = -1 - int(^kernelNetRuleRULE_NO_MEMORY)    // the socket could not be marked
	RuleOwnListener = -1 - int(^kernelNetRuleRULE_OWN_LISTENER) // to a socket of the session itself
	RuleSilentPort  = -1 - int(^kernelNetRuleRULE_SILENT_PORT)  // nobody listens there
	RuleOwnClient   = -1 - int(^kernelNetRuleRULE_OWN_CLIENT)   // to a socket that is connected to this one
	RuleTaken       = -1 - int(^kernelNetRuleRULE_TAKEN)        // somebody else came there in between
)

// decode reads one record as the ring carried it.
func decode(raw []byte) (Record, error) {
	h, err := view[kernelRecordHead](raw)
	if err != nil {
		return nil, err
	}
	head := Head{PID: int(h.Pid), Time: h.Time, Session: h.Session, Cause: h.Cause, Start: h.Start}
	switch kernelRecordType(h.Type) {
	case kernelRecordTypeRECORD_EXEC:
		return decodeExec(head, raw)
	case kernelRecordTypeRECORD_EXIT:
		r, err := view[kernelExitRecord](raw)
		return &Exit{head, int(r.Code), r.Remaining}, err
	case kernelRecordTypeRECORD_CONNECT:
		r, err := view[kernelConnectRecord](raw)
		addr := netip.AddrFrom16(r.Addr).Unmap()
		return &Connect{
			Head: head, Destination: netip.AddrPortFrom(addr, r.Port), Protocol: r.Protocol,
			Allowed: r.Decision == uint8(kernelNetDecisionNET_ALLOW), Enforced: r.Enforced != 0, Rule: int(r.Rule),
			UID: r.Uid, Generation: r.Generation, Coalesced: r.Coalesced,
		}, err
	case kernelRecordTypeRECORD_REFUSED:
		r, err := view[kernelRefusedRecord](raw)
		return &Refused{
			Head: head, Exe: fileID(r.Exe), UID: r.Uid, Mmap: r.Hook == uint32(kernelHookHOOK_MMAP),
			Enforced: r.Enforced != 0, Name: text(r.Name[:]), Path: text(r.Path[:]),
		}, err
	case kernelRecordTypeRECORD_SOCKET:
		r, err := view[kernelSocketRecord](raw)
		return &Socket{head, r.Family, r.SocketType, r.Protocol, r.Routed != 0, r.Enforced != 0, r.Uid}, err
	case kernelRecordTypeRECORD_SIGNAL:
		r, err := view[kernelSignalRecord](raw)
		return &Signal{head, int(r.Target), r.Signal, r.Uid}, err
	case kernelRecordTypeRECORD_KILLED:
		r, err := view[kernelKilledRecord](raw)
		return &Killed{head, KillReason(r.Reason), r.Uid}, err
	case kernelRecordTypeRECORD_FILE:
		return decodeFile(head, raw)
	}
	return nil, fmt.Errorf("kernel record of unknown type %d", h.Type)
}

// textOffset is where the variable part of an exec record begins.
const textOffset = int(unsafe.Offsetof(kernelExecRecord{}.Text))

func decodeExec(head Head, raw []byte) (*Exec, error) {
	if len(raw) < textOffset {
		return nil, fmt.Errorf("exec record of %d bytes, at least %d expected", len(raw), textOffset)
	}
	var r kernelExecRecord
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), textOffset), raw)
	said := raw[textOffset:]
	if uint64(r.PathLen) > uint64(len(said)) || uint64(r.ArgvAt)+uint64(r.ArgvLen) > uint64(len(said)) {
		return nil, fmt.Errorf("exec record with %d bytes of path and %d of argv at %d, %d arrived", r.PathLen, r.ArgvLen, r.ArgvAt, len(said))
	}
	return &Exec{
		Head: head, Exe: fileID(r.Exe), Cwd: InodeID{r.Cwd.Ino, r.Cwd.Dev}, ArgvHash: r.ArgvHash, CalledHash: r.CalledHash, Token: r.Token,
		PPID: int(r.Ppid), UID: r.Uid, GID: r.Gid, Generation: r.Generation,
		Action: ExecAction(r.Action), Reason: KillReason(r.KillReason), Flags: ExecFlags(r.Flags), ArgvTotal: r.ArgvTotal,
		Name: text(r.Name[:]), Path: text(said[:r.PathLen]), Argv: bytes.Clone(said[r.ArgvAt : r.ArgvAt+r.ArgvLen]),
	}, nil
}

// view copies the front of raw into a generated mirror of a kernel struct.
func view[T any](raw []byte) (*T, error) {
	var t T
	size := int(unsafe.Sizeof(t))
	if len(raw) < size {
		return &t, fmt.Errorf("kernel record of %d bytes, %T needs %d", len(raw), t, size)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), size), raw)
	return &t, nil
}

func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

func fileID(f kernelFileId) FileID {
	return FileID{Ino: f.Ino, Size: f.Size, CtimeSec: f.CtimeSec, CtimeNsec: f.CtimeNsec, Dev: f.Dev}
}

func (f FileID) kernel() kernelFileId {
	return kernelFileId{Ino: f.Ino, Size: f.Size, CtimeSec: f.CtimeSec, CtimeNsec: f.CtimeNsec, Dev: f.Dev}
}

// Inode is the file without its content.
func (f FileID) Inode() InodeID { return InodeID{f.Ino, f.Dev} }
