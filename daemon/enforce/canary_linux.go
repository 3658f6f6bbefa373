// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-649e9bbc/paddock/ebpf"
)

// A program that attaches proves nothing: an lsm program attaches without error
// where it never runs. So a throwaway governed child tries what must fail.

// canarySession is the key of the canary's session; the kernel's own keys are
// far above.
const canarySession = 1

// canaryAddr is where the canary connects: reserved in every policy generation,
// and on loopback, so that a gate that does not work lets nothing out.
var canaryAddr = netip.MustParseAddrPort("127.94.77.9:9")

// Where the canary goes to be sent to the managed network's listeners. On loopback
// too; to it, no policy says anything.
var (
	canaryFar = netip.MustParseAddrPort("127.94.77.10:9")
	canaryDNS = netip.MustParseAddrPort("127.94.77.10:53")
)

// Arguments of the canary's own children.
const (
	canaryForbidden = "canary-forbidden"
	canaryAllowed   = "canary-allowed"
	canaryWoken     = "canary-woken"   // while it is held
	canaryManaged   = "canary-managed" // of its own: there is a managed network
)

// Gate is one way an agent's action is judged, and whether that is proven now.
type Gate struct {
	Gate    string // exec.refuse, exec.hold, exec.woken, connect, socket.raw, socket.packet, source.route, signal, egress, resolver; boundary, boundary.read, unix, ptrace, machine
	Tier    string // lsm, fmod_ret, hold, fexit, sys_enter, cgroup, redirect, landlock, fanotify, none
	Proven  bool
	Checked time.Time
	Detail  string // what the canary saw, where it failed
}

// canary holds the file that may never run.
type canary struct {
	file  *os.File
	inode ebpf.InodeID
	gates []Gate
	tier  atomic.Pointer[ebpf.Mechanism]
	leaky atomic.Bool // what stands on that may be left out

	mu      sync.Mutex
	arrived []ebpf.Flow // what of the canary's came to listeners of ours
}

// arrive notes that a connection of the canary's came to a listener.
func (c *canary) arrive(f ebpf.Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived = append(c.arrived, f)
}

// arrivals returns, and forgets, what came of a canary with this pid, as words.
func (c *canary) arrivals(pid int) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[string]bool{}
	for _, f := range c.arrived {
		if f.PID == pid {
			out[arrival(f.Kind, f.Protocol, f.Destination)] = true
		}
	}
	c.arrived = nil
	return out
}

func arrival(kind ebpf.FlowKind, protocol uint8, to netip.AddrPort) string {
	return fmt.Sprintf("%d %d %s", kind, protocol, to)
}

// mechanism is what the last canary proved.
func (c *canary) mechanism() ebpf.Mechanism { return *c.tier.Load() }

func (c *canary) setMechanism(m ebpf.Mechanism) { c.tier.Store(&m) }

// newCanary makes a program without a name that every policy forbids: memory, so
// that no mount option can get in the way of the proof.
func newCanary() (*canary, error) {
	fd, err := unix.MemfdCreate("paddock-canary", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making the canary: %w", err)
	}
	f := os.NewFile(uintptr(fd), "paddock-canary")
	if _, err := f.WriteString("#!/bin/false\n"); err != nil {
		return nil, fmt.Errorf("making the canary: %w", err)
	}
	c := &canary{file: f}
	c.setMechanism(ebpf.None)
	return c, nil
}

func (c *canary) close() { c.file.Close() }

func (c *canary) identify(k *ebpf.Kernel) error {
	ids, err := k.Identify()
	if err != nil {
		return fmt.Errorf("identifying the canary: %w", err)
	}
	id, ok := ids[int(c.file.Fd())]
	if !ok {
		return fmt.Errorf("identifying the canary: the kernel does not know the file")
	}
	c.inode = id.Inode()
	return nil
}

