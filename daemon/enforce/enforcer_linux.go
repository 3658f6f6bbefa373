// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// Recorder takes events; it blocks rather than lose one.
type Recorder interface {
	// Record never waits: what it is called from may be keeping a process. It keeps nothing of the events.
	Record(context.Context, ...telemetry.Event) error
	// Room waits until there is room for those who can wait.
	Room(context.Context) error
	Owe(int)
}

// Config is what an Enforcer stands on. All fields but Log are required.
type Config struct {
	Kernel   *ebpf.Kernel
	Profiles *session.Profiles
	Sessions *session.Table
	Events   Recorder
	// Directories returns those that are searched for the programs rules name; see
	// Directories.
	Directories func() []string
	// Helper is the command line of Paddock's own helper process, to which a
	// role and its arguments are added: see HelperMain.
	Helper []string
	// PinDir is where Kernel is pinned: the guard opens it on its own.
	PinDir string
	// Cgroup is that below which Kernel judges connections: the canary goes there. Empty:
	// this process is below it.
	Cgroup string
	// Approvals asks people about what a rule wants approved. nil: nobody can be asked,
	// and it is killed.
	Approvals *approval.Queue
	// HoldsFile names what waits for people, for the guard and the next daemon. Its
	// directory is root's alone. Empty: nothing that waits outlives the daemon.
	HoldsFile string
	// TreesFile keeps where the work trees of git repositories have been. Its directory
	// is root's alone. Empty: that is forgotten with the daemon.
	TreesFile string
	// HoldGrace is how long what waits for people outlives the daemon without a
	// successor.
	HoldGrace time.Duration
	// Prompt, if set, returns what the person had asked of a session last, by its ID.
	Prompt func(session string) string
	// Own are Paddock's own files and directories, and those that manage agents:
	// where there is a boundary, no session writes there in any mode.
	Own []string
	// MarkBelow is the directory below which fanotify may be asked about opens, where
	// that is what keeps secrets. Empty: nowhere but in the canary's place.
	MarkBelow string
	// Companion is the program in which people are asked: no session signals or traces
	// it. Empty: there is none.
	Companion string
	// Changed, if set, is called after a session began or ended.
	Changed func()
	// Ended, if set, is called after a session ended.
	Ended func(session string)
	// Managed, if set, says how governed connections are sent to the listeners of
	// the managed network under these requirements.
	Managed func(*policy.Requirements) Managed
	// Refreshed, if set, is called when the policy is in force as another generation,
	// because programs that its rules name have changed.
	Refreshed func(generation uint32)
	Log       *slog.Logger
}

// Enforcer answers the kernel. Make one with New, give it a policy with Apply,
// then Start it.
type Enforcer struct {
	Config
	envKeys  []string
	users    users
	now      atomic.Pointer[generation]
	hashes   *memo[ebpf.FileID, digest]
	paths    *paths
	numbers  numbers
	causes   causes
	bounded  bounded
	marks    sessions
	canary   *canary
	woken    wokenWatch
	guard    guard
	opens    opens
	lookups  lookups
	trees    *knownTrees
	asks     asks
	vouchers vouchers
	prompts  *memo[string, string] // by session: what its user asked last
	bygone   *memo[int, bygone]    // governed processes that ended
	// projects are what sessions began in, and what must stay open for them.
	projects struct {
		sync.Mutex
		of   map[uint64]project
		kept map[uint64][]*os.File
	}
	apply sync.Mutex
	// companion is the open file of the program in which people are asked, or nil;
	// guarded by apply.
	companion *os.File

	ctx      context.Context // ends when the daemon stops
	cancel   context.CancelFunc
	readers  []*ebpf.Reader
	work     errands
	stats    stats
	answered chan answered // by quick
}

// generation is one policy in force, whole.
type generation struct {
	number   uint32
	mode     policy.Mode
	rules    *policy.Rules
	network  policy.Network
	managed  Managed
	catalog  *catalog
	limits   policy.Boundary
	launch   policy.Launch
	boundary *boundary
	profiles *session.Profiles
}

