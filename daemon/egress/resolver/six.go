// SPDX-License-Identifier: Apache-2.0

package resolver

import (
	"net"
	"sync"
	"time"
)

// routes knows whether the machine has a way to IPv6. A redirected connection always
// succeeds at first, so clients cannot find out by themselves that there is none, and
// would not try the IPv4 address they got as well.
type routes struct {
	mu      sync.Mutex
	checked time.Time
	six     bool
}

func (r *routes) haveSix() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < confEvery && !r.checked.IsZero() {
		return r.six
	}
	r.checked = time.Now()
	// Connecting a datagram socket looks for a route and sends nothing.
	c, err := net.Dial("udp6", "[2001:500:2f::f]:53") // a root server: routed wherever IPv6 is
	if err == nil {
		c.Close()
	}
	r.six = err == nil
	return r.six
}
