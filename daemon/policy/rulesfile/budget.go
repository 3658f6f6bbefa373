// SPDX-License-Identifier: Apache-2.0

package rulesfile

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"
)

// What one file may use. A file of 100,000 rules stays far below; what exceeds
// them is an error, the same on every machine: no clock is asked.
const (
	// MaxSource is the greatest size of a file, in bytes.
	MaxSource = 32 << 20
	// MaxSteps is how many steps a file may take, besides one for each of its
	// bytes. What goes over long values counts more than one step.
	MaxSteps = 2_000_000
	// MaxMemory bounds, in bytes, all that a file makes while it runs, whether it
	// is still used or not.
	MaxMemory = 128 << 20
	// MaxString is the longest string a file may make, in bytes.
	MaxString = 1 << 20
	// MaxItems is the longest list, dictionary or range a file may make.
	MaxItems = 1 << 20
	// MaxDepth is how deep functions may call each other, as in Codex.
	MaxDepth = 49

	maxBits   = 1 << 12 // of an integer
	maxWithin = 100     // lists within lists, where all of them are looked at
)

var (
	errSteps  = errors.New("too many steps")
	errMemory = errors.New("too much memory")
	errLong   = errors.New("too long a value")
	errDeep   = errors.New("call stack overflow")
)

// budget counts what a file uses.
type budget struct {
	thread *starlark.Thread
	memory int
	limit  uint64
}

// work counts n steps more. The interpreter looks at the sum before its next one.
func (b *budget) work(n int) { b.thread.Steps += uint64(n) }

// spend counts n bytes more, and says whether there were as many.
func (b *budget) spend(n int) error {
	b.memory += n
	switch {
	case b.memory > MaxMemory:
		return errMemory
	case b.thread.Steps > b.limit:
		return errSteps
	}
	return nil
}

// text accounts for a string of n bytes before it is made.
func (b *budget) text(n int) error {
	if n > MaxString {
		return errLong
	}
	b.work(n / 64)
	return b.spend(n)
}

// items accounts for a list of n before it is made.
func (b *budget) items(n int) error {
	if n > MaxItems {
		return errLong
	}
	b.work(n / 4)
	return b.spend(16 * n)
}

// size is how long a value is itself, in units of work.
func size(v starlark.Value) int {
	switch v := v.(type) {
	case starlark.String:
		return len(v) / 64
	case starlark.Bytes:
		return len(v) / 64
	case starlark.Int:
		return v.BigInt().BitLen() / 64
	case starlark.Sequence:
		return v.Len()
	}
	return 1
}

// all returns the number of values in v and its text, in bytes, as printing it
// would meet them: what is in there twice counts twice.
func (b *budget) all(v starlark.Value) (int, error) {
	return b.within(v, 0)
}

func (b *budget) within(v starlark.Value, depth int) (int, error) {
	b.work(1)
	if depth > maxWithin {
		return 0, fmt.Errorf("%w: nested too deep", errLong)
	}
	sum := 8
	var err error
	add := func(x starlark.Value) bool {
		var n int
		if n, err = b.within(x, depth+1); err != nil {
			return false
		}
		if sum += n; sum > MaxString || b.thread.Steps > b.limit {
			err = errLong
		}
		return err == nil
	}
	switch v := v.(type) {
	case starlark.String:
		return len(v) + 2, nil
	case starlark.Bytes:
		return len(v) + 2, nil
	case starlark.Int:
		return v.BigInt().BitLen()/3 + 2, nil
	case *starlark.List:
		for i := 0; i < v.Len() && add(v.Index(i)); i++ {
		}
	case starlark.Tuple:
		for i := 0; i < len(v) && add(v[i]); i++ {
		}
	case *starlark.Dict:
		for k, x := range v.Entries() {
			if !add(k) || !add(x) {
				break
			}
		}
	}
	return sum, err
}
