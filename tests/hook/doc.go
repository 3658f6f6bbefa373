// SPDX-License-Identifier: Apache-2.0

// Package hook tries `paddock hook` with the real Codex.
package hook
