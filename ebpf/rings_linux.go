// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// Ring is one of the ways records come up.
type Ring int

// The rings. A flood in one cannot crowd out another.
const (
	Holds    Ring = iota // questions: holds and candidates
	Security             // what was refused or killed
	Volume               // what was allowed, exits
	rings
)

// String is the ring's name in counters.
func (r Ring) String() string { return [...]string{"holds", "security", "volume"}[r] }

// Reader takes records from one ring, in the order of their submission.
type Reader struct {
	ring   *ringbuf.Reader
	record ringbuf.Record
	memory *ebpf.Memory // of the counts of records read, which outlive us
	at     int64        // where in it this ring's is
	total  uint64
}

// ErrClosed is what Read returns after Close.
var ErrClosed = os.ErrClosed

// Reader opens a ring. Only one reader may be at a ring at a time.
func (k *Kernel) Reader(r Ring) (*Reader, error) {
	name := [...]string{kernelMapRingHolds, kernelMapRingSecurity, kernelMapRingVolume}[r]
	rd, err := ringbuf.NewReader(k.maps[name])
	if err != nil {
		return nil, fmt.Errorf("opening ring %s: %w", r, err)
	}
	memory, err := k.maps[kernelMapRingRead].Memory()
	if err != nil {
		rd.Close()
		return nil, fmt.Errorf("mapping the counts of ring %s: %w", r, err)
	}
	k.mu.Lock()
	k.readers = append(k.readers, rd)
	k.mu.Unlock()
	out := &Reader{ring: rd, memory: memory, at: int64(r) * 8}
	var b [8]byte
	if _, err := memory.ReadAt(b[:], out.at); err != nil {
		return nil, fmt.Errorf("reading the count of ring %s: %w", r, err)
	}
	out.total = binary.NativeEndian.Uint64(b[:])
	return out, nil
}

// Read waits for the next record. A record that cannot be decoded gives an
// error other than ErrClosed; the next call goes on after it.
func (r *Reader) Read() (Record, error) {
	if err := r.ring.ReadInto(&r.record); err != nil {
		if errors.Is(err, ringbuf.ErrClosed) {
			return nil, ErrClosed
		}
		return nil, fmt.Errorf("reading a ring: %w", err)
	}
	r.total++
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], r.total)
	if _, err := r.memory.WriteAt(b[:], r.at); err != nil {
		return nil, fmt.Errorf("counting a record: %w", err)
	}
	return decode(r.record.RawSample)
}

// Empty reports whether everything submitted so far was read.
func (r *Reader) Empty() bool { return r.ring.AvailableBytes() == 0 }

// Close makes a waiting Read return ErrClosed.
func (r *Reader) Close() error { return r.ring.Close() }

// RingCounters count what happened at one ring; Seen is always Submitted + Full.
type RingCounters struct {
	Seen, Submitted, Full uint64
	Oversized             uint64 // submitted, but cut
	Coalesced             uint64 // repeated datagrams folded into one record
	Read                  uint64 // by this daemon and those before
}

// Counters sums a ring's counters over all CPUs.
func (k *Kernel) Counters(r Ring) (RingCounters, error) {
	var per []kernelCounters
	var sum RingCounters
	if err := k.maps[kernelMapRingRead].Lookup(uint32(r), &sum.Read); err != nil { // first: what comes later was not read
		return sum, fmt.Errorf("reading the count of ring %s: %w", r, err)
	}
	if err := k.maps[kernelMapRingCounters].Lookup(uint32(r), &per); err != nil {
		return RingCounters{}, fmt.Errorf("reading the counters of ring %s: %w", r, err)
	}
	for _, c := range per {
		sum.Seen += c.Seen
		sum.Submitted += c.Submitted
		sum.Full += c.Full
		sum.Oversized += c.Oversized
		sum.Coalesced += c.Coalesced
	}
	return sum, nil
}
