// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"fmt"
	"maps"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// moment is one time by both clocks.
type moment struct {
	day  time.Time
	boot uint64
}

// lastMoment is read again after a while: asking for the time since boot is a system call, and
// there is one event after the other.
var lastMoment atomic.Pointer[moment]

// steady is how long a change of the time of day may go unnoticed.
const steady = 50 * time.Millisecond

// clock turns the kernel's times, ns since boot, into times of day.
func clock(ns uint64) time.Time {
	m := lastMoment.Load()
	if m == nil || time.Since(m.day) > steady {
		m = &moment{time.Now(), bootTime()}
		lastMoment.Store(m)
	}
	return m.day.Add(time.Duration(ns - m.boot))
}

// attrs is what is said of one process.
type attrs = map[string]any

// manyAttrs is how many attributes most events have at most, and fewAttrs those of an exit. A map that grows costs twice.
const manyAttrs, fewAttrs = 24, 8

// manyPool and fewPool hold maps whose events were recorded: to make one takes as long as to fill it.
var (
	manyPool = sync.Pool{New: func() any { return make(attrs, manyAttrs) }}
	fewPool  = sync.Pool{New: func() any { return make(attrs, fewAttrs) }}
)

func attrsPool(name string) *sync.Pool {
	if name == telemetry.NameProcessExit {
		return &fewPool
	}
	return &manyPool
}

// reuse gives back what an event was made of, which was recorded and nobody else has.
func reuse(ev *telemetry.Event) {
	if ev.Attrs != nil {
		clear(ev.Attrs)
		attrsPool(ev.Name).Put(ev.Attrs)
	}
}

// event begins an event of a session from a kernel record.
func (e *Enforcer) event(name string, s *mark, h *ebpf.Head) (telemetry.Event, attrs) {
	a := attrsPool(name).Get().(attrs)
	a[telemetry.AttrProcessPID] = int64(h.PID)
	a[telemetry.AttrProcessStart] = int64(h.Start)
	if s.agent != "" {
		a[telemetry.AttrAgent] = s.agent
	}
	if h.Cause != 0 {
		if why, ok := e.why(h); ok {
			if why.ToolCallID != "" {
				a[telemetry.AttrToolCallID] = why.ToolCallID
			}
			if why.ThreadID != "" {
				a[telemetry.AttrThreadID] = why.ThreadID
			}
			for k, v := range why.Attrs {
				a[k] = v
			}
		}
	}
	return telemetry.Event{Time: clock(h.Time), Name: name, Severity: telemetry.Info, Session: s.id, Attrs: a}, a
}

// why finds what a cause stands for. One that an earlier daemon numbered is read
// again from the process, whose environment it inherited.
func (e *Enforcer) why(h *ebpf.Head) (session.Why, bool) {
	if why, ok := e.causes.why(h.Cause); ok {
		return why, true
	}
	why := e.Profiles.Why(readEnv(h.PID, e.envKeys))
	if why.ToolCallID == "" && why.ThreadID == "" {
		return why, false
	}
	e.causes.byNum.put(h.Cause, why)
	return why, true
}

// execAttrs says what was executed, and where.
func (e *Enforcer) execAttrs(a attrs, x *ebpf.Exec) {
	a[telemetry.AttrProcessParentPID] = int64(x.PPID)
	a[telemetry.AttrProcessUserID] = int64(x.UID)
	a[telemetry.AttrProcessExecutableName] = x.Name
	a[telemetry.AttrCalledAs] = x.Path
	a[telemetry.AttrFileID] = fileID(x.Exe.Inode())
	a[telemetry.AttrProcessCommandArgs] = x.Args()
	if omitted := int64(x.ArgvTotal) - int64(len(x.Argv)); omitted > 0 {
		a[telemetry.AttrArgsTruncated] = omitted
	}
	if path, ok := e.paths.get(x.Exe.Inode()); ok {
		a[telemetry.AttrProcessExecutablePath] = path
	} else if filepath.IsAbs(x.Path) && !x.Flags.Has(ebpf.Script) {
		a[telemetry.AttrProcessExecutablePath] = x.Path
	}
	if cwd, ok := e.paths.get(x.Cwd); ok {
		a[telemetry.AttrProcessWorkingDir] = cwd
	} else if cwd := e.workPath(x); cwd != "" {
		e.paths.learn(x.PID, x.Cwd, cwd)
		a[telemetry.AttrProcessWorkingDir] = cwd
	}
	if name := e.users.name(x.UID); name != "" {
		a[telemetry.AttrProcessOwner] = name
	}
}

