// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/seed-649e9bbc/paddock/daemon/api"
	"github.com/seed-649e9bbc/paddock/daemon/approval"
	"github.com/seed-649e9bbc/paddock/daemon/enforce"
	"github.com/seed-649e9bbc/paddock/daemon/policy"
	"github.com/seed-649e9bbc/paddock/daemon/session"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/daemon/telemetry/receiver"
	"github.com/seed-649e9bbc/paddock/ebpf"
	"github.com/seed-649e9bbc/paddock/mdm"
)

// Daemon is the system service. Make one with New, then Run it once.
type Daemon struct {
	config  Config
	started time.Time

	lock      *os.File
	store     *telemetry.Store
	exporters *telemetry.Exporters
	loader    *mdm.Loader
	kernel    *ebpf.Kernel
	sessions  *session.Table
	approvals *approval.Queue
	answerers *approval.People
	prompts   prompts
	enforcer  *enforce.Enforcer
	network   *network
	files     files
	server    *api.Server
	receiver  *receiver.Receiver

	saving   sync.Mutex // of the file the sessions are in
	applying sync.Mutex // one result of the loader after the other, in their order
	prove    chan struct{}
	people   people
	mu       sync.Mutex // guards what follows
	policy   inForce
	intake   api.Intake // of agents' telemetry
	services []uint16   // TCP ports on loopback that sessions may reach whatever the rules say
}

// inForce is what status says of the requirements.
type inForce struct {
	result     mdm.Result
	applied    *policy.Requirements
	generation uint32
	rejected   string // why the newest requirements are not in force
}

// New makes a daemon; nothing happens before Run.
func New(c Config) *Daemon {
	return &Daemon{
		config: c.withDefaults(), prove: make(chan struct{}, 1),
		people: people{known: map[uint32]policy.Person{}, seen: map[uint32]time.Time{}},
	}
}

// stopLimit is how long an orderly stop may take, and then once more what stores the events.
const stopLimit = 5 * time.Second

