// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"hash/fnv"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// account counts what is to be stored, and what of it is, in memory that outlives the process: a file that is mapped.
// Whoever opens the store after a process that was killed finds the difference: what that had taken and not stored.
//
// A transaction is booked in two steps around its commit, and by the number of its last event the next process tells
// whether the commit took place. So the account is exact wherever the process is killed.
type account struct {
	words *accountWords // nil: there is none. Never unmapped: somebody may record until the very end
}

// accountWords is the file. All of it is written by one process at a time.
type accountWords struct {
	magic, boot uint64
	owed        uint64 // events that are to be stored
	stored      uint64 // of those, stored, or told to be missing
	next        uint64 // what stored becomes with the transaction under way
	at          uint64 // the number of that one's last event; 0: there is none under way
}

const (
	accountMagic = 0x7064_6b61_6363_0001 // "pdkacc", version 1
	accountSize  = 4096
)

// openAccount maps the file and returns what the process before has left: how many events it took and did not store. known is
// false where nobody can tell, as after a restart of the machine. last is the number of the newest event in the store.
func openAccount(path, boot string, last int64) (a *account, lost uint64, known bool, err error) {
	if path == "" {
		return &account{}, 0, false, nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, 0, false, fmt.Errorf("opening the account of events: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(accountSize); err != nil {
		return nil, 0, false, fmt.Errorf("opening the account of events: %w", err)
	}
	page, err := unix.Mmap(int(f.Fd()), 0, accountSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, 0, false, fmt.Errorf("mapping the account of events %s: %w", path, err)
	}
	a = &account{words: (*accountWords)(unsafe.Pointer(&page[0]))}
	w, hash := a.words, fnv.New64a()
	_, _ = hash.Write([]byte(boot)) // never fails
	if known = w.magic == accountMagic && w.boot == hash.Sum64(); known {
		if w.at != 0 && last >= int64(w.at) {
			w.stored = w.next
		}
		if known = w.owed >= w.stored; known {
			lost = w.owed - w.stored
		}
	}
	*w = accountWords{magic: accountMagic, boot: hash.Sum64()}
	return a, lost, known, nil
}

// owe counts events that are to be stored.
func (a *account) owe(n int) {
	if a.words != nil {
		atomic.AddUint64(&a.words.owed, uint64(n))
	}
}

// storing books n events with a transaction that is not committed yet, whose last event has this number.
func (a *account) storing(n uint64, last int64) {
	if a.words != nil {
		atomic.StoreUint64(&a.words.at, 0)
		atomic.StoreUint64(&a.words.next, atomic.LoadUint64(&a.words.stored)+n)
		atomic.StoreUint64(&a.words.at, uint64(last))
	}
}

// committed says whether that transaction is.
func (a *account) committed(ok bool) {
	if a.words == nil {
		return
	}
	if ok {
		atomic.StoreUint64(&a.words.stored, atomic.LoadUint64(&a.words.next))
	}
	atomic.StoreUint64(&a.words.at, 0)
}
