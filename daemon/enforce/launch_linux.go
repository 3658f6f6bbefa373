// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// An agent can be started so as to slip its management. What a governed process starts
// is held before its first instruction, so its environment is what it was started with.
// What a person starts is not held (nothing that is not governed ever is): it is looked
// at some milliseconds into its life, and if requirements refuse such a start, ended
// with all that it has begun. The person could have run the same code without an agent,
// so nothing is lost in those milliseconds that there was to keep.

// launch is how an agent was started, and what requirements say of it.
type launch struct {
	started session.Started
	judged  []policy.Judged // the strictest first; none: nothing is wrong
	instead string          // a command that starts it as it may be; may be empty
}

func (l *launch) action() policy.LaunchAction {
	if l == nil || len(l.judged) == 0 {
		return policy.LaunchRecord
	}
	return l.judged[0].Action
}

// refused says that the start must not go on.
func (l *launch) refused(g *generation) bool {
	return g.mode == policy.Enforce && l.action() == policy.LaunchRefuse
}

// launched looks at how a process was started, if it is an agent. x is the exec, nil
// for one that was found running.
func (e *Enforcer) launched(g *generation, x *ebpf.Exec, p session.Process) *launch {
	s, ok := g.profiles.Start(p)
	if !ok {
		return nil
	}
	if s.Version == "" {
		s.Version = e.versionOf(g, s, p.PID)
	}
	home, environ := homeOf(p.UID), readEnviron(p.PID)
	files := e.settingsOf(g, s, p, home)
	found := g.profiles.Findings(s, environ, home, files)
	if x != nil && x.Flags.Has(ebpf.ArgvCut) {
		// What procfs shows of a long command line, the process itself may have changed
		// by now; what the kernel saw of it, not.
		p.Args = x.Args()
		if early, ok := g.profiles.Start(p); ok {
			found = append(found, g.profiles.Findings(early, nil, home, nil)...)
		}
	}
	l := &launch{started: s}
	l.judged = g.launch.JudgeStart(policy.Start{
		Agent: s.Agent, Version: s.Version, Home: home, Findings: toPolicy(found),
		Program: e.placeOf(g, s, p), Digest: func() (string, error) { return e.programDigest(x, s, p) },
	})
	called := p.Called
	if called == "" || s.Program != "" && filepath.Clean(s.Program) != filepath.Clean(p.Exe) {
		called = s.Program
	}
	if !slices.ContainsFunc(l.judged, func(j policy.Judged) bool { return j.Kind == policy.LaunchVersions }) {
		l.instead = g.profiles.Instead(s, called, found)
	}
	return l
}

var launchKinds = map[string]policy.LaunchKind{
	session.FoundEnvironment: policy.LaunchEnvironment, session.FoundFlags: policy.LaunchFlags, session.FoundOverrides: policy.LaunchOverrides,
}

func toPolicy(found []session.Finding) []policy.LaunchFinding {
	out := make([]policy.LaunchFinding, len(found))
	for i, f := range found {
		out[i] = policy.LaunchFinding{Kind: launchKinds[f.Kind], What: f.What, Why: f.Why, Quiet: f.Quiet, Within: f.Within}
	}
	return out
}

// readEnviron returns the environment a process was started with.
func readEnviron(pid int) []string {
	raw, err := readProc(pid, "environ", maxEnviron)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
}

// Bounds on what is read of an agent's settings.
const (
	maxSettings      = 1 << 20 // bytes of one file
	maxSettingsAbove = 512     // directories above the working directory
)

// settingsOf reads the files that say how the agent behaves, as it sees them.
func (e *Enforcer) settingsOf(g *generation, s session.Started, p session.Process, home string) []session.File {
	var out []session.File
	add := func(name string) {
		data, err := e.readSmall(g, p.PID, name, maxSettings+1)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR): // none
		default: // what the agent may be able to read and we are not counts as what is too long
			out = append(out, session.File{Name: name, Data: data[:min(len(data), maxSettings)], Cut: err != nil || len(data) > maxSettings})
		}
	}
	names, dirs := g.profiles.SettingsFiles(s)
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, "~/"); ok {
			if home != "" {
				add(filepath.Join(home, rest))
			}
			continue
		}
		for _, dir := range append([]string{""}, dirs...) {
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(p.Cwd, dir)
			}
			for range maxSettingsAbove {
				if !filepath.IsAbs(dir) {
					break
				}
				add(filepath.Join(dir, name))
				if dir == "/" {
					break
				}
				dir = filepath.Dir(dir)
			}
		}
	}
	return out
}

// readSmall reads the beginning of a regular file as a process sees it. One of procfs is
// none: to us it says something else. EISDIR for a directory.
func (e *Enforcer) readSmall(g *generation, pid int, path string, limit int64) ([]byte, error) {
	view := &processView{e: e, g: g, pid: pid}
	handle, err := view.open(path)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	if err := plainFile(handle); err != nil {
		return nil, err
	}
	read := make(chan []byte, 1)
	_, err = e.bounded.do(func() (digest, error) {
		f, err := reopen(handle)
		if err != nil {
			return digest{}, err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, limit))
		read <- data
		return digest{}, err
	})
	if err != nil {
		return nil, err
	}
	return <-read, nil
}

