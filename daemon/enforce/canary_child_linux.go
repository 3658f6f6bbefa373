// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// canaryFD is where the child finds the file that may never run.
const canaryFD = 3

// canaryMain is the canary: it tries what must fail and says what happened.
func canaryMain(args []string) error {
	if len(args) == 2 && (args[1] == canaryForbidden || args[1] == canaryAllowed || args[1] == canaryWoken) {
		return nil // it runs
	}
	managed := len(args) == 2 && args[1] == canaryManaged
	if len(args) != 1 && !managed {
		return fmt.Errorf("canary: arguments %q", args)
	}
	daemon, err := strconv.Atoi(args[0])
	if err != nil {
		return fmt.Errorf("canary: the daemon's pid: %w", err)
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return fmt.Errorf("canary: waiting to be governed: %w", err)
	}
	v4, v6 := canaryAddr.Addr().As4(), netip.AddrFrom16(canaryAddr.Addr().As16()).As16()
	inet4 := &unix.SockaddrInet4{Port: int(canaryAddr.Port()), Addr: v4}
	inet6 := &unix.SockaddrInet6{Port: int(canaryAddr.Port()), Addr: v6}
	f := findings{
		Refused: execFile(),
		Killed:  execSelf(args[0], canaryForbidden),
		Ran:     execSelf(args[0], canaryAllowed),
		Woken:   execSelf(args[0], canaryWoken),
		TCP:     connect(unix.AF_INET, unix.SOCK_STREAM, inet4),
		Mapped:  connect(unix.AF_INET6, unix.SOCK_STREAM, inet6),
		UDP:     send(unix.AF_INET, inet4),
		Raw:     socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		Packet:  socket(unix.AF_PACKET, unix.SOCK_RAW, 0),
		Option:  setRoute(),
		Message: sendRoute(),
		// SIGURG is ignored by default and by the Go runtime: harmless if it arrives.
		Signal: said(unix.Kill(daemon, unix.SIGURG)),
	}
	if managed {
		f.Egress, f.Peer = goFar()
		f.DNS, f.DNSTCP = ask(unix.SOCK_DGRAM), ask(unix.SOCK_STREAM)
	}
	if dir := os.Getenv(canaryPlaceEnv); dir != "" {
		if box := os.Getenv(canaryBoxEnv); box != "" {
			f.Outside = trySecrets(dir)
			if err := enter(box); err != nil {
				return fmt.Errorf("canary: %w", err)
			}
		}
		f.Bounds = tryBounds(dir)
		f.Bounds["signal"] = said(unix.Kill(daemon, unix.SIGURG))
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// said puts an outcome into a word.
func said(err error) string {
	switch {
	case err == nil:
		return saidDone
	case errors.Is(err, unix.EPERM):
		return saidEPERM
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// execFile runs the forbidden file by its descriptor, in a child. The child must
// not be a Go runtime: the fork and the exec are one system call each.
func execFile() string {
	path := "/proc/self/fd/" + strconv.Itoa(canaryFD)
	unix.CloseOnExec(canaryFD)
	p, err := os.StartProcess(path, []string{"canary"}, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stderr, os.Stderr, os.NewFile(canaryFD, "canary")},
	})
	if err != nil {
		return said(err)
	}
	state, err := p.Wait()
	if err != nil {
		return said(err)
	}
	return state.String()
}

func execSelf(args ...string) string {
	self, err := os.Executable()
	if err != nil {
		return said(err)
	}
	line := append(helperArgs(), roleCanary)
	cmd := exec.Command(self, append(line, args...)...)
	cmd.Stdin = nil
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() && ws.Signal() == unix.SIGKILL {
			return saidKilled
		}
		return exit.String()
	}
	if err != nil {
		return said(err)
	}
	return saidRan
}

// helperArgs are the arguments this very process was started with, up to its role.
func helperArgs() []string {
	for i, a := range os.Args {
		if a == roleCanary {
			return append([]string{}, os.Args[1:i]...)
		}
	}
	return nil
}

func socket(family, kind, protocol int) string {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return said(err)
}

func connect(family, kind int, to unix.Sockaddr) string {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return "socket: " + said(err)
	}
	defer unix.Close(fd)
	return said(unix.Connect(fd, to))
}

// sourceRoute is an IP option: a loose source route by way of the canary's address.
func sourceRoute() []byte {
	four := canaryAddr.Addr().As4()
	return append([]byte{0x83, 7, 4}, append(four[:], 0)...)
}

func setRoute() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket: " + said(err)
	}
	defer unix.Close(fd)
	return said(unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, string(sourceRoute())))
}

// sendRoute gives a message a source route. To a unix socket, which ignores it:
// a gate that does not work lets nothing out.
func sendRoute() string {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket: " + said(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return said(unix.Sendmsg(pair[0], []byte("canary"), control(unix.IPPROTO_IP, unix.IP_RETOPTS, sourceRoute()), nil, 0))
}

// control makes a control message.
func control(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

func send(family int, to unix.Sockaddr) string {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket: " + said(err)
	}
	defer unix.Close(fd)
	return said(unix.Sendto(fd, []byte("canary"), 0, to))
}

// waitForEnd bounds how long the canary waits for a listener.
const waitForEnd = 3 // seconds

func dial(kind int, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	limit := unix.Timeval{Sec: waitForEnd}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
	for { // the runtime's own signals interrupt it
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EALREADY) {
			break
		}
	}
	if err != nil && !errors.Is(err, unix.EISCONN) {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// goFar connects to where nobody listens, and waits until whoever took it hangs up.
func goFar() (outcome, peer string) {
	fd, err := dial(unix.SOCK_STREAM, canaryFar)
	if err != nil {
		return said(err), ""
	}
	defer unix.Close(fd)
	if sa, err := unix.Getpeername(fd); err == nil {
		if four, ok := sa.(*unix.SockaddrInet4); ok {
			peer = netip.AddrPortFrom(netip.AddrFrom4(four.Addr), uint16(four.Port)).String()
		}
	}
	if _, err := hear(fd); errors.Is(err, unix.EAGAIN) {
		return said(err), peer
	}
	return saidDone, peer
}

// hear waits for bytes, or for the end: that it was closed, or reset.
func hear(fd int) ([]byte, error) {
	b := make([]byte, 512)
	for {
		n, err := unix.Read(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return b[:max(n, 0)], err
		}
	}
}

// ask asks a DNS server that does not exist for a name that does not exist.
func ask(kind int) string {
	const id = 0x7a
	question := []byte{0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 6, 'c', 'a', 'n', 'a', 'r', 'y', 7, 'i', 'n', 'v', 'a', 'l', 'i', 'd', 0, 0, 1, 0, 1}
	at := 0
	if kind == unix.SOCK_STREAM { // a length comes first
		question = append([]byte{0, byte(len(question))}, question...)
		at = 2
	}
	fd, err := dial(kind, canaryDNS)
	if err != nil {
		return said(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, question); err != nil {
		return said(err)
	}
	answer, err := hear(fd)
	if err != nil {
		return said(err)
	}
	if len(answer) < at+4 || answer[at+1] != id || answer[at+2]&0x80 == 0 {
		return fmt.Sprintf("no answer, but %x", answer)
	}
	return saidDone
}
