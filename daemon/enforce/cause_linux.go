// SPDX-License-Identifier: Apache-2.0

package enforce

import (
	"sync"

	"github.com/seed-649e9bbc/paddock/daemon/session"
)

// causes numbers the tool calls seen: the kernel copies the number to every
// descendant, so the records of all of them name the call.
type causes struct {
	mu      sync.Mutex
	next    uint64
	numbers map[[2]string]uint64
	byNum   *memo[uint64, session.Why]
}

const keepCauses = 16384

func (c *causes) init() {
	// Numbers of an earlier daemon are still about: begin where it cannot be.
	c.next = bootTime()
	c.numbers = map[[2]string]uint64{}
	c.byNum = newMemo[uint64, session.Why](keepCauses)
}

// number returns the number of a tool call; 0 for none.
func (c *causes) number(w session.Why) uint64 {
	if w.ToolCallID == "" && w.ThreadID == "" {
		return 0
	}
	key := [2]string{w.ToolCallID, w.ThreadID}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n, ok := c.numbers[key]; ok {
		return n
	}
	if len(c.numbers) >= keepCauses {
		clear(c.numbers)
	}
	c.next++
	c.numbers[key] = c.next
	c.byNum.put(c.next, w)
	return c.next
}

// why returns what a number stands for.
func (c *causes) why(n uint64) (session.Why, bool) { return c.byNum.get(n) }
