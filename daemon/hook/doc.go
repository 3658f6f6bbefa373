// SPDX-License-Identifier: Apache-2.0

// Package hook reads what agents tell their hooks, and writes what they want to
// hear: Codex's and Claude Code's protocols, which are alike in what is used here.
//
// Sources: for Codex 0.169.0 the schemas in codex-rs/hooks/schema/generated and
// recordings of the real program (tests/testdata/codex-hooks); for Claude Code its
// hooks reference, and what its 2.1.296 tells and takes (tests/hook runs it). The
// package is pure.
package hook