// fileID is how an event names a file: major and minor number of the device, and the inode.
func fileID(id ebpf.InodeID) string {
	b := make([]byte, 0, 48)
	b = append(strconv.AppendUint(b, uint64(id.Dev>>20), 10), ':')
	b = append(strconv.AppendUint(b, uint64(id.Dev&0xfffff), 10), ':')
	return string(strconv.AppendUint(b, id.Ino, 10))
}

func verdictAttrs(a attrs, v policy.Verdict) {
	a[telemetry.AttrDecision] = v.Decision.String()
	a[telemetry.AttrDecisionReason] = v.Reason
	if v.Matched {
		a[telemetry.AttrRule] = v.Rule.String()
		a[telemetry.AttrDecisionSource] = v.Rule.Origin()
	}
}

// execEvent reports an exec that was evaluated here.
func (e *Enforcer) execEvent(s *mark, x *ebpf.Exec, g *generation, v policy.Verdict) telemetry.Event {
	ev, a := e.event(telemetry.NameProcessExec, s, &x.Head)
	e.execAttrs(a, x)
	verdictAttrs(a, v)
	enforced := g.mode == policy.Enforce && x.Action == ebpf.ExecHeld
	a[telemetry.AttrDecisionEnforced] = enforced
	a[telemetry.AttrMode] = g.mode.String()
	a[telemetry.AttrGate] = "exec.hold"
	a[telemetry.AttrPolicyGeneration] = int64(g.number)
	count := session.Counters{Execs: 1}
	if v.Decision != policy.Allow {
		ev.Severity = telemetry.Warn
		if enforced {
			count.Denied = 1
		}
	}
	e.Sessions.Count(s.key, count)
	return ev
}

// approvedEvent reports an exec that a person, or what stands for one, decided about.
func (e *Enforcer) approvedEvent(w *waiting, out *approval.Outcome, ran bool) telemetry.Event {
	ev, a := e.event(telemetry.NameProcessExec, w.mark, &w.exec.Head)
	e.execAttrs(a, w.exec)
	verdictAttrs(a, w.verdict)
	a[telemetry.AttrDecisionEnforced] = true
	a[telemetry.AttrMode] = w.under.mode.String()
	a[telemetry.AttrGate] = "exec.hold"
	a[telemetry.AttrPolicyGeneration] = int64(w.under.number)
	approval.Describe(a, &out.Approval)
	count := session.Counters{Execs: 1}
	if !ran {
		ev.Severity = telemetry.Warn
		count.Denied = 1
	}
	e.Sessions.Count(w.mark.key, count)
	return ev
}

