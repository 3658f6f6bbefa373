// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Package pty makes pseudo-terminals for tests, on Linux.
package pty
