// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Options that golang.org/x/sys/unix does not name.
const (
	soBindToIfindex = 62
	ipUnicastIf     = 50
	ipv6UnicastIf   = 76
)

// byDevice sets what makes a socket's packets leave by a device.
func byDevice(fd int, how, device string) error {
	in, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	var big [4]byte
	binary.BigEndian.PutUint32(big[:], uint32(in.Index))
	switch how {
	case "SO_BINDTODEVICE":
		return unix.BindToDevice(fd, device)
	case "SO_BINDTOIFINDEX":
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, soBindToIfindex, in.Index)
	case "IP_UNICAST_IF":
		return unix.SetsockoptString(fd, unix.SOL_IP, ipUnicastIf, string(big[:]))
	case "IPV6_UNICAST_IF":
		return unix.SetsockoptString(fd, unix.SOL_IPV6, ipv6UnicastIf, string(big[:]))
	case "IPV6_PKTINFO":
		info := unix.Inet6Pktinfo{Ifindex: uint32(in.Index)}
		return unix.SetsockoptString(fd, unix.SOL_IPV6, unix.IPV6_PKTINFO, string(unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))))
	case "a source route": // by way of whoever is on the link
		return unix.SetsockoptString(fd, unix.SOL_IP, unix.IP_OPTIONS, "\x83\x07\x04"+string(netip.MustParseAddr(accomplice).AsSlice())+"\x00")
	}
	return fmt.Errorf("unknown way %q", how)
}

// messageByDevice is a control message that does the same for one datagram.
func messageByDevice(how, device string) ([]byte, error) {
	in, err := net.InterfaceByName(device)
	if err != nil {
		return nil, err
	}
	switch how {
	case "IP_PKTINFO in a message":
		return unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(in.Index)}), nil
	case "IPV6_PKTINFO in a message":
		return unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(in.Index)}), nil
	}
	return nil, nil
}

// doDatagramByDevice sends to a DNS server, by a device: With is how, the device, and
// for a socket that is connected before, from which address.
func doDatagramByDevice(r request, a *answer) error {
	fd, to, err := socketTo(r.To, false, unix.SOCK_DGRAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if len(r.With) > 2 {
		if err := bindTo(fd, r.With[2]); err != nil {
			return err
		}
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		to = nil
	}
	control, err := messageByDevice(r.With[0], r.With[1])
	if err != nil {
		return err
	}
	if control == nil {
		if err := byDevice(fd, r.With[0], r.With[1]); err != nil {
			return fmt.Errorf("the option: %w", err)
		}
	}
	_, err = unix.SendmsgN(fd, []byte(r.With[0]), control, to, 0)
	return err
}

// doStreamByDevice connects, and then has its packets leave by a device. Loopback's own
// address could not be a source on a link, so it is bound before.
func doStreamByDevice(r request, a *answer) error {
	fd, to, err := socketTo(r.To, false, unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := bindTo(fd, r.With[2]); err != nil {
		return err
	}
	if r.With[0] == "a source route" { // the kernel takes one only before
		if err := byDevice(fd, r.With[0], r.With[1]); err != nil {
			return fmt.Errorf("the option: %w", err)
		}
		_ = unix.SetNonblock(fd, true)
		return unix.Connect(fd, to)
	}
	if err := connect(fd, to); err != nil {
		return err
	}
	if err := byDevice(fd, r.With[0], r.With[1]); err != nil {
		return fmt.Errorf("the option: %w", err)
	}
	_, err = unix.Write(fd, []byte(r.With[0]))
	return err
}

func bindTo(fd int, address string) error {
	local, _, err := sockaddr(netip.AddrPortFrom(netip.MustParseAddr(address), 0).String(), false)
	if err != nil {
		return err
	}
	return unix.Bind(fd, local)
}

// accomplice is the address of somebody on the same link, who takes whatever comes.
const accomplice = "198.18.0.2"

// wire makes a device wire whose other end is in another network namespace, and
// returns a socket there that gets every packet.
func wire(t *testing.T) int {
	t.Helper()
	ip := func(line string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	ip("link add pdk-wire type veth peer name pdk-there")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "pdk-wire").Run() })
	// Whoever is on the link says that every address is his.
	ip("link set pdk-wire arp off up")
	ip("addr add 198.18.0.1/24 dev pdk-wire")
	ip("-6 addr add 2001:db8:18::1/64 dev pdk-wire nodad")
	ip("-6 route add default dev pdk-wire")
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(here)
	var fd int
	must(t, elsewhere(func() error {
		there := exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), here), "ip", "link", "set", "pdk-there", "netns", strconv.Itoa(unix.Gettid()))
		for _, cmd := range []*exec.Cmd{there, exec.Command("ip", "link", "set", "pdk-there", "up")} {
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%q: %w: %s", cmd.Args, err, out)
			}
		}
		all := uint16(unix.ETH_P_ALL)
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all<<8|all>>8))
		return err
	}))
	t.Cleanup(func() { unix.Close(fd) })
	// A device takes a moment until it sends.
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000}))
	b := make([]byte, 4096)
	for end := time.Now().Add(20 * time.Second); ; {
		overWire(t, "is anybody there?")
		if n, err := unix.Read(fd, b); err == nil && strings.Contains(string(b[:n]), "is anybody there?") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nothing comes over the wire")
		}
	}
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
	return fd
}