// execRan reports an exec the kernel dealt with alone.
func (e *Enforcer) execRan(s *mark, x *ebpf.Exec) telemetry.Event {
	if x.Action == ebpf.ExecObserved {
		g := e.now.Load()
		if x.Flags.Has(ebpf.FromAgent) {
			e.fromAgent(g, s, x)
		}
		v, _ := e.evaluate(g, x)
		if path, _ := e.paths.get(x.Exe.Inode()); g.profiles.MayBe(x.Name, x.Path, path) {
			e.nested(g, nil, x, s, e.launched(g, x, e.described(x, g.profiles)))
		}
		return e.execEvent(s, x, g, v)
	}
	name := telemetry.NameProcessExec
	if x.Action == ebpf.ExecKilled {
		name = telemetry.NameHoldKilled
	}
	ev, a := e.event(name, s, &x.Head)
	e.execAttrs(a, x)
	a[telemetry.AttrPolicyGeneration] = int64(x.Generation)
	a[telemetry.AttrGate] = "exec.hold"
	count := session.Counters{Execs: 1}
	if x.Action == ebpf.ExecKilled {
		ev.Severity = telemetry.Error
		a[telemetry.AttrDecision] = policy.Forbidden.String()
		a[telemetry.AttrKillReason] = x.Reason.String()
		a[telemetry.AttrDecisionReason] = "killed before it was judged: " + x.Reason.String()
		a[telemetry.AttrDecisionEnforced] = true
		count.Denied = 1
	} else {
		a[telemetry.AttrDecision] = policy.Allow.String()
		a[telemetry.AttrDecisionReason] = "allowed before, unchanged since"
		a[telemetry.AttrDecisionEnforced] = true
		a[telemetry.AttrMode] = policy.Enforce.String()
	}
	e.Sessions.Count(s.key, count)
	return ev
}

func (e *Enforcer) refusedEvent(s *mark, r *ebpf.Refused) telemetry.Event {
	ev, a := e.event(telemetry.NameProcessExec, s, &r.Head)
	g := e.now.Load()
	ev.Severity = telemetry.Warn
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrProcessExecutableName] = r.Name
	if r.Path != "" { // what is mapped as code was not called
		a[telemetry.AttrCalledAs] = r.Path
	}
	a[telemetry.AttrFileID] = fileID(r.Exe.Inode())
	a[telemetry.AttrGate] = "exec.refuse"
	a[telemetry.AttrTier] = string(e.canary.mechanism())
	a[telemetry.AttrDecisionEnforced] = r.Enforced
	a[telemetry.AttrMode] = g.mode.String()
	a[telemetry.AttrPolicyGeneration] = int64(g.number)
	a[telemetry.AttrDecision] = policy.Forbidden.String()
	if d, ok := g.catalog.verdicts[r.Exe.Inode()]; ok {
		verdictAttrs(a, d.verdict)
	}
	if cwd := readLink(r.PID, "cwd"); cwd != "" {
		a[telemetry.AttrProcessWorkingDir] = cwd
	}
	count := session.Counters{Execs: 1}
	if r.Enforced {
		count.Denied = 1
	}
	e.Sessions.Count(s.key, count)
	return ev
}

func (e *Enforcer) exitEvent(s *mark, r *ebpf.Exit) telemetry.Event {
	ev, a := e.event(telemetry.NameProcessExit, s, &r.Head)
	a[telemetry.AttrProcessExitCode] = int64(r.Code >> 8 & 0xff)
	if signal := r.Code & 0x7f; signal != 0 {
		a[telemetry.AttrProcessSignal] = int64(signal)
		a[telemetry.AttrProcessExitCode] = int64(128 + signal) // as a shell reports it
	}
	return ev
}

func (e *Enforcer) connectEvent(s *mark, r *ebpf.Connect) telemetry.Event {
	ev, a := e.event(telemetry.NameNetworkDecision, s, &r.Head)
	g := e.now.Load()
	a[telemetry.AttrGate] = "connect"
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrDestinationAddress] = r.Destination.Addr().String()
	a[telemetry.AttrDestinationPort] = int64(r.Destination.Port())
	a[telemetry.AttrNetworkTransport] = "tcp"
	if r.Protocol == ebpf.UDP {
		a[telemetry.AttrNetworkTransport] = "udp"
	}
	a[telemetry.AttrNetworkType] = "ipv6"
	if r.Destination.Addr().Is4() {
		a[telemetry.AttrNetworkType] = "ipv4"
	}
	a[telemetry.AttrPolicyGeneration] = int64(r.Generation)
	a[telemetry.AttrDecisionEnforced] = r.Enforced
	if r.Coalesced > 0 {
		a[telemetry.AttrCoalesced] = int64(r.Coalesced)
	}
	count := session.Counters{Connects: 1}
	a[telemetry.AttrDecision] = "allow"
	if !r.Allowed {
		a[telemetry.AttrDecision] = "deny"
		ev.Severity = telemetry.Warn
		if r.Enforced {
			count.NetDenied = 1
		}
	}
	e.explainConnect(a, g, r)
	if exe := readLink(r.PID, "exe"); exe != "" {
		a[telemetry.AttrProcessExecutablePath] = exe
	}
	e.Sessions.Count(s.key, count)
	return ev
}

