// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// stats count what userspace took from the rings: with the kernel's own
// counters they must add up.
type stats struct {
	read       [3]atomic.Uint64 // records, by ring
	broken     atomic.Uint64    // records that could not be decoded
	done       [3]atomic.Uint64 // records fully dealt with
	events     atomic.Uint64    // events handed to the store
	foreign    atomic.Uint64    // records of processes that turned out to be no agent's
	leftOut    atomic.Uint64    // calls that kernel programs did not see, told already
	unrecorded atomic.Uint64    // events the store did not take
	evaluated  atomic.Uint64    // holds answered
	before     [3]uint64        // records earlier daemons read
}

// startReaders begins to read the three rings. Holds are answered by several
// workers: reading a big file to know it must not keep others waiting.
func (e *Enforcer) startReaders() error {
	holds, err := e.Kernel.Reader(ebpf.Holds)
	if err != nil {
		return err
	}
	security, err := e.Kernel.Reader(ebpf.Security)
	if err != nil {
		return err
	}
	volume, err := e.Kernel.Reader(ebpf.Volume)
	if err != nil {
		return err
	}
	e.readers = []*ebpf.Reader{holds, security, volume}
	for ring := range e.readers {
		c, err := e.Kernel.Counters(ebpf.Ring(ring))
		if err != nil {
			return err
		}
		e.stats.before[ring] = c.Read
	}

	questions := make(chan *ebpf.Exec, 64)
	e.answered = make(chan answered, 4096)
	e.work.Go("reading holds", func() {
		defer close(questions)
		defer close(e.answered)
		comeFirst()
		e.read(ebpf.Holds, holds, func(r ebpf.Record) {
			x, ok := r.(*ebpf.Exec)
			if !ok {
				e.stats.done[ebpf.Holds].Add(1)
				e.Events.Owe(-1)
				return
			}
			if x.Action == ebpf.ExecCandidate {
				e.marks.expect(x.Session) // in order, before anything of that session is answered
			}
			if e.quick(x) {
				return
			}
			questions <- x
		})
	})
	for range runtime.NumCPU() + 2 {
		e.work.Go("answering", func() {
			for x := range questions {
				e.answer(x)
				e.stats.done[ebpf.Holds].Add(1)
			}
		})
	}
	e.work.Go("telling of answers", func() {
		for a := range e.answered {
			e.stats.events.Add(1)
			ev := e.execEvent(a.session, a.exec, a.under, a.verdict)
			e.recordOwed(ev)
			reuse(&ev)
			e.stats.done[ebpf.Holds].Add(1)
		}
	})
	// What these speak of happened already. Behind a slow disk it waits in the ring, which counts what it cannot take.
	e.work.Go("reading what was refused", func() { e.read(ebpf.Security, security, e.afterRoom(e.report(ebpf.Security))) })
	e.work.Go("reading what ran", func() { e.read(ebpf.Volume, volume, e.afterRoom(e.report(ebpf.Volume))) })
	return nil
}

// comeFirst gives the calling goroutine a thread of its own, which the machine
// runs before others: a process stands still until it is answered.
func comeFirst() {
	runtime.LockOSThread()                          // never unlocked: the thread ends with the goroutine
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -20) // without it, answers are later and the same
}

// answer deals with one question of the kernel.
func (e *Enforcer) answer(x *ebpf.Exec) {
	switch x.Action {
	case ebpf.ExecCandidate:
		e.recognise(x)
	default:
		e.judge(x)
	}
}

// read takes records until the ring is closed.
func (e *Enforcer) read(ring ebpf.Ring, r *ebpf.Reader, handle func(ebpf.Record)) {
	for {
		rec, err := r.Read()
		if errors.Is(err, ebpf.ErrClosed) {
			return
		}
		e.stats.read[ring].Add(1)
		e.Events.Owe(1)
		if err != nil {
			e.stats.broken.Add(1)
			e.stats.done[ring].Add(1)
			e.Log.Error("a kernel record was lost", "ring", ring.String(), "error", err)
			continue
		}
		handle(rec)
		if ring == ebpf.Volume && r.Empty() {
			time.Sleep(gather)
		}
	}
}

// gather is how long what needs no answer may pile up before it is read. The
// kernel wakes a reader only for the first record after everything was read: a
// governed process then pays for one wake-up in this time, and not for one per
// record. It delays events, and no decision.
const gather = 10 * time.Millisecond

// afterRoom has a reader wait for the event store.
func (e *Enforcer) afterRoom(handle func(ebpf.Record)) func(ebpf.Record) {
	return func(rec ebpf.Record) {
		_ = e.Events.Room(e.ctx) // at the end of the daemon, and while nothing can be stored, Record says what is to be said
		handle(rec)
	}
}

