// SPDX-License-Identifier: Apache-2.0

// Package mdm knows where requirements come from: one layer per source, whether
// a source can be trusted, what it said last when it cannot, and when it changes.
//
// It decides nothing about commands or connections; what a layer says is read by
// package policy. It never answers "no policy" because something is broken.
package mdm