// explainConnect names the rule, which the kernel knows by its index.
func (e *Enforcer) explainConnect(a attrs, g *generation, r *ebpf.Connect) {
	switch {
	case r.Generation != g.number:
		a[telemetry.AttrDecisionReason] = "by an earlier policy"
	case r.Rule >= 0 && r.Rule < len(g.network.Rules):
		rule := g.network.Rules[r.Rule]
		a[telemetry.AttrRule] = rule.Prefix.String()
		a[telemetry.AttrDecisionSource] = rule.Origin()
		a[telemetry.AttrDecisionReason] = rule.Justification
		if rule.Justification == "" {
			a[telemetry.AttrDecisionReason] = "network rule " + rule.Prefix.String()
		}
	case g.network.None:
		a[telemetry.AttrDecisionReason] = g.network.Closed()
	default:
		a[telemetry.AttrDecisionReason] = kernelReason(r.Rule)
	}
}

// kernelReason says why the kernel decided without a rule of the policy.
func kernelReason(rule int) string {
	switch rule {
	case ebpf.RuleDefault:
		return "no network rule matches: the default holds"
	case ebpf.RuleOwnService:
		return "a service of Paddock's own"
	case ebpf.RuleListener:
		return "where redirected connections arrive, nobody goes by himself"
	case ebpf.RuleNamespace:
		return "from another network namespace, connections cannot be judged by name: only loopback addresses that a network rule names can be reached there"
	case ebpf.RuleDatagram:
		return "under a managed network there is no UDP but DNS, which clients make up for with TCP; a network rule can name others"
	case ebpf.RuleDNSOverTLS:
		return "DNS over TLS hides names: clients fall back to DNS"
	case ebpf.RuleDevice:
		return "the socket is bound to a network device: it would leave by it"
	case ebpf.RuleNobody:
		return "the managed network does not run: nobody could judge the connection"
	case ebpf.RuleNoMemory:
		return "the socket could not be marked"
	case ebpf.RuleOwnListener:
		return "the session itself listens there"
	case ebpf.RuleSilentPort:
		return "nobody listens there"
	case ebpf.RuleOwnClient:
		return "the user's own program is connected to a socket of the session"
	case ebpf.RuleTaken:
		return "when it was judged, nobody but the session itself and its clients was there, and now it is not"
	}
	return "no policy entry for this destination"
}

func (e *Enforcer) socketEvent(s *mark, r *ebpf.Socket) telemetry.Event {
	ev, a := e.event(telemetry.NameNetworkDecision, s, &r.Head)
	ev.Severity = telemetry.Warn
	a[telemetry.AttrGate] = "socket"
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrDecision] = "deny"
	a[telemetry.AttrDecisionEnforced] = r.Enforced
	a[telemetry.AttrDecisionReason] = "a session may only have TCP and UDP sockets: nothing else is judged by the connect gate"
	if r.Routed {
		a[telemetry.AttrDecisionReason] = "a session may not choose the way of its packets (source routing): they would go elsewhere than was judged"
		a[telemetry.AttrSocketKind] = fmt.Sprintf("family %d", r.Family)
	} else {
		a[telemetry.AttrSocketKind] = fmt.Sprintf("family %d, type %d, protocol %d", r.Family, r.Type, r.Protocol)
	}
	count := session.Counters{Connects: 1}
	if r.Enforced {
		count.NetDenied = 1
	}
	e.Sessions.Count(s.key, count)
	return ev
}