// Run brings everything up, in order, serves until ctx ends, and takes it down.
// ready is called once every gate is proven and the API answers. Its errors are
// one sentence with what to do.
func (d *Daemon) Run(ctx context.Context, ready func()) error {
	d.started = time.Now()
	debug.SetMemoryLimit(MemoryLimit)
	if err := ebpf.Check(d.kernelOptions()); err != nil {
		return d.stillGoverned(err)
	}
	d.comeFirst()
	if err := d.directories(); err != nil {
		return d.stillGoverned(err)
	}
	if err := d.takeLock(); err != nil {
		return d.stillGoverned(err)
	}
	defer d.lock.Close()

	err := d.up(ctx)
	detach := d.config.DetachOnStop
	switch {
	case err == nil:
		ready()
		enforce.GiveBackMemory() // most of what the start took is garbage: the kernel side as it was read, above all
		err = d.serve(ctx)
	case d.kernel != nil && !d.kernel.TookOver():
		// No daemon ever answered what this one has put into force: agents would be killed, and nobody could say why.
		detach = true
	case d.kernel == nil || !detach:
		err = d.stillGoverned(err)
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	return errors.Join(err, d.down(stop, detach))
}

// stillGoverned adds to why the daemon does not start what an earlier one's kernel side does meanwhile.
func (d *Daemon) stillGoverned(err error) error {
	if dir := d.config.PinDir; ebpf.InForce(dir) && !errors.Is(err, ebpf.ErrInUse) && !errors.Is(err, ErrRunning) {
		return fmt.Errorf("%w; until a daemon starts, agents stay governed by the kernel side in %s, and what needs an answer is killed (to end that: rm -r %s)", err, dir, dir)
	}
	return err
}

// up starts the parts, those that others stand on first.
func (d *Daemon) up(ctx context.Context) error {
	c := d.config
	var err error
	if d.store, err = telemetry.Open(ctx, filepath.Join(c.StateDir, "events"), d.storeOptions()); err != nil {
		return err
	}
	d.record(slices.Concat(d.killedEvent(ctx), d.lostEvents(ctx), []telemetry.Event{d.startEvent()})...)
	profiles, err := d.profiles()
	if err != nil {
		return err
	}
	d.loader = mdm.NewLoader(c.Root, filepath.Join(c.StateDir, "requirements"), c.Log)
	d.sessions = session.NewTable(time.Now, rand.Reader)
	if err := d.restoreSessions(); err != nil {
		c.Log.Warn("the sessions from before are lost; what is marked in the kernel stays governed", "error", err)
	}
	if err := d.recallPeople(); err != nil {
		c.Log.Warn("who used the machine before is lost; they count when they come again", "error", err)
	}
	d.meet()
	if d.kernel, err = ebpf.Open(d.kernelOptions()); err != nil {
		return err
	}
	if d.approvals, err = d.openApprovals(); err != nil {
		return err
	}
	d.enforcer, err = enforce.New(enforce.Config{
		Kernel: d.kernel, Profiles: profiles, Sessions: d.sessions, Events: d.store,
		Directories: func() []string { return enforce.Directories("/") }, Helper: c.Helper, PinDir: c.PinDir, Cgroup: c.Cgroup, Log: c.Log,
		Changed: d.sessionsChanged, Refreshed: d.refreshed, Prompt: d.prompts.of, Own: d.own(), Companion: d.config.Companion, MarkBelow: c.MarkBelow,
		Approvals: d.approvals, HoldsFile: filepath.Join(c.StateDir, "holds"), TreesFile: filepath.Join(c.StateDir, "worktrees"), HoldGrace: c.HoldGrace,
		Managed: managed, Ended: func(session string) { d.network.ended(session) },
	})
	if err != nil {
		return err
	}
	if d.network, err = newNetwork(d); err != nil {
		return err
	}
	if err := d.applyFirst(d.loader.Load()); err != nil {
		return err
	}
	if err := d.enforcer.Start(ctx); err != nil {
		return err
	}
	d.beginFiles()
	if err := d.enforcer.Prove(ctx); err != nil {
		return err
	}
	if err := d.kernel.DropOthers(); err != nil {
		return err
	}
	// While another version's programs were there too, they refused what ours redirected.
	if err := d.enforcer.ProveAgain(ctx); err != nil {
		return err
	}
	d.startExporters(ctx)
	d.startReceiver(ctx)
	<-d.files.begun
	d.server = api.NewServer(c.socket(), d, c.Log)
	return d.server.Start(ctx)
}

// down stops the parts in reverse. Enforcement goes on without us, unless detach is set.
func (d *Daemon) down(ctx context.Context, detach bool) error {
	var errs []error
	if d.server != nil {
		// A client that says nothing must not use up the time of the others.
		short, cancel := context.WithTimeout(ctx, time.Second)
		if err := d.server.Shutdown(short); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			errs = append(errs, err)
		}
		cancel()
	}
	if d.receiver != nil {
		short, cancel := context.WithTimeout(ctx, time.Second)
		errs = append(errs, d.receiver.Shutdown(short))
		cancel()
	}
	errs = append(errs, d.files.close())
	if d.network != nil {
		errs = append(errs, d.network.shutdown(ctx))
	}
	if d.enforcer != nil {
		errs = append(errs, d.enforcer.Shutdown(ctx, detach))
		errs = append(errs, d.saveSessions())
	}
	if d.approvals != nil {
		errs = append(errs, d.approvals.Close())
	}
	if d.kernel != nil {
		if detach {
			errs = append(errs, d.kernel.Detach())
		}
		errs = append(errs, d.kernel.Close())
	}
	if d.store != nil {
		// However long the others took: what they did is kept.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		d.record(d.stopEvent())
		errs = append(errs, d.store.Flush(ctx))
		if d.exporters != nil {
			errs = append(errs, d.exporters.Shutdown(ctx))
		}
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}

// proveEvery is how often the canary flies while nothing changes.
const proveEvery = 5 * time.Minute

// serve reacts to what changes until ctx ends.
func (d *Daemon) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() {
		err := d.loader.Watch(ctx, func(r mdm.Result) { d.applyNext(ctx, r) })
		if err != nil && ctx.Err() == nil {
			d.config.Log.Error("watching the requirements", "error", err)
		}
	})
	work.Go(func() { d.watchFiles(ctx) })
	work.Go(func() { d.watchKernel(ctx) })
	beat := time.NewTimer(d.heartbeatEvery())
	defer beat.Stop()
	prove, save := time.NewTicker(proveEvery), time.NewTicker(saveEvery)
	defer prove.Stop()
	defer save.Stop()
	watchdog, stopWatchdog := watchdogTicks()
	defer stopWatchdog()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.prove:
			if err := d.enforcer.Prove(ctx); err != nil && ctx.Err() == nil {
				d.config.Log.Error("a gate is not proven under the new policy", "error", err)
			}
		case <-prove.C:
			if err := d.enforcer.Prove(ctx); err != nil && ctx.Err() == nil {
				d.config.Log.Error("a gate is not proven any more", "error", err)
			}
		case <-beat.C:
			d.record(d.heartbeat())
			beat.Reset(d.heartbeatEvery())
		case <-save.C:
			if err := d.saveSessions(); err != nil {
				d.config.Log.Error("saving the sessions", "error", err)
			}
		case <-watchdog:
			d.feedWatchdog(ctx)
		}
	}
}

func (d *Daemon) profiles() (*session.Profiles, error) {
	if d.config.AgentsFile != "" {
		return session.LoadProfiles(d.config.AgentsFile)
	}
	return session.Embedded()
}

func (d *Daemon) kernelOptions() ebpf.Options {
	return ebpf.Options{PinDir: d.config.PinDir, Cgroup: d.config.Cgroup, Log: d.config.Log}
}

func (d *Daemon) record(events ...telemetry.Event) {
	if err := d.store.Record(context.Background(), events...); err != nil {
		d.config.Log.Error("recording an event", "error", err)
	}
}
