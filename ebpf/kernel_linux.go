// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Options say where the kernel side lives.
type Options struct {
	// PinDir is a directory in a BPF file system; it keeps programs and maps
	// alive when the daemon is not. It is created.
	PinDir string
	// Cgroup is the cgroup v2 directory below which connections are judged;
	// the root of the hierarchy covers every process.
	Cgroup string
	Log    *slog.Logger
}

// Kernel is the loaded kernel side: its maps, its programs and what they are
// attached to. Its methods are safe for concurrent use.
type Kernel struct {
	options Options
	log     *slog.Logger
	digest  string
	spec    *ebpf.CollectionSpec
	maps    map[string]*ebpf.Map
	types   *btf.Cache
	holding holding
	claim   *os.File // the pin directory, locked
	made    bool     // what is pinned of this version was made here

	mu        sync.Mutex // guards what follows
	links     map[string]link.Link
	programs  map[string]*ebpf.Program
	taken     bool
	untold    bool // another version's programs mark processes and do not say which
	readers   []*ringbuf.Reader
	iterators map[string]*ebpf.Program
	home      uint64 // cookie of our network namespace; 0: not asked yet

	filter filterState // taken after mu
}

// Open loads the kernel side, or takes over the one an earlier daemon with the
// same programs left pinned, with every mark, hold and policy in it. Nothing is
// attached yet: see Attach.
//
// Its errors name the missing kernel feature and what to do about it.
func Open(options Options) (*Kernel, error) {
	if err := Check(options); err != nil {
		return nil, err
	}
	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK.
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, fmt.Errorf("raising the locked memory limit: %w", err)
	}
	spec, err := loadKernel()
	if err != nil {
		return nil, err
	}
	delete(spec.Maps, ".bss") // only there to keep type information
	spec.Variables = nil

	sum := sha256.Sum256(_KernelBytes)
	k := &Kernel{
		options:  options,
		log:      options.Log,
		digest:   hex.EncodeToString(sum[:digestSize]),
		spec:     spec,
		types:    btf.NewCache(),
		maps:     map[string]*ebpf.Map{},
		links:    map[string]link.Link{},
		programs: map[string]*ebpf.Program{},
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if err := k.open(); err != nil {
		if k.made { // or the next daemon takes it for that of one before
			err = errors.Join(err, Remove(k.pinned("")))
		}
		k.Close()
		return nil, err
	}
	return k, nil
}

func (k *Kernel) open() error {
	if err := k.openMaps(); err != nil {
		return err
	}
	if k.untold = k.othersUntold(); k.untold {
		if err := k.allMayBeMarked(); err != nil {
			return err
		}
	}
	if err := k.holding.open(k.maps[kernelMapHolding]); err != nil {
		return err
	}
	if err := k.load(corePrograms); err != nil {
		return fmt.Errorf("loading the kernel programs: %w", err)
	}
	return nil
}

// TookOver says whether an earlier daemon's pinned state was found.
func (k *Kernel) TookOver() bool { return k.taken }

// Close gives up the daemon's handles. What is pinned stays in force.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	for _, r := range k.readers {
		errs = append(errs, r.Close())
	}
	for _, l := range k.links {
		errs = append(errs, l.Close())
	}
	for _, p := range k.programs {
		errs = append(errs, p.Close())
	}
	for _, m := range k.maps {
		errs = append(errs, m.Close())
	}
	for _, p := range k.iterators {
		errs = append(errs, p.Close())
	}
	if k.claim != nil {
		errs = append(errs, k.claim.Close())
	}
	k.readers, k.links, k.programs, k.iterators, k.claim = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// Detach ends all enforcement: what was pinned goes, and with it the last hold
// on programs and maps. Processes still held must be killed before.
func (k *Kernel) Detach() error {
	k.mu.Lock()
	for name, l := range k.links {
		_ = l.Close()
		delete(k.links, name)
	}
	k.mu.Unlock()
	var errs []error
	for _, dir := range versions(k.options.PinDir) {
		errs = append(errs, Remove(dir))
	}
	if err := os.Remove(k.options.PinDir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) { // what is in it is somebody else's
		errs = append(errs, fmt.Errorf("removing the pin directory: %w", err))
	}
	return errors.Join(errs...)
}