// entry denies the canary's address in every policy.
func (c *canary) entry() ebpf.NetEntry {
	return ebpf.NetEntry{
		Prefix: netip.PrefixFrom(canaryAddr.Addr(), 32),
		Spans:  []ebpf.NetSpan{{First: 0, Last: 65535, Protocols: ebpf.TCP | ebpf.UDP, Rule: ebpf.RuleCanary}},
	}
}

// answer judges the canary's own execs: three of known meaning.
func (c *canary) answer(h *ebpf.Held, x *ebpf.Exec) {
	args := x.Args()
	switch {
	case len(args) > 0 && args[len(args)-1] == canaryAllowed:
		_ = h.Release()
	case len(args) > 0 && args[len(args)-1] == canaryWoken:
		_ = h.Wake() // as an agent would
	default:
		_ = h.Kill()
	}
}

// findings are what the canary child reports, in its own words.
type findings struct {
	Refused string `json:"refused"` // exec of the forbidden file
	Killed  string `json:"killed"`  // exec of a forbidden command
	Ran     string `json:"ran"`     // exec of an allowed one
	Woken   string `json:"woken"`   // exec of one that somebody wakes while it is held
	TCP     string `json:"tcp"`
	Mapped  string `json:"mapped"` // the same address over IPv6
	UDP     string `json:"udp"`
	Raw     string `json:"raw"`
	Packet  string `json:"packet"`
	Option  string `json:"option"`  // a source route for a socket
	Message string `json:"message"` // and for one message
	Signal  string `json:"signal"`  // to the daemon
	Egress  string `json:"egress"`  // TCP that must come to the proxy
	Peer    string `json:"peer"`    // where it seems to be connected to
	DNS     string `json:"dns"`     // a question that must come to the resolver
	DNSTCP  string `json:"dns_tcp"` // the same over TCP

	// Where requirements have a boundary: each attempt, by name.
	Bounds map[string]string `json:"bounds,omitempty"`
	// The same before it entered a sandbox, if it was told to.
	Outside map[string]string `json:"outside,omitempty"`
}

// What the canary says when a gate works.
const (
	saidEPERM  = "EPERM"
	saidKilled = "killed"
	saidRan    = "ran"
	saidDone   = "done"
	saidCame   = "arrived" // done, and it came to us
)

// Prove finds the best mechanism that really works, sends the canary through
// every gate and records the result. It returns an error if a gate without
// which nothing is enforced (the hold, the watch on it, the connect gate) is not proven.
func (e *Enforcer) Prove(ctx context.Context) error {
	e.apply.Lock()
	defer e.apply.Unlock()
	c := e.canary
	var seen findings
	var err error
	var attachErrs []string
	mechanisms := []ebpf.Mechanism{ebpf.LSM, ebpf.ModReturn}
	if m := c.mechanism(); m != ebpf.None { // proven before: prove it again before trying others
		mechanisms = append([]ebpf.Mechanism{m}, mechanisms...)
	}
	found := ebpf.None
	e.proveWoken(true)
	defer e.proveWoken(false)
	for _, m := range mechanisms {
		if aerr := e.Kernel.AttachRefuse(m); aerr != nil {
			attachErrs = append(attachErrs, firstLine(aerr))
			continue
		}
		if seen, err = e.release(ctx); err != nil {
			return fmt.Errorf("sending the canary: %w", err)
		}
		if seen.Refused == saidEPERM {
			found = m
			break
		}
		attachErrs = append(attachErrs, fmt.Sprintf("%s: attached, but an exec it must refuse ended with %q", m, seen.Refused))
		e.Kernel.DetachRefuse(m)
	}
	if found == ebpf.None {
		if seen, err = e.release(ctx); err != nil {
			return fmt.Errorf("sending the canary: %w", err)
		}
	}
	if e.distrustWoken(seen) {
		if seen, err = e.release(ctx); err != nil {
			return fmt.Errorf("sending the canary: %w", err)
		}
	}
	c.setMechanism(found)
	c.gates = judgeFindings(seen, found, strings.Join(attachErrs, "; "), time.Now())
	c.gates = append(c.gates, e.wokenGate(seen, time.Now()))
	if g := e.now.Load(); g != nil && g.managed.ByName {
		c.gates = append(c.gates, judgeManaged(seen, time.Now())...)
	}
	c.gates = append(c.gates, e.proveBoundary(ctx, found, strings.Join(attachErrs, "; "))...)
	why := ebpf.MayBeLeftOut(found)
	c.leaky.Store(why != "")
	doubt(c.gates, found, why)
	for _, g := range c.gates {
		e.stats.events.Add(1)
		e.record(canaryEvent(g))
	}
	for _, g := range c.gates {
		if !g.Proven && (g.Gate == "exec.hold" || g.Gate == gateWoken || g.Gate == "connect") {
			return fmt.Errorf("the %s gate does not work on this kernel: %s", g.Gate, g.Detail)
		}
	}
	return nil
}

