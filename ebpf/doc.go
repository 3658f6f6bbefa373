// SPDX-License-Identifier: Apache-2.0

// Package ebpf loads and attaches Paddock's kernel programs, feeds their maps
// and decodes their records. It knows no policy: what is allowed is decided
// elsewhere and arrives here as map entries.
package ebpf