// overWire sends something as a process that nobody governs.
func overWire(t *testing.T, say string) {
	t.Helper()
	c, err := net.Dial("udp", accomplice+":9")
	must(t, err)
	defer c.Close()
	_, err = c.Write([]byte(say))
	must(t, err)
}

// took returns what came by the wire with one of these words in it, until last.
func took(t *testing.T, fd int, last string, words []string) []string {
	t.Helper()
	b := make([]byte, 4096)
	var out []string
	for {
		n, err := unix.Read(fd, b)
		must(t, err)
		if strings.Contains(string(b[:n]), last) {
			return out
		}
		for _, w := range words {
			if strings.HasSuffix(string(b[:n]), w) && !slices.Contains(out, w) {
				out = append(out, w)
			}
		}
	}
}

// What the kernel sent to the proxy or the resolver goes there and nowhere else,
// whatever device its socket or its message names.
func TestNothingThatIsSentHomeLeavesByADevice(t *testing.T) {
	// The last of loopback is what a rule lets through directly.
	h := newHome(t, Generation{Number: 6, Enforce: true, Net: append([]NetEntry{
		{Prefix: netip.MustParsePrefix("127.0.0.76/30"), Spans: []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Allow: true, Rule: 4}}},
	}, openNet...)})
	service := h.listen("tcp4", "127.0.0.1:0")
	must(t, h.SetOwnPorts(service))
	direct := h.listen("tcp4", "127.0.0.77:0")
	security := reader(t, h.Kernel, Security)
	a := h.actor()
	fd := wire(t)
	const four, six = "198.18.0.1", "2001:db8:18::1"
	type way struct {
		do, to, how string
		bound       []string
	}
	ways := []way{
		{"udp-device", "198.51.100.53:53", "IP_PKTINFO in a message", nil},
		{"udp-device", "198.51.100.54:53", "IP_PKTINFO in a message", []string{"0.0.0.0"}},
		{"udp-device", "198.51.100.55:53", "IP_UNICAST_IF", nil},
		{"udp-device", "198.51.100.56:53", "SO_BINDTODEVICE", []string{four}},
		{"udp-device", "198.51.100.57:53", "SO_BINDTOIFINDEX", []string{four}},
		{"udp-device", "198.51.100.58:53", "a source route", nil},
		{"udp-device", "[2001:db8:9::53]:53", "IPV6_PKTINFO in a message", nil},
		{"udp-device", "[2001:db8:9::54]:53", "IPV6_PKTINFO in a message", []string{"::"}},
		{"udp-device", "[2001:db8:9::55]:53", "IPV6_PKTINFO", nil},
		{"udp-device", "[2001:db8:9::56]:53", "IPV6_UNICAST_IF", nil},
		{"udp-device", "[2001:db8:9::57]:53", "SO_BINDTODEVICE", []string{six}},
		{"tcp-device", "198.51.100.7:443", "SO_BINDTODEVICE", []string{four}},
		{"tcp-device", "198.51.100.8:443", "SO_BINDTOIFINDEX", []string{four}},
		{"tcp-device", "198.51.100.9:443", "a source route", []string{four}},
		{"tcp-device", "[2001:db8:9::7]:443", "SO_BINDTODEVICE", []string{six}},
		{"tcp-device", fmt.Sprintf("127.0.0.1:%d", service), "SO_BINDTODEVICE", []string{four}},
		{"tcp-device", fmt.Sprintf("127.0.0.77:%d", direct), "SO_BINDTODEVICE", []string{four}},
		{"udp-device", "127.0.0.77:5353", "IP_PKTINFO in a message", nil},
		{"udp-device", "127.0.0.78:5353", "SO_BINDTODEVICE", []string{four}},
	}
	var words []string
	for _, w := range ways {
		words = append(words, w.how)
		t.Run(fmt.Sprint(w.do, " ", w.how, " ", w.bound), func(t *testing.T) {
			got := a.do(w.do, w.to, append([]string{w.how, "pdk-wire"}, w.bound...)...)
			if w.do == "udp-device" && got.Error != "EPERM" {
				t.Errorf("%+v, want EPERM", got)
			}
			r := next[*Connect](t, h.Kernel, security)
			if r.Rule != RuleDevice || r.Allowed || !r.Enforced || r.PID != a.pid || r.Destination != netip.MustParseAddrPort(w.to) {
				t.Errorf("%+v; record %+v", got, r)
			}
		})
	}
	overWire(t, "the first end")
	if got := took(t, fd, "the first end", words); len(got) > 0 {
		t.Errorf("by the wire came %q", got)
	}
	// Without the program they would: the attacks are real.
	h.mu.Lock()
	h.detach(kernelProgOnEgress)
	h.mu.Unlock()
	end := time.Now().Add(20 * time.Second)
	for _, w := range []way{ways[0], ways[11]} {
		got := a.do(w.do, w.to, append([]string{w.how, "pdk-wire"}, w.bound...)...)
		for got.Error == "EPERM" && time.Now().Before(end) { // with Linux 5.10 its end takes a moment
			got = a.do(w.do, w.to, append([]string{w.how, "pdk-wire"}, w.bound...)...)
		}
		if got.Error != "" {
			t.Errorf("without the program: %+v", got)
		}
	}
	overWire(t, "the second end")
	if got := took(t, fd, "the second end", words); len(got) != 2 {
		t.Errorf("without the program came %q", got)
	}
}

