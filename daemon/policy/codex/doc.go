// SPDX-License-Identifier: Apache-2.0

// Package codex is the model of Codex's own requirements.toml, as codex-cli 0.169.0
// reads it: every key with its type and meaning, what makes a file invalid, how
// layers combine, and what Codex itself would say is in force.
//
// One table, Keys, describes the keys. Reading, explaining, the JSON Schema, hints
// for misspelt keys and the documentation all come from it, so that they cannot
// disagree.
//
// Like all of policy it is pure: the name of the machine, the home directory and
// the contents of the files are handed in. What is kept here is Codex's meaning;
// what Paddock does with it, and where it is stricter, is for package policy to say.
package codex
