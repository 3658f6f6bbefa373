// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/seed-649e9bbc/paddock/daemon/telemetry/receiver"
	"github.com/seed-649e9bbc/paddock/ebpf"
)

// startReceiver begins to take in what agents report of themselves. Without it
// everything else goes on: that the port is somebody else's must not be a way to
// stop the gates. Status says that it is a problem.
func (d *Daemon) startReceiver(ctx context.Context) {
	if d.config.OTLPAddr == "" {
		return
	}
	address, err := d.listenForAgents(ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.intake.Address = address
	if err != nil {
		d.intake.Problem = err.Error()
		d.config.Log.Error("agents' telemetry is not taken in", "error", err)
	}
}

func (d *Daemon) listenForAgents(ctx context.Context) (string, error) {
	l, err := net.Listen("tcp", d.config.OTLPAddr)
	if err != nil {
		return "", fmt.Errorf("listening for agents' telemetry: %w (another address: --otlp-address)", err)
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		l.Close()
		return "", fmt.Errorf("listening for agents' telemetry at %s: it must be an address of loopback", d.config.OTLPAddr)
	}
	if err := d.ownPorts(uint16(addr.Port)); err != nil {
		l.Close()
		return "", fmt.Errorf("listening for agents' telemetry: %w", err)
	}
	d.receiver = receiver.New(receiver.Config{Events: d.store, Identify: d.sender, Log: d.config.Log})
	d.receiver.Start(ctx, l)
	return addr.String(), nil
}

// forgetEnded has the receiver forget the sessions that are over.
func (d *Daemon) forgetEnded() {
	if d.receiver == nil {
		return
	}
	for _, s := range d.sessions.List() {
		if !s.Live() {
			d.receiver.Forget(s.ID)
		}
	}
}

// ownPorts lets governed processes connect to these ports of ours too, and the
// kernel side remember who does.
func (d *Daemon) ownPorts(ports ...uint16) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.services = append(d.services, ports...)
	return d.kernel.SetOwnPorts(d.services...)
}

// sender asks the kernel side who made a connection.
func (d *Daemon) sender(conn net.Conn) (receiver.Sender, error) {
	client, err := addrPort(conn.RemoteAddr())
	if err != nil {
		return receiver.Sender{}, err
	}
	server, err := addrPort(conn.LocalAddr())
	if err != nil {
		return receiver.Sender{}, err
	}
	c, err := d.enforcer.Client(ebpf.TCP, client, server)
	if err != nil {
		return receiver.Sender{}, err
	}
	if c.Kind != ebpf.ToService {
		return receiver.Sender{}, fmt.Errorf("a connection from %s was sent here that was to go elsewhere", client)
	}
	return receiver.Sender{
		PID: c.PID, Start: c.Start, UID: c.UID, Session: c.SessionID, Agent: c.Agent, ToolCall: c.Why.ToolCallID,
	}, nil
}

func addrPort(a net.Addr) (netip.AddrPort, error) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("an address of kind %s", a.Network())
	}
	return tcp.AddrPort(), nil
}
