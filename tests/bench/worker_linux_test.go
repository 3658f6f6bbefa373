// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// order is what a worker is told to do, one JSON line each.
type order struct {
	Op      string // exec, connect, request: measured; chain, flood: as fast as can be
	Program string
	N       int
	Unique  bool // exec: another argument each time
	Depth   int  // chain: execs per process
}

// answer is what it says then.
type answer struct {
	Each  []int64 // ns, of measured operations
	Error string
}

// work is the process that measures itself, and little else: no garbage
// collection, one thread.
func work(in io.Reader, out io.Writer) int {
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	lines, reply := bufio.NewScanner(in), json.NewEncoder(out)
	for n := 0; lines.Scan(); {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			fmt.Fprintln(os.Stderr, "bench worker:", err)
			return 1
		}
		var a answer
		var err error
		switch o.Op {
		case "exec":
			a.Each, err = execs(o, &n)
		case "connect":
			a.Each, err = connects(o.N)
		case "request":
			a.Each, err = requests(o.N)
		case "chain":
			err = chains(o)
		case "flood":
			err = flood(o.N)
		case "ready":
		}
		if err != nil {
			a.Error = err.Error()
		}
		if err := reply.Encode(a); err != nil {
			return 1
		}
		runtime.GC() // here, where nothing is measured
	}
	return 0
}

// spawn starts a program the way posix_spawn does, and waits for its end.
func spawn(path string, argv []string) error {
	pid, err := syscall.ForkExec(path, argv, &syscall.ProcAttr{})
	if err != nil {
		return err
	}
	var ws syscall.WaitStatus
	for {
		_, err = syscall.Wait4(pid, &ws, 0, nil)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return err
	}
	if !ws.Exited() || ws.ExitStatus() != 0 {
		return fmt.Errorf("%s %.20q ended with status %#x", path, argv[1:], int(ws))
	}
	return nil
}

func execs(o order, serial *int) ([]int64, error) {
	each := make([]int64, 0, o.N)
	for range o.N {
		argv := []string{o.Program, "argument"}
		if o.Unique {
			*serial++
			argv[1] = fmt.Sprintf("argument-%d", *serial)
		}
		began := time.Now()
		if err := spawn(o.Program, argv); err != nil {
			return nil, err
		}
		each = append(each, int64(time.Since(began)))
	}
	return each, nil
}

// connects measures socket, connect and close. Closing resets the connection, or
// all ports would soon be in TIME_WAIT.
func connects(n int) ([]int64, error) {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, err
	}
	if err := unix.Listen(listener, 16); err != nil {
		return nil, err
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return nil, err
	}
	each := make([]int64, 0, n)
	for range n {
		began := time.Now()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return nil, err
		}
		if err := unix.Connect(fd, to); err != nil {
			return nil, fmt.Errorf("connecting to loopback: %w", err)
		}
		if err := unix.Close(fd); err != nil {
			return nil, err
		}
		each = append(each, int64(time.Since(began)))
		peer, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			return nil, err
		}
		unix.Close(peer)
	}
	return each, nil
}

func chains(o order) error {
	argv := []string{o.Program, strings.Repeat("x", o.Depth)}
	for range o.N {
		if err := spawn(o.Program, argv); err != nil {
			return err
		}
	}
	return nil
}

// flood connects UDP sockets to ever other ports of loopback: no packet is sent, but
// each is a decision to record.
func flood(n int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	for i := range n {
		to.Port, to.Addr[2] = 1+i%65535, byte(i/65535)
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
	}
	return nil
}

// worker is such a process, seen from the test.
type worker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startWorker starts one; prefix is what stands before its command line, as
// `paddock run --`.
func startWorker(t *testing.T, prefix ...string) *worker {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	line := append(prefix, self, roleWorker)
	w := &worker{t: t, cmd: exec.Command(line[0], line[1:]...)}
	w.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	w.cmd.Stderr = os.Stderr
	w.in, err = w.cmd.StdinPipe()
	must(t, err)
	out, err := w.cmd.StdoutPipe()
	must(t, err)
	w.out = json.NewDecoder(out)
	must(t, w.cmd.Start())
	t.Cleanup(w.stop)
	w.do(order{Op: "ready"})
	return w
}

func (w *worker) tell(o order) {
	w.t.Helper()
	must(w.t, json.NewEncoder(w.in).Encode(o))
}

func (w *worker) hear() []int64 {
	w.t.Helper()
	var a answer
	must(w.t, w.out.Decode(&a))
	if a.Error != "" {
		w.t.Fatal("the measuring process: " + a.Error)
	}
	return a.Each
}

func (w *worker) do(o order) []int64 {
	w.t.Helper()
	w.tell(o)
	return w.hear()
}

func (w *worker) stop() {
	if w.in == nil {
		return
	}
	w.in.Close()
	w.in = nil
	_ = w.cmd.Wait()
}