// report turns records of what already happened into events.
func (e *Enforcer) report(ring ebpf.Ring) func(ebpf.Record) {
	return func(rec ebpf.Record) {
		defer e.stats.done[ring].Add(1)
		h := rec.Header()
		if h.Session == canarySession {
			e.Events.Owe(-1)
			return
		}
		s, known := e.sessionOf(rec)
		if !known {
			e.stats.foreign.Add(1)
			e.Events.Owe(-1)
			return
		}
		var ev telemetry.Event
		switch r := rec.(type) {
		case *ebpf.Exec:
			ev = e.execRan(s, r)
		case *ebpf.Exit:
			ev = e.exitEvent(s, r)
			e.bygone.put(r.PID, bygone{s, time.Now()})
			e.exited(r.PID)
			if r.Remaining == 0 { // else the sweep finds out
				e.work.Go("ending a session", func() { e.marks.look(h.Session) })
			}
		case *ebpf.Connect:
			ev = e.connectEvent(s, r)
		case *ebpf.Refused:
			ev = e.refusedEvent(s, r)
		case *ebpf.Socket:
			ev = e.socketEvent(s, r)
		case *ebpf.Signal:
			ev = e.signalEvent(s, r)
		case *ebpf.Killed:
			ev = e.killedEvent(s, r)
		case *ebpf.File:
			ev = e.fileEvent(s, r)
		}
		e.stats.events.Add(1)
		e.recordOwed(ev)
		reuse(&ev)
	}
}

// sessionOf returns the session of a record. A candidate that was killed, since
// nobody could be asked about it, has none.
func (e *Enforcer) sessionOf(rec ebpf.Record) (*mark, bool) {
	h := rec.Header()
	x, ok := rec.(*ebpf.Exec)
	if ok && x.Action == ebpf.ExecKilled && (h.Session == 0 || !e.marks.announced(h.Session)) {
		return &mark{key: h.Session}, true
	}
	return e.marks.await(h.Session)
}

// reportLosses makes an event of what a full ring could not take.
func (e *Enforcer) reportLosses() {
	lost, reported, err := e.Kernel.Losses()
	if err != nil {
		e.Log.Error("counting lost records", "error", err)
		return
	}
	for i := range lost {
		if lost[i] <= reported[i] {
			continue
		}
		ring := ebpf.Ring(i)
		e.Log.Error("the kernel could not deliver records", "ring", ring.String(), "count", lost[i]-reported[i])
		e.record(telemetry.Event{Name: telemetry.NameTelemetryGap, Severity: telemetry.Error, Attrs: attrs{
			telemetry.AttrGapCause: "kernel ring " + ring.String() + " full",
			telemetry.AttrGapCount: int64(lost[i] - reported[i]),
		}})
		if err := e.Kernel.ReportLoss(ring, lost[i]); err != nil {
			e.Log.Error("noting lost records", "error", err)
		}
	}
	e.reportLeftOut()
}

// reportLeftOut makes an event of what the kernel's programs did not get to see.
func (e *Enforcer) reportLeftOut() {
	if !e.canary.leaky.Load() {
		return
	}
	total, err := e.Kernel.LeftOut()
	if err != nil {
		e.Log.Error("counting what kernel programs did not see", "error", err)
		return
	}
	before := e.stats.leftOut.Swap(total)
	if total <= before { // others were attached
		return
	}
	e.Log.Error("the kernel left its programs out", "count", total-before)
	e.record(telemetry.Event{Name: telemetry.NameTelemetryGap, Severity: telemetry.Error, Attrs: attrs{
		telemetry.AttrGapCause: telemetry.GapLeftOut, telemetry.AttrGapCount: int64(total - before),
	}})
}

// drainLimit is how long a stop waits for what was submitted before it.
const drainLimit = 2 * time.Second

// drain waits until everything the kernel had submitted when it was called was
// dealt with. What comes later is the successor's.
func (e *Enforcer) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	for ring := range e.readers {
		if !e.caughtUp(ctx, ebpf.Ring(ring)) {
			return
		}
	}
}

// caughtUp waits until what a ring had been given when it was called was dealt with,
// and says whether it was.
func (e *Enforcer) caughtUp(ctx context.Context, ring ebpf.Ring) bool {
	c, err := e.Kernel.Counters(ring)
	if err != nil {
		return false
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for e.stats.before[ring]+e.stats.done[ring].Load() < c.Submitted {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