func (e *Enforcer) signalEvent(s *mark, r *ebpf.Signal) telemetry.Event {
	ev, a := e.event(telemetry.NameTamper, s, &r.Head)
	ev.Severity = telemetry.Error
	a[telemetry.AttrGate] = "signal"
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrDecision] = "deny"
	a[telemetry.AttrDecisionEnforced] = true
	a[telemetry.AttrTamperTarget] = int64(r.Target)
	a[telemetry.AttrTamperSignal] = int64(r.Signal)
	a[telemetry.AttrDecisionReason] = "refused: signal " + strconv.Itoa(int(r.Signal)) + " to a process that is held or Paddock's own"
	if r.Signal == 0 {
		a[telemetry.AttrDecisionReason] = "refused: tracing a process that is held or Paddock's own"
	}
	return ev
}

func (e *Enforcer) diedEvent(s *mark, x *ebpf.Exec) telemetry.Event {
	ev, a := e.event(telemetry.NameHoldKilled, s, &x.Head)
	e.execAttrs(a, x)
	ev.Severity = telemetry.Warn
	a[telemetry.AttrGate] = "exec.hold"
	a[telemetry.AttrDecision] = policy.Forbidden.String()
	a[telemetry.AttrDecisionEnforced] = true
	a[telemetry.AttrKillReason] = "it ended while it was held"
	a[telemetry.AttrDecisionReason] = "ended before it was judged"
	return ev
}

func (e *Enforcer) killedEvent(s *mark, r *ebpf.Killed) telemetry.Event {
	ev, a := e.event(telemetry.NameHoldKilled, s, &r.Head)
	ev.Severity = telemetry.Error
	a[telemetry.AttrProcessUserID] = int64(r.UID)
	a[telemetry.AttrKillReason] = r.Reason.String()
	return ev
}

// known leaves out what is not: an attribute that does not apply is not there.
func known(a attrs) attrs {
	maps.DeleteFunc(a, func(_ string, value any) bool { return value == "" })
	return a
}

func sessionAttrs(s *session.Session) attrs {
	return attrs{
		telemetry.AttrAgent: s.Agent, telemetry.AttrSurface: s.Surface, telemetry.AttrAgentInstall: s.Install,
		telemetry.AttrAgentVersion: s.Version, telemetry.AttrSessionHow: s.How,
		telemetry.AttrProcessPID: int64(s.Root.PID), telemetry.AttrProcessStart: int64(s.Root.Start),
		telemetry.AttrProcessUserID: int64(s.UID), telemetry.AttrProcessOwner: s.User,
	}
}

func (e *Enforcer) sessionStart(s *session.Session) telemetry.Event {
	a := sessionAttrs(s)
	a[telemetry.AttrProcessExecutablePath] = s.Root.Exe
	a[telemetry.AttrProcessCommandArgs] = s.Root.Args
	a[telemetry.AttrProcessWorkingDir] = s.Root.Cwd
	return telemetry.Event{Time: s.Started, Name: telemetry.NameSessionStart, Severity: telemetry.Info, Session: s.ID, Attrs: known(a)}
}

func (e *Enforcer) sessionEnd(s *session.Session) telemetry.Event {
	a := sessionAttrs(s)
	a[telemetry.AttrSessionExecs] = int64(s.Counters.Execs)
	a[telemetry.AttrSessionDenied] = int64(s.Counters.Denied)
	a[telemetry.AttrSessionConnects] = int64(s.Counters.Connects)
	a[telemetry.AttrSessionNetDenied] = int64(s.Counters.NetDenied)
	return telemetry.Event{Time: s.Ended, Name: telemetry.NameSessionEnd, Severity: telemetry.Info, Session: s.ID, Attrs: known(a)}
}

func canaryEvent(g Gate) telemetry.Event {
	ev := telemetry.Event{Time: g.Checked, Name: telemetry.NameCanaryResult, Severity: telemetry.Info, Attrs: attrs{
		telemetry.AttrGate: g.Gate, telemetry.AttrTier: g.Tier, telemetry.AttrCanaryProven: g.Proven,
	}}
	if !g.Proven {
		ev.Severity = telemetry.Error
		ev.Attrs[telemetry.AttrCanaryDetail] = g.Detail
	}
	return ev
}
