// SPDX-License-Identifier: Apache-2.0

// Package installer writes what installs Paddock: the units of its services.
package installer
