// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"fmt"
	"io"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// iterate runs one of the programs that look at everything there is of a kind, and returns what it wrote. k.mu is held.
func iterate[T any](k *Kernel, name string) ([]T, error) {
	if k.iterators[name] == nil {
		coll, err := k.collection([]string{name})
		if err != nil {
			return nil, fmt.Errorf("loading the iterator %s: %w", name, err)
		}
		if k.iterators == nil {
			k.iterators = map[string]*ebpf.Program{}
		}
		k.iterators[name] = coll.DetachProgram(name)
		coll.Close()
	}
	it, err := link.AttachIter(link.IterOptions{Program: k.iterators[name]})
	if err != nil {
		return nil, fmt.Errorf("attaching the iterator %s: %w", name, err)
	}
	defer it.Close()
	rd, err := it.Open()
	if err != nil {
		return nil, fmt.Errorf("opening the iterator %s: %w", name, err)
	}
	defer rd.Close()
	raw, err := io.ReadAll(rd)
	if err != nil {
		return nil, fmt.Errorf("reading the iterator %s: %w", name, err)
	}
	var zero T
	size := int(unsafe.Sizeof(zero))
	var all []T
	for ; len(raw) >= size; raw = raw[size:] {
		one, err := view[T](raw)
		if err != nil {
			return nil, err
		}
		all = append(all, *one)
	}
	return all, nil
}
