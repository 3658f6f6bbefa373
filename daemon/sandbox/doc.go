// SPDX-License-Identifier: Apache-2.0

// Package sandbox puts a process, and all it will start, into a Landlock domain:
// what a session has of the boundary where the kernel lets nobody attach programs to
// its security hooks.
package sandbox
