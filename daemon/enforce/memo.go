// SPDX-License-Identifier: Apache-2.0

package enforce

import "sync"

// memo remembers up to a number of answers; when full it forgets a few, no
// matter which: what is asked often comes back at once.
type memo[K comparable, V any] struct {
	mu    sync.RWMutex
	limit int
	m     map[K]V
}

func newMemo[K comparable, V any](limit int) *memo[K, V] {
	return &memo[K, V]{limit: limit, m: map[K]V{}}
}

func (m *memo[K, V]) get(k K) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.m[k]
	return v, ok
}

func (m *memo[K, V]) put(k K, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.m) >= m.limit {
		n := m.limit / 8
		for old := range m.m {
			if n--; n < 0 {
				break
			}
			delete(m.m, old)
		}
	}
	m.m[k] = v
}