// ProveAgain sends the canary once more if a gate of the managed network was not
// proven.
func (e *Enforcer) ProveAgain(ctx context.Context) error {
	for _, g := range e.Gates() {
		if g.Tier == tierRedirect && !g.Proven {
			return e.Prove(ctx)
		}
	}
	return nil
}

// Gates returns what the last canary proved.
func (e *Enforcer) Gates() []Gate {
	e.apply.Lock()
	defer e.apply.Unlock()
	gates := append([]Gate(nil), e.canary.gates...)
	if hang := e.lookups.hanging(); len(hang) > 0 {
		for i := range gates {
			if gates[i].Gate == "boundary" {
				gates[i].Detail = strings.TrimPrefix(gates[i].Detail+"; does not answer, and is closed as far as it is known: "+strings.Join(hang, ", "), "; ")
			}
		}
	}
	return gates
}

// gate compares what was seen with what must be: in threes, what it is of, what was
// seen, and what was expected.
func gate(name, tier string, now time.Time, checks ...string) Gate {
	g := Gate{Gate: name, Tier: tier, Proven: true, Checked: now}
	for i := 0; i+2 < len(checks); i += 3 {
		if what, got, want := checks[i], checks[i+1], checks[i+2]; got != want {
			g.Proven = false
			g.Detail = strings.TrimPrefix(fmt.Sprintf("%s; %s: %q, expected %q", g.Detail, what, got, want), "; ")
		}
	}
	return g
}

func judgeFindings(f findings, m ebpf.Mechanism, why string, now time.Time) []Gate {
	byHook := func(name string, checks ...string) Gate {
		g := gate(name, string(m), now, checks...)
		if !g.Proven {
			g.Tier = string(ebpf.None)
		}
		if g.Detail == "" || m == ebpf.None { // why a better mechanism is not the one
			g.Detail = why
		}
		return g
	}
	gates := []Gate{
		byHook("exec.refuse", "exec", f.Refused, saidEPERM),
		gate("exec.hold", "hold", now, "forbidden", f.Killed, saidKilled, "allowed", f.Ran, saidRan),
		gate("connect", "cgroup", now, "tcp", f.TCP, saidEPERM, "mapped", f.Mapped, saidEPERM, "udp", f.UDP, saidEPERM),
		gate("socket.raw", "cgroup", now, "raw", f.Raw, saidEPERM),
		byHook("socket.packet", "packet", f.Packet, saidEPERM),
		byHook("source.route", "option", f.Option, saidEPERM, "message", f.Message, saidEPERM),
		byHook("signal", "signal", f.Signal, saidEPERM),
	}
	return gates
}

// doubt says of every gate that stands on a mechanism that a canary's proof is not all that counts.
func doubt(gates []Gate, m ebpf.Mechanism, why string) {
	for i := range gates {
		if g := &gates[i]; why != "" && g.Proven && g.Tier == string(m) {
			g.Detail = strings.TrimPrefix(g.Detail+"; may be left out now and then: "+why+"; start it with preempt=voluntary, or with bpf in lsm= from Linux 6.2 on", "; ")
		}
	}
}