// New makes an Enforcer.
func New(c Config) (*Enforcer, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Ended == nil {
		c.Ended = func(string) {}
	}
	e := &Enforcer{
		Config:  c,
		envKeys: c.Profiles.EnvKeys(),
		hashes:  newMemo[ebpf.FileID, digest](8192),
		paths:   newPaths(),
		prompts: newMemo[string, string](1024),
		bygone:  newMemo[int, bygone](8192),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.causes.init()
	e.bounded.init()
	e.lookups.init()
	e.marks.init(e)
	e.opens.init(e)
	e.asks.init(c.HoldsFile)
	e.projects.of, e.projects.kept = map[uint64]project{}, map[uint64][]*os.File{}
	var err error
	e.trees, err = openTrees(c.TreesFile, func(err error) { c.Log.Error("work trees of git", "error", err) })
	if err != nil {
		return nil, err
	}
	if e.canary, err = newCanary(); err != nil {
		return nil, err
	}
	return e, nil
}

// Managed says what becomes of connections under requirements.
type Managed struct {
	ByName         bool // they are sent to the daemon; nothing else counts if they are not
	OwnListeners   bool // but those of a session to itself, on loopback
	LoopbackDenied bool // of what is sent to the daemon, nothing reaches loopback
}

// Apply puts requirements into force, as the next generation. On an error the
// one before stays. It returns the generation's number.
func (e *Enforcer) Apply(r *policy.Requirements) (uint32, error) {
	e.apply.Lock()
	defer e.apply.Unlock()

	profiles, err := e.Profiles.Only(r.Agents)
	if err != nil {
		return 0, fmt.Errorf("applying the requirements: [paddock] agents: %w", err)
	}
	g := &generation{
		mode: r.Mode, rules: policy.CompileCommands(r), network: r.Network, profiles: profiles,
		limits: r.Limits(), launch: r.Launch,
	}
	if e.Managed != nil {
		g.managed = e.Managed(r)
	}
	if err := e.install(g); err != nil {
		return 0, err
	}
	if e.Approvals != nil {
		e.Approvals.Apply(r.Approvals)
	}
	return g.number, nil
}

// install looks for the files a generation speaks of, and puts it into force.
func (e *Enforcer) install(g *generation) error {
	var old *catalog
	before := e.now.Load()
	if before != nil {
		old = before.catalog
	}
	var err error
	if g.catalog, err = newCatalog(e.ctx, e.Kernel, g.rules, e.directories(), old); err != nil {
		return fmt.Errorf("looking for the programs rules name: %w", err)
	}
	if g.boundary, err = newBoundary(e.ctx, e.Kernel, &e.lookups, g.limits, e.own(), nil); err != nil {
		return fmt.Errorf("looking for the paths of the boundary: %w", err)
	}
	for _, err := range g.boundary.skipped {
		e.Log.Warn("a path of the boundary cannot be looked at: its name is bound, links to it from elsewhere are not", "error", err)
	}
	if err := e.canary.identify(e.Kernel); err != nil {
		return err
	}
	if err := e.Kernel.SetNames(names(g.profiles)); err != nil {
		return err
	}
	if err := e.protectCompanion(); err != nil {
		e.Log.Error("sessions can end the companion", "error", err)
	}
	if err := e.putInForce(g); err != nil {
		g.boundary.close()
		return err
	}
	if before != nil {
		before.boundary.close()
	}
	if e.opens.active() { // else Prove says whether they need to be
		if err := e.watchOpens(g.boundary); err != nil {
			e.Log.Error("asking about opens of what may not be read", "error", err)
		}
	}
	if err := e.bindAll(); err != nil {
		e.Log.Error("a session is not under the new boundary", "error", err)
	}
	e.watchWoken()
	return nil
}

// putInForce gives a generation its number, and swaps it in.
func (e *Enforcer) putInForce(g *generation) error {
	last, err := e.Kernel.Generation()
	if err != nil {
		return err
	}
	g.number = last + 1
	if before := e.now.Load(); before != nil { // also if somebody else set an older one: what is remembered under its number was judged by another policy
		g.number = max(g.number, before.number+1)
	}
	kernel, err := e.forKernel(g)
	if err != nil {
		return err
	}
	if err := e.Kernel.SetPolicy(kernel); err != nil {
		return err
	}
	e.now.Store(g)
	e.watchWoken()
	if e.Approvals != nil {
		e.work.Go("reconsidering questions", func() { e.reconsider(g) })
	}
	return nil
}

// forKernel translates: the kernel side knows no policy.
func (e *Enforcer) forKernel(g *generation) (ebpf.Generation, error) {
	out := ebpf.Generation{Number: g.number, Enforce: g.mode == policy.Enforce, Deny: map[ebpf.InodeID]uint32{}}
	out.Managed, out.OwnListeners, out.NearDenied = g.managed.ByName, g.managed.OwnListeners, g.managed.LoopbackDenied
	entries, err := g.network.Entries()
	if err != nil {
		return out, fmt.Errorf("translating the network rules: %w", err)
	}
	for _, entry := range entries {
		spans := make([]ebpf.NetSpan, len(entry.Spans))
		for i, s := range entry.Spans {
			spans[i] = ebpf.NetSpan{
				First: s.First, Last: s.Last, Protocols: uint8(s.Protocols),
				Allow: s.Decision == policy.NetAllow, Rule: s.Rule,
			}
		}
		out.Net = append(out.Net, ebpf.NetEntry{Prefix: entry.Prefix, Spans: spans})
	}
	out.Net = append(out.Net, e.canary.entry())
	for id, rule := range g.catalog.deny {
		out.Deny[id] = rule
	}
	out.Deny[e.canary.inode] = 0
	out.Boundary, out.Bounds = kernelModes[g.boundary.policy.Mode], g.boundary.bounds
	return out, nil
}

func names(p *session.Profiles) map[string]ebpf.NameFlags {
	out := map[string]ebpf.NameFlags{}
	for _, c := range p.Candidates() {
		flags := ebpf.Candidate
		if c.Sure {
			flags |= ebpf.SureName
		}
		if c.Interpreter {
			flags |= ebpf.Interpreter
		}
		out[c.Name] = flags
	}
	return out
}

// Start attaches the kernel side, begins to answer it, and marks the agents
// that run already. A policy must have been applied.
func (e *Enforcer) Start(ctx context.Context) error {
	if e.now.Load() == nil {
		return errors.New("starting the enforcer: no policy was applied")
	}
	// What an earlier daemon held, nobody has judged: it may not run. What a person was
	// asked about waits on.
	asked, err := readHolds(e.HoldsFile)
	if err != nil {
		e.Log.Error("what waited for people is killed", "error", err)
	}
	left, err := e.Kernel.KillHeld(holdsOf(asked))
	if err != nil {
		return fmt.Errorf("killing what was left held: %w", err)
	}
	others, err := e.Kernel.KillHeldByOthers()
	if err != nil {
		return fmt.Errorf("killing what another version held: %w", err)
	}
	left += others
	// Before anything is read: records wait for their session.
	if err := e.marks.takeOver(); err != nil {
		return err
	}
	if err := e.startReaders(); err != nil {
		return err
	}
	if err := e.startGuard(); err != nil {
		return err
	}
	if err := e.Kernel.SetDaemon(os.Getpid(), true); err != nil {
		return err
	}
	if err := e.Kernel.Attach(); err != nil {
		return err
	}
	if err := e.scan(); err != nil {
		return err
	}
	if left > 0 {
		e.Log.Warn("killed processes an earlier daemon left held", "count", left)
	}
	e.work.Go("the sweep of sessions", e.marks.sweep)
	e.work.Go("the watch on programs", e.watchPrograms)
	e.work.Go("saving questions", func() {
		e.asks.file.run(e.ctx.Done(), func(err error) { e.Log.Error("saving what waits for people", "error", err) })
	})
	e.askAgain(asked)
	return nil
}

// Shutdown stops answering. What is in force stays in force: governed execs that
// would need an answer are killed by the kernel from here on.
//
// What waits for people waits on for the next daemon, unless abandon is set: the guard
// kills it when none comes.
func (e *Enforcer) Shutdown(ctx context.Context, abandon bool) error {
	var errs []error
	errs = append(errs, e.Kernel.SetDaemon(0, false))
	e.drain(ctx)
	asked := e.asks.close()
	if abandon {
		asked = nil
	}
	errs = append(errs, e.asks.file.save(asked))
	if _, err := e.Kernel.KillHeld(holdsOf(asked)); err != nil {
		errs = append(errs, err)
	}
	e.reportLosses()
	e.opens.end()
	e.cancel()
	e.stopGuard()
	for _, r := range e.readers {
		errs = append(errs, r.Close())
	}
	done := make(chan struct{})
	go func() { e.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		errs = append(errs, fmt.Errorf("stopping the enforcer: %w; not done: %s", ctx.Err(), &e.work))
	}
	e.canary.close()
	return errors.Join(errs...)
}

// record hands events over. The store tells of those it has no room for itself.
// recordOwed records an event that was counted with Owe.
func (e *Enforcer) recordOwed(ev telemetry.Event) {
	ev.Owed = true
	e.record(ev)
}

func (e *Enforcer) record(events ...telemetry.Event) {
	if err := e.Events.Record(context.WithoutCancel(e.ctx), events...); err != nil {
		e.stats.unrecorded.Add(uint64(len(events)))
		if errors.Is(err, telemetry.ErrFull) {
			return
		}
		e.Log.Error("recording events", "count", len(events), "error", err)
	}
}

// Agents lists the agents the requirements in force have governed.
func (e *Enforcer) Agents() []string { return e.now.Load().profiles.Names() }

// Counters returns what userspace counted, by name.
func (e *Enforcer) Counters() map[string]uint64 {
	out := map[string]uint64{
		"records.broken": e.stats.broken.Load(), "records.foreign": e.stats.foreign.Load(),
		"events.recorded": e.stats.events.Load(), "events.unrecorded": e.stats.unrecorded.Load(),
		"holds.evaluated": e.stats.evaluated.Load(), "opens.refused": e.opens.refused.Load(), "opens.untold": e.opens.untold.Load(),
	}
	for _, ring := range []ebpf.Ring{ebpf.Holds, ebpf.Security, ebpf.Volume} {
		out["ring."+ring.String()+".done"] = e.stats.done[ring].Load()
		out["ring."+ring.String()+".read"] = e.stats.read[ring].Load()
		out["ring."+ring.String()+".before"] = e.stats.before[ring]
	}
	return out
}
