// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
)

// The kernel side asks a Bloom filter before it looks up what is said of an inode or
// of a name: see bound_filter in bpf/bounds.h. A bit that is set for nothing costs
// time; one that is missing would be a hole. So bits are set before there is what
// they stand for, and taken away only long after it is gone.

// filterBits are the filter's words, by their index.
type filterBits map[uint32]uint64

// filterState is what the daemon knows of the filter.
type filterState struct {
	sync.Mutex
	now filterBits // what is set; nil: not read yet
	// before are the bits of the policy before this one: somebody may still be on the
	// way up through it. Nil: not known.
	before filterBits
}

// fullFilter is how many bits may be set before those nobody needs are looked for:
// one in 16, so that of 16 directories one is looked up in vain.
const fullFilter = int(kernelLimitFILTER_WORDS) * 64 / 16

// add sets the bit of what is said of an inode, or of a name in it; it is maybe_bound of bpf/bounds.h.
func (f filterBits) add(session, ino uint64, dev uint32, name uint64, flags BoundFlags) {
	h := (ino ^ uint64(dev)<<32 ^ name) * 0x9e3779b97f4a7c15
	bit := h >> 47
	switch {
	case name == 0 && flags&^(BoundPinned|BoundFixed) == 0:
		bit = h >> 35
	case session != 0:
		bit = h>>41 ^ session*0xd6e8feb86659fd93>>58
	}
	f[uint32(h>>53)] |= 1 << (bit & 63)
}

func (f filterBits) addFile(k kernelBoundKey, v kernelBound) {
	f.add(k.Session, k.Ino, k.Dev, 0, BoundFlags(v.Flags))
}

func (f filterBits) addName(k kernelBoundNameKey) {
	f.add(k.Session, k.Ino, k.Dev, nameBits(k.Name[:]), 0)
}

// nameBits is name_bits of bpf/bounds.h; name has zeroes at its end.
func nameBits(name []byte) uint64 {
	name, _, _ = bytes.Cut(name, []byte{0})
	var first [8]byte
	copy(first[:], name)
	return (binary.LittleEndian.Uint64(first[:])^uint64(len(name)))*0xd6e8feb86659fd93 | 1
}

func filterOf(files map[kernelBoundKey]kernelBound, names map[kernelBoundNameKey]kernelBound) filterBits {
	f := filterBits{}
	for k, v := range files {
		f.addFile(k, v)
	}
	for k := range names {
		f.addName(k)
	}
	return f
}

// setFilter sets bits; k.filter is held.
func (k *Kernel) setFilter(f filterBits) error {
	m := k.maps[kernelMapBoundFilter]
	if k.filter.now == nil { // what an earlier daemon set
		now := filterBits{}
		for word := range uint32(kernelLimitFILTER_WORDS) {
			var b uint64
			if err := m.Lookup(word, &b); err != nil {
				return fmt.Errorf("reading the filter: %w", err)
			}
			now[word] = b
		}
		k.filter.now = now
	}
	for word, set := range f {
		all := k.filter.now[word] | set
		if all == k.filter.now[word] {
			continue
		}
		if err := m.Put(word, all); err != nil {
			return fmt.Errorf("setting the filter: %w", err)
		}
		k.filter.now[word] = all
	}
	return nil
}

// sweepFilter takes away what neither the policy in force, whose bits are said, nor
// the one before it nor a session needs, if there is much of it; k.filter is held.
func (k *Kernel) sweepFilter(said filterBits) error {
	before := k.filter.before
	k.filter.before = said
	set := 0
	for _, b := range k.filter.now {
		set += bits.OnesCount64(b)
	}
	if before == nil || set < fullFilter {
		return nil
	}
	keep := filterBits{}
	for _, f := range []filterBits{said, before} {
		for word, b := range f {
			keep[word] |= b
		}
	}
	var file kernelBoundKey
	var name kernelBoundNameKey
	var v kernelBound
	files, names := k.maps[kernelMapSessionBounds].Iterate(), k.maps[kernelMapSessionBoundNames].Iterate()
	for files.Next(&file, &v) {
		keep.addFile(file, v)
	}
	for names.Next(&name, &v) {
		keep.addName(name)
	}
	if files.Err() != nil || names.Err() != nil {
		return nil //nolint:nilerr // cut short by a change: something was not seen; the next policy's turn
	}
	for word, b := range k.filter.now {
		if b&keep[word] == b {
			continue
		}
		if err := k.maps[kernelMapBoundFilter].Put(word, b&keep[word]); err != nil {
			return fmt.Errorf("clearing the filter: %w", err)
		}
		k.filter.now[word] = b & keep[word]
	}
	return nil
}