// A socket that asks a DNS server may send to others as well, by whatever device.
func TestOtherDatagramsOfTheSameSocketLeave(t *testing.T) {
	h := newHome(t, Generation{Number: 6, Enforce: true, Net: append([]NetEntry{
		{Prefix: netip.MustParsePrefix("198.18.0.0/24"), Spans: []NetSpan{{First: 0, Last: 65535, Protocols: TCP | UDP, Allow: true, Rule: 3}}},
	}, openNet...)})
	a := h.actor()
	fd := wire(t)
	if got := a.do("udp-both", accomplice+":5353", "198.51.100.53:53"); got.Error != "" {
		t.Fatalf("%+v", got)
	}
	if got := took(t, fd, "a third one", []string{"question", "the other datagram"}); !slices.Equal(got, []string{"the other datagram"}) {
		t.Errorf("by the wire came %q", got)
	}
}

// doBothDatagrams asks a DNS server and then, with the same socket, sends to r.To.
func doBothDatagrams(r request, a *answer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for i, at := range []string{r.With[0], r.To, ""} {
		if at == "" { // and once more, connected, with a control message
			to, _, _ := sockaddr(r.To, false)
			if err := unix.Connect(fd, to); err != nil {
				return err
			}
			control := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{198, 18, 0, 1}})
			_, err := unix.SendmsgN(fd, []byte("a third one"), control, nil, 0)
			return err
		}
		to, _, err := sockaddr(at, false)
		if err != nil {
			return err
		}
		if err := unix.Sendto(fd, []byte([]string{"question", "the other datagram"}[i]), 0, to); err != nil {
			return err
		}
	}
	return nil
}

// What looks where packets leave is on the way of every packet of the machine: what does it
// cost, of somebody nobody governs, and of a session that talks to itself? The same is measured of a program that does
// nothing: that much is the measuring.
func BenchmarkPackets(b *testing.B) {
	h := newNear(b, Generation{})
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	must(b, err)
	defer stats.Close()
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.CGroupSKB, AttachType: ebpf.AttachCGroupInetEgress, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	must(b, err)
	defer nothing.Close()
	l, err := link.AttachCgroup(link.CgroupOptions{Path: h.options.Cgroup, Attach: ebpf.AttachCGroupInetEgress, Program: nothing})
	must(b, err)
	defer l.Close()
	ours := h.programs[kernelProgOnEgress]
	server, session, free := h.actor(), h.actor(), newActor(b)
	to := server.listens("127.0.0.1:0")
	for _, c := range []struct {
		name, do string
		who      *actor
	}{
		{"nobody's TCP", "tcp-packets", free},
		{"nobody's datagrams", "udp-packets", free},
		{"a session's own TCP", "tcp-packets", session},
		{"a session's own datagrams", "udp-packets", session},
	} {
		b.Run(c.name, func(b *testing.B) {
			before, beside := ran(b, ours), ran(b, nothing)
			if got := c.who.do(c.do, to, strconv.Itoa(b.N)); got.Error != "" {
				b.Fatalf("%+v", got)
			}
			after, besides := ran(b, ours), ran(b, nothing)
			each := func(from, to *ebpf.ProgramStats) float64 {
				return float64(to.Runtime-from.Runtime) / float64(max(to.RunCount-from.RunCount, 1))
			}
			b.ReportMetric(each(before, after), "ns/packet")
			b.ReportMetric(each(beside, besides), "ns/nothing")
			b.ReportMetric(float64(after.RunCount-before.RunCount)/float64(b.N), "packets/op")
		})
	}
}

func ran(t testing.TB, p *ebpf.Program) *ebpf.ProgramStats {
	t.Helper()
	s, err := p.Stats()
	must(t, err)
	return s
}