// openMaps takes the maps pinned under this digest, else makes and pins new
// ones; marks and sessions of another version's daemon are carried over.
func (k *Kernel) openMaps() error {
	if err := ownDir(k.options.PinDir); err != nil {
		return err
	}
	if err := k.claimDir(); err != nil {
		return err
	}
	dir := k.pinned("maps")
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == len(k.spec.Maps) {
		for name := range k.spec.Maps {
			m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
			if err != nil {
				return fmt.Errorf("taking over map %s: %w", name, err)
			}
			k.maps[name] = m
		}
		k.taken = true
		return nil
	}
	if err := os.RemoveAll(k.pinned("")); err != nil { // a load cut short
		return fmt.Errorf("clearing %s: %w", k.pinned(""), err)
	}
	k.made = true
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the pin directory: %w", err)
	}
	only := &ebpf.CollectionSpec{Maps: k.spec.Maps, Types: k.spec.Types, ByteOrder: k.spec.ByteOrder}
	coll, err := ebpf.NewCollectionWithOptions(only, ebpf.CollectionOptions{})
	if err != nil {
		return fmt.Errorf("creating the kernel maps: %w", err)
	}
	for name := range k.spec.Maps {
		m := coll.DetachMap(name)
		k.maps[name] = m
	}
	if err := k.carryOver(); err != nil {
		return err
	}
	for name, m := range k.maps {
		if err := m.Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pinning map %s: %w", name, err)
		}
	}
	return nil
}

// carried are the maps whose content outlives a change of the programs.
var carried = []string{kernelMapProcs, kernelMapSessions, kernelMapMarked}

// carryOver adopts the marks another version of the kernel side has pinned. Both
// sides then share the maps, so no process is born or dies unseen in between.
func (k *Kernel) carryOver() error {
	for _, old := range k.otherVersions() {
		for _, name := range carried {
			m, err := ebpf.LoadPinnedMap(filepath.Join(old, "maps", name), nil)
			if err != nil {
				continue // that version had no such map, or died before pinning it
			}
			if err := k.spec.Maps[name].Compatible(m); err != nil {
				m.Close()
				return fmt.Errorf("the pinned %s in %s is of another layout: stop every agent, remove %s, start again: %w",
					name, old, old, err)
			}
			k.maps[name].Close()
			k.maps[name] = m
			k.taken = true
		}
	}
	if !k.taken {
		return nil
	}
	return k.countEntries()
}

// othersUntold says whether programs of another version may mark processes without a word in this one's map of who is.
func (k *Kernel) othersUntold() bool {
	return slices.ContainsFunc(k.otherVersions(), func(old string) bool {
		_, err := os.Lstat(filepath.Join(old, "maps", kernelMapMarked))
		return err != nil
	})
}

// countEntries begins this version's count of what the kernel marked with what
// is there. Both versions count what comes and goes from here on; of what goes, the
// one that is told of it first: see DropOthers.
func (k *Kernel) countEntries() error {
	seen := map[uint32]bool{} // an iteration that begins anew comes to some twice
	var pid uint32
	var v kernelProc
	it := k.maps[kernelMapProcs].Iterate()
	for it.Next(&pid, &v) {
		if ProcFlags(v.Flags)&counted != 0 {
			seen[pid] = true
		}
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("counting the marks taken over: %w", err)
	}
	if err := k.maps[kernelMapProcCount].Put(uint32(0), int64(len(seen))); err != nil {
		return fmt.Errorf("counting the marks taken over: %w", err)
	}
	return nil
}

// otherVersions lists the pin directories of other digests.
func (k *Kernel) otherVersions() []string {
	return slices.DeleteFunc(versions(k.options.PinDir), func(dir string) bool { return filepath.Base(dir) == k.digest })
}

// load loads the named programs against the maps at hand.
func (k *Kernel) load(names []string) error {
	missing := names[:0:0]
	for _, name := range names {
		if k.programs[name] == nil {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	coll, err := k.collection(missing)
	if err != nil {
		return err
	}
	defer coll.Close()
	for _, name := range missing {
		k.programs[name] = coll.DetachProgram(name)
	}
	return nil
}

func (k *Kernel) collection(names []string) (*ebpf.Collection, error) {
	spec := k.spec.Copy()
	programs := map[string]*ebpf.ProgramSpec{}
	for _, name := range names {
		programs[name] = spec.Programs[name]
	}
	spec.Programs = programs
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: k.maps,
		Programs:        ebpf.ProgramOptions{KernelTypes: nil},
	})
}