// tierRedirect is how the gates of the managed network work.
const tierRedirect = "redirect"

// judgeManaged are the gates of the managed network.
func judgeManaged(f findings, now time.Time) []Gate {
	egress := gate("egress", tierRedirect, now, "tcp", f.Egress, saidCame, "peer", f.Peer, canaryFar.String())
	if egress.Proven {
		egress.Detail = "from other network namespaces: refused"
	}
	return []Gate{egress, gate("resolver", tierRedirect, now, "udp", f.DNS, saidCame, "tcp", f.DNSTCP, saidCame)}
}

// canaryLimit is how long the canary may take. It takes a third of a second; a machine that is overloaded is to have
// its daemon as well.
const canaryLimit = 30 * time.Second

// release sends one canary and returns its findings.
func (e *Enforcer) release(ctx context.Context) (findings, error) {
	return e.releaseTo(ctx, nil)
}

// releaseTo sends it to a place of its own as well, if there is one.
func (e *Enforcer) releaseTo(ctx context.Context, place *canaryPlace) (findings, error) {
	var f findings
	ctx, cancel := context.WithTimeout(ctx, canaryLimit)
	defer cancel()
	args := []string{itoa(os.Getpid())}
	managed := e.now.Load().managed
	if managed.ByName {
		args = append(args, canaryManaged)
	}
	home, err := e.newCanaryHome()
	if err != nil {
		return f, err
	}
	defer home.close() // when the canary has ended
	cmd := e.helper(roleCanary, args...)
	cmd.SysProcAttr = home.attr()
	cmd.ExtraFiles = []*os.File{e.canary.file}
	if place != nil {
		cmd.Env = append(os.Environ(), canaryPlaceEnv+"="+place.dir)
		if place.box != "" {
			cmd.Env = append(cmd.Env, canaryBoxEnv+"="+place.box)
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return f, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		if home.dir != nil {
			err = home.explain(err)
		}
		return f, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	waited := false
	wait := func() string { // how it ended, and what it complained of
		waited = true
		err := cmd.Wait()
		return strings.TrimSpace(fmt.Sprintf("%v %s", err, said.String()))
	}
	defer func() {
		if !waited {
			wait()
		}
	}()
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil { // past its own exec
		return f, fmt.Errorf("it did not start: %w", err)
	}
	if err := e.Kernel.NewSession(canarySession); err != nil {
		return f, err
	}
	if place != nil {
		if err := e.Kernel.SetBoundary(canarySession, ebpf.BoundaryWorkspace, 0, &place.bounds); err != nil {
			return f, err
		}
		defer e.unbindCanary()
	}
	if err := e.Kernel.Mark(cmd.Process.Pid, ebpf.Proc{Session: canarySession, Flags: ebpf.CanaryChild}); err != nil {
		return f, err
	}
	if _, err := in.Write([]byte("go\n")); err != nil {
		return f, err
	}
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return f, fmt.Errorf("it did not report: %w (it ended: %s)", err, wait())
	}
	if err := json.Unmarshal(line, &f); err != nil {
		return f, fmt.Errorf("reading its report %q: %w", line, err)
	}
	if managed.ByName {
		// What the canary believes is not enough: each must have come to us, in its name.
		came := e.canary.arrivals(cmd.Process.Pid)
		for _, at := range []struct {
			said *string
			key  string
		}{
			{&f.Egress, arrival(ebpf.ToProxy, ebpf.TCP, canaryFar)},
			{&f.DNS, arrival(ebpf.ToDNS, ebpf.UDP, canaryDNS)},
			{&f.DNSTCP, arrival(ebpf.ToDNS, ebpf.TCP, canaryDNS)},
		} {
			if *at.said == saidDone && came[at.key] {
				*at.said = saidCame
			}
		}
	}
	return f, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	line, _, _ = strings.Cut(line, " (MEMLOCK") // the library's guess, wrong here: the limit was raised
	if len(line) > 200 {
		line = line[:200] + "..."
	}
	return line
}