// plainFile says why something is not a regular file of a file system that shows all of
// us the same.
func plainFile(handle *os.File) error {
	info, err := handle.Stat()
	if err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(handle.Fd()), &st); err != nil {
		return err
	}
	switch {
	case info.IsDir():
		return fmt.Errorf("%s: %w", handle.Name(), unix.EISDIR)
	case !info.Mode().IsRegular() || st.Type == unix.PROC_SUPER_MAGIC:
		return fmt.Errorf("%s: not a regular file", handle.Name())
	}
	return nil
}

// versionOf reads the agent's version where its package says it.
func (e *Enforcer) versionOf(g *generation, s session.Started, pid int) string {
	for _, name := range g.profiles.VersionFiles(s) {
		data, err := e.readSmall(g, pid, name, maxSettings)
		if err != nil {
			continue
		}
		var said struct {
			Version string `json:"version"`
		}
		if json.Unmarshal(data, &said) == nil && said.Version != "" {
			return session.Label(said.Version)
		}
	}
	return ""
}

// placeOf is where the agent's program lies on this machine: empty if that is another
// file than the process runs, since a user may mount what they like in a namespace of
// their own.
func (e *Enforcer) placeOf(g *generation, s session.Started, p session.Process) string {
	if len(g.launch.Places) == 0 || s.Program == "" {
		return s.Program
	}
	runs := procPath(p.PID, "exe")
	if !e.isExecutable(s, p) {
		runs = filepath.Join(procPath(p.PID, "root"), s.Program)
	}
	real, err := filepath.EvalSymlinks(s.Program)
	if err != nil {
		return ""
	}
	a, errA := os.Stat(runs)
	b, errB := os.Stat(real)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		return ""
	}
	return real
}

