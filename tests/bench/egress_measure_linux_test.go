// SPDX-License-Identifier: Apache-2.0

//go:build amd64

package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// figures are what was measured on one path, in one round or several.
type figures struct {
	Rate      []float64 // bytes a second, of one transfer in each round
	Latency   []int64   // ns, from connect until the first byte of the answer; of all rounds
	OneByOne  []float64 // connections a second, one after the other
	Many      []float64 // and 8 at a time
	Processor float64   // seconds that the process on the way spent on the transfers

	idle int64
}

func (f *figures) add(g figures) {
	f.Rate, f.Latency = append(f.Rate, g.Rate...), append(f.Latency, g.Latency...)
	f.OneByOne, f.Many = append(f.OneByOne, g.OneByOne...), append(f.Many, g.Many...)
	f.Processor += g.Processor
}

// patient is how long an answer may take.
const patient = 20 * time.Second

// measure is one round; pid is the process on the way, 0 for none that is known.
func (p path) measure(l load, pid int) (figures, error) {
	var f figures
	before := spent(pid)
	rate, err := p.throughput(l.transfer)
	if err != nil {
		return f, err
	}
	f.Rate, f.Processor = []float64{rate}, spent(pid)-before
	began := time.Now()
	for range l.connects {
		at := time.Now()
		if err := p.exchange(); err != nil {
			return f, err
		}
		f.Latency = append(f.Latency, int64(time.Since(at)))
	}
	f.OneByOne = []float64{float64(l.connects) / time.Since(began).Seconds()}
	many, err := p.many(l.connects)
	f.Many = []float64{many}
	return f, err
}

func (p path) throughput(size int64) (perSecond float64, err error) {
	c, err := p.open()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	began := time.Now()
	fmt.Fprintf(c, "\x00GET %d\n", size)
	n, err := io.Copy(io.Discard, onlyReader{c})
	if err != nil || n != size {
		return 0, fmt.Errorf("%d of %d bytes, %w", n, size, err)
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

type onlyReader struct{ io.Reader }

// exchange opens a connection on which a byte goes there and one comes back.
func (p path) exchange() error {
	c, err := p.open()
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0) // else ports run out
	_ = c.SetDeadline(time.Now().Add(patient))
	if _, err := c.Write([]byte("\x00\n")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func (p path) many(n int) (perSecond float64, err error) {
	const together = 8
	var work sync.WaitGroup
	began := time.Now()
	failed := make(chan error, together)
	for range together {
		work.Go(func() {
			for range n / together {
				if err := p.exchange(); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(n/together*together) / took.Seconds(), nil
	}
}

// bytesOf is an amount of memory.
type bytesOf int64

// String returns it in KiB.
func (b bytesOf) String() string { return fmt.Sprintf("%.1f KiB", float64(b)/1024) }

// idleMemory returns how many bytes a process grows by for a connection on which something
// went and nothing goes now.
func idleMemory(pid int, p path, n int, settle func()) (int64, error) {
	settle()
	before, err := resident(pid)
	if err != nil {
		return 0, err
	}
	leave, err := p.idle(n)
	if err != nil {
		return 0, err
	}
	settle()
	after, err := resident(pid)
	leave()
	return (after - before) / int64(n), err
}

// idle opens connections and leaves them idle.
func (p path) idle(n int) (leave func(), err error) {
	conns := make([]net.Conn, 0, n)
	leave = func() {
		for _, c := range conns {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	}
	for range n {
		c, err := p.open()
		if err == nil {
			conns = append(conns, c)
			_ = c.SetDeadline(time.Now().Add(patient))
			fmt.Fprint(c, "\x00\n")
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// spent returns the processor time of a process, in seconds; 0 for the process 0.
func spent(pid int) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if pid == 0 || err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(after)
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) / 100 // USER_HZ
}

// through returns how to connect by an HTTP proxy.
func through(proxy, host string, port uint16) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		c, err := net.Dial("tcp", proxy)
		if err != nil {
			return nil, err
		}
		_ = c.SetDeadline(time.Now().Add(patient))
		fmt.Fprintf(c, "CONNECT %s:%d HTTP/1.1\r\nHost: %s:%d\r\n\r\n", host, port, host, port)
		answer, err := http.ReadResponse(bufio.NewReaderSize(c, 4096), &http.Request{Method: http.MethodConnect}) //nolint:bodyclose // the body of a tunnel is the connection
		if err == nil && answer.StatusCode != http.StatusOK {
			err = errors.New(answer.Status)
		}
		if err != nil {
			_ = c.Close()
		}
		_ = c.SetDeadline(time.Time{})
		return c, err
	}
}
