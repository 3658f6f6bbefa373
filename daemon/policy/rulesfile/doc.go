// SPDX-License-Identifier: Apache-2.0

// Package rulesfile reads the .rules files of Codex: Starlark that calls
// prefix_rule, network_rule and host_executable.
//
// What a file means is what codex-cli 0.169.0 makes of it; the vectors in
// tests/conformance were made by that program. A file is a program somebody else
// wrote, so it runs in a box: it can read nothing and load nothing, and the steps
// it may take, the memory it may fill and the depth it may reach are bounded; see
// MaxSource and what follows it. The package does no I/O of its own: whoever calls
// it reads the files.
//
// The way of a file: translate turns the dialect of Codex (f-strings, type
// annotations, lenient escapes) into that of go.starlark.net; guard rewrites its
// syntax tree so that every operation that could take more time or memory than its
// length suggests asks first; run carries it out; and the examples (match,
// not_match) are tried when it has ended.
package rulesfile