// isExecutable says whether what was recognised is the file that runs, and not a
// script.
func (e *Enforcer) isExecutable(s session.Started, p session.Process) bool {
	a, errA := os.Stat(procPath(p.PID, "exe"))
	b, errB := os.Stat(filepath.Join(procPath(p.PID, "root"), s.Program))
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// programDigest reads what was recognised.
func (e *Enforcer) programDigest(x *ebpf.Exec, s session.Started, p session.Process) (string, error) {
	if s.Program == "" || e.isExecutable(s, p) {
		if x != nil {
			sum, err := e.hashOf(x)
			return hex.EncodeToString(sum[:]), err
		}
		return e.digestOf(func() (*os.File, error) { return os.Open(procPath(p.PID, "exe")) })
	}
	view := &processView{e: e, pid: p.PID}
	handle, err := view.open(s.Program)
	if err != nil {
		return "", err
	}
	defer handle.Close()
	if err := plainFile(handle); err != nil { // to open a device may do something
		return "", err
	}
	return e.digestOf(func() (*os.File, error) { return reopen(handle) })
}

func (e *Enforcer) digestOf(open func() (*os.File, error)) (string, error) {
	sum, err := e.bounded.do(func() (digest, error) {
		f, err := open()
		if err != nil {
			return digest{}, err
		}
		defer f.Close()
		return hash(f)
	})
	return hex.EncodeToString(sum[:]), err
}

// describe says in one sentence what is wrong, as much as is worth a line.
func (l *launch) describe() string {
	var all []string
	action := l.action()
	for _, j := range l.judged {
		if j.Action == action {
			all = append(all, j.What+" ("+j.Why+")")
		}
	}
	const some = 3
	if n := len(all) - some; n > 0 {
		all = append(all[:some], fmt.Sprintf("and %d more", n))
	}
	return l.started.Agent + " was started with " + strings.Join(all, ", ")
}

// why is the reason for a refusal, with what to run instead.
func (l *launch) why() string {
	text := l.describe() + ", which your organisation does not allow"
	if l.instead != "" && len(text)+len(l.instead) < maxTold-160 {
		text += "; run instead: " + l.instead
	}
	return text
}

// launchEvent tells of a start, once for a session and what was found.
func (e *Enforcer) launchEvent(g *generation, m *mark, p session.Process, l *launch, told bool) {
	a := attrs{
		telemetry.AttrProcessPID: int64(p.PID), telemetry.AttrProcessStart: int64(p.Start),
		telemetry.AttrProcessUserID: int64(p.UID), telemetry.AttrProcessOwner: p.User,
		telemetry.AttrAgent: l.started.Agent, telemetry.AttrAgentVersion: l.started.Version, telemetry.AttrAgentInstall: l.started.Install,
		telemetry.AttrProcessExecutablePath: p.Exe, telemetry.AttrProcessCommandArgs: p.Args, telemetry.AttrProcessWorkingDir: p.Cwd,
		telemetry.AttrGate: "launch", telemetry.AttrMode: g.mode.String(), telemetry.AttrPolicyGeneration: int64(g.number),
		telemetry.AttrDecision: policy.Allow.String(), telemetry.AttrDecisionReason: l.describe(), telemetry.AttrDecisionEnforced: g.mode == policy.Enforce,
		telemetry.AttrLaunchAction: l.action().String(), telemetry.AttrLaunchTold: told,
	}
	severity := telemetry.Info
	if l.action() > policy.LaunchRecord {
		severity = telemetry.Warn
	}
	if l.action() == policy.LaunchRefuse {
		a[telemetry.AttrDecision] = policy.Forbidden.String()
	}
	found := make([]string, len(l.judged))
	for i, j := range l.judged {
		found[i] = j.Kind.String() + ": " + j.What
	}
	a[telemetry.AttrLaunchFindings] = found
	e.stats.events.Add(1)
	e.record(telemetry.Event{Time: time.Now(), Name: telemetry.NameLaunch, Severity: severity, Session: m.id, Attrs: known(a)})
}

// enter makes a session of an agent that runs. If its start is refused, it and all it
// has begun is ended first.
func (e *Enforcer) enter(g *generation, key uint64, p session.Process, l *launch, how string) *mark {
	refused, told := l.refused(g), false
	if refused {
		e.marks.refused.put(key, true) // before anything that waits for the session is answered
		told = e.tellRefused(key, p, l)
		e.killAll(key, killSoon)
	}
	m := e.marks.begin(key, l.started.Match, p, how)
	if len(l.judged) == 0 {
		return m
	}
	if !refused && g.mode == policy.Enforce && l.action() == policy.LaunchWarn {
		if pidfd, ok := e.pidfdOf(p.PID, key); ok {
			told = e.onTerminal(pidfd, execOf(p), m, l.warning())
			unix.Close(pidfd)
		}
	}
	e.marks.once(key, l)
	e.launchEvent(g, m, p, l, told)
	if refused {
		if left := e.killAll(key, killLimit); left > 0 {
			e.Log.Error("ending an agent whose start is refused", "session", m.id, "processes_left", left)
		}
	}
	return m
}

// tellRefused writes the reason where the agent's own errors go.
func (e *Enforcer) tellRefused(key uint64, p session.Process, l *launch) bool {
	pidfd, ok := e.pidfdOf(p.PID, key)
	if !ok {
		return false
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, 2, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	writeNow(fd, []byte(clean("paddock: "+l.why()+"\n")), execOf(p))
	return true
}

// execOf is who a message is for.
func execOf(p session.Process) *ebpf.Exec {
	return &ebpf.Exec{Head: ebpf.Head{PID: p.PID}, UID: p.UID, GID: p.UID}
}

func (l *launch) warning() string {
	return "paddock: " + l.describe() + "; your organisation is told of it\n"
}

// nested deals with an agent that a governed process starts and that is held. It
// returns why it may not, if so.
func (e *Enforcer) nested(g *generation, h *ebpf.Held, x *ebpf.Exec, m *mark, l *launch) (policy.Verdict, bool) {
	if l == nil || len(l.judged) == 0 {
		return policy.Verdict{}, false
	}
	p := e.described(x, g.profiles)
	if l.refused(g) {
		e.launchEvent(g, m, p, l, h != nil)
		return policy.Verdict{Decision: policy.Forbidden, Reason: l.why()}, true
	}
	if !e.marks.once(m.key, l) {
		return policy.Verdict{}, false
	}
	told := false
	if h != nil && g.mode == policy.Enforce && l.action() == policy.LaunchWarn {
		told = e.onTerminal(h.FD(), x, m, l.warning())
	}
	e.launchEvent(g, m, p, l, told)
	return policy.Verdict{}, false
}

// pidfdOf opens a process of a session.
func (e *Enforcer) pidfdOf(pid int, key uint64) (int, bool) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, false
	}
	// After the handle was opened: its number may be another's by now.
	if p, err := e.Kernel.Lookup(pid); err != nil || p.Session != key {
		unix.Close(pidfd)
		return -1, false
	}
	return pidfd, true
}

// How long the end of a refused session may take, whatever it forks: until it is told
// of, and in all.
const (
	killSoon  = 200 * time.Millisecond
	killLimit = 10 * time.Second
)

// killAll ends every process of a session, those it forks meanwhile too, and returns
// how many are left.
func (e *Enforcer) killAll(key uint64, limit time.Duration) int {
	deadline := time.Now().Add(limit)
	for {
		procs, err := e.Kernel.Procs()
		if err != nil {
			e.Log.Error("looking at the processes of a session", "error", err)
		}
		left := 0
		for pid, p := range procs {
			if p.Session != key {
				continue
			}
			left++
			if pidfd, ok := e.pidfdOf(pid, key); ok {
				_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0) // if it is gone already, the better
				unix.Close(pidfd)
			}
		}
		if err == nil && left == 0 || time.Now().After(deadline) {
			return left
		}
		select {
		case <-e.ctx.Done():
			return left
		case <-time.After(time.Millisecond):
		}
	}
}
